"""Projects that tests write: a langgraph.json, its files, and graphs in each supported form."""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from millstream.shared.errors import SettingError
from millstream.worker.graphs import GraphRegistry, load

GRAPHS = """
import contextlib
from typing import TypedDict

from langgraph.graph import END, START, StateGraph


class State(TypedDict, total=False):
    word: str


def build(word, name=None):
    builder = StateGraph(State)
    builder.add_node("node", lambda state: {"word": word})
    builder.add_edge(START, "node")
    builder.add_edge("node", END)
    return builder


OPEN = []

compiled = build("compiled").compile()
named = build("named").compile(name="its own name")
builder = build("builder")


def factory():
    return build("factory").compile()


def with_config(config):
    return build(config["configurable"]["word"]).compile()


def with_optional_config(config=None):
    return build(config["configurable"]["word"])


def with_defaults(word="default", *, other=1, **rest):
    return build(word)


async def async_factory():
    return build("async")


async def async_with_config(config):
    return build(config["configurable"]["word"])


@contextlib.contextmanager
def context():
    OPEN.append("context")
    yield build("context")
    OPEN.remove("context")


@contextlib.asynccontextmanager
async def async_context(config):
    OPEN.append("async")
    try:
        yield build(config["configurable"]["word"]).compile()
    finally:
        OPEN.remove("async")


class Maker:
    def __call__(self, config):
        return build(config["configurable"]["word"])


maker = Maker()
number = 7


def nonsense():
    return "no graph"


def failing():
    raise ValueError("not today")


def greedy(config, store):
    return build("greedy")
"""


@contextmanager
def clean_imports() -> Iterator[None]:
    """Undoes imports, environment variables and entries of the import path after the block."""
    path, modules, environ = list(sys.path), set(sys.modules), dict(os.environ)
    finders = list(sys.meta_path)
    yield
    sys.path[:], sys.meta_path[:] = path, finders
    for name in set(sys.modules) - modules:
        del sys.modules[name]
    os.environ.clear()
    os.environ.update(environ)


def write(folder: Path, name: str, text: str) -> Path:
    file = folder / name
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def config_file(folder: Path, graphs: dict[str, Any], **rest: Any) -> Path:
    return write(folder, "langgraph.json", json.dumps({"graphs": graphs, **rest}))


def loaded(folder: Path, *names: str) -> GraphRegistry:
    """Loads some names of GRAPHS, each as the graph with that id."""
    write(folder, "mine.py", GRAPHS)
    return load(config_file(folder, {name: f"./mine.py:{name}" for name in names}))


def project_error(folder: Path, graphs: dict[str, Any], **rest: Any) -> str:
    """Returns the error for a langgraph.json that can't be used."""
    with pytest.raises(SettingError) as caught:
        load(config_file(folder, graphs, **rest))
    return str(caught.value)
