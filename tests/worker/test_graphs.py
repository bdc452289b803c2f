"""Graphs of langgraph.json, in every form that a graph may have."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel

from harness.projects import GRAPHS, clean_imports, config_file, loaded, write
from millstream.shared.errors import NotFoundError
from millstream.worker.graphs import Use, load

USE = Use("threads.create_run", {"configurable": {"word": "given"}})
SAVER = InMemorySaver()


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with clean_imports():
        yield


# ── Forms of a graph ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("compiled", "compiled"), ("named", "named"), ("builder", "builder"),
        ("factory", "factory"), ("with_config", "given"), ("with_optional_config", "given"),
        ("with_defaults", "default"), ("async_factory", "async"), ("async_with_config", "given"),
        ("context", "context"), ("async_context", "given"), ("maker", "given"),
    ],
)  # fmt: skip
async def test_each_form_of_a_graph_is_loaded(tmp_path: Path, name: str, text: str) -> None:
    registry = loaded(tmp_path, name)
    async with registry.open(name, USE, SAVER) as graph:
        assert isinstance(graph, Pregel)
        assert graph.checkpointer is SAVER
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        assert await graph.ainvoke({}, config) == {"word": text}
        assert graph.name == ("its own name" if name == "named" else name)


async def test_each_use_gets_its_checkpointer(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "compiled", "factory")
    other = InMemorySaver()
    for name in ("compiled", "factory"):
        async with (
            registry.open(name, USE, SAVER) as one,
            registry.open(name, USE, other) as two,
        ):
            assert one.checkpointer is SAVER
            assert two.checkpointer is other
    assert sys.modules["millstream_project.mine"].compiled.checkpointer is None  # is unchanged


@pytest.mark.parametrize(("name", "mark"), [("context", "context"), ("async_context", "async")])
async def test_a_context_manager_factory_is_closed(tmp_path: Path, name: str, mark: str) -> None:
    registry = loaded(tmp_path, name)
    async with registry.open(name, USE, SAVER):
        assert [mark] == sys.modules["millstream_project.mine"].OPEN
    assert sys.modules["millstream_project.mine"].OPEN == []


async def test_a_context_manager_factory_is_closed_after_a_failure(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "async_context")
    with pytest.raises(ZeroDivisionError):
        async with registry.open("async_context", USE, SAVER):
            raise ZeroDivisionError
    assert sys.modules["millstream_project.mine"].OPEN == []


async def test_a_failing_factory_fails_the_run(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "failing", "nonsense")
    with pytest.raises(ValueError, match="not today"):
        async with registry.open("failing", USE, SAVER):
            pass
    with pytest.raises(TypeError, match=r"factory of graph 'nonsense' returned a str, not a graph"):
        async with registry.open("nonsense", USE, SAVER):
            pass


async def test_an_unknown_graph_raises(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "compiled")
    with pytest.raises(NotFoundError, match="does not serve graph 'other'"):
        async with registry.open("other", USE, SAVER):
            pass


def test_the_long_form_and_the_order_of_graphs_are_read(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    entry = {"path": "./mine.py:compiled", "description": "what it does", "later": 1}
    registry = load(config_file(tmp_path, {"z": entry, "a": "./mine.py:named"}))
    descriptions = [(source.graph_id, source.description) for source in registry.sources]
    assert descriptions == [("z", "what it does"), ("a", None)]


def test_a_graph_is_imported_by_module_name(tmp_path: Path) -> None:
    write(tmp_path, "src/pack/inner.py", GRAPHS)
    write(tmp_path, "src/pack/__init__.py", "")
    graphs = {"one": "pack.inner:compiled", "two": "./src/pack/inner.py:named"}
    assert len(load(config_file(tmp_path, graphs, dependencies=["."])).sources) == 2


def test_a_file_is_imported_once(tmp_path: Path) -> None:
    write(tmp_path, "once.py", "import os\nos.environ['ONCE'] = os.environ.get('ONCE', '') + 'x'\n")
    write(tmp_path, "mine.py", "import once\n" + GRAPHS)
    graphs = {"one": "./mine.py:compiled", "two": "./mine.py:named", "three": "./mine.py:builder"}
    load(config_file(tmp_path, graphs, dependencies=["."]))
    assert os.environ["ONCE"] == "x"


def test_the_config_file_may_be_in_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(tmp_path, "project/mine.py", GRAPHS)
    config_file(tmp_path / "project", {"g": "./mine.py:compiled"})
    monkeypatch.chdir(tmp_path)
    assert load(Path("project/langgraph.json")).sources[0].compiled is not None
