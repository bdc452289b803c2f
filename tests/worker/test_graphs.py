"""langgraph.json → graphs: every form that a graph may have, and every mistake, said plainly."""

import json
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.pregel import Pregel

from millstream.shared.errors import NotFoundError, SettingError
from millstream.shared.project import load_object
from millstream.worker.graphs import GraphRegistry, Use, load
from millstream.worker.project import read_config

USE = Use("threads.create_run", {"configurable": {"word": "given"}})
SAVER = InMemorySaver()

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


@pytest.fixture(autouse=True)
def _clean_imports() -> Iterator[None]:
    """Takes away what a test imported, set or put on the path."""
    path, modules, environ = list(sys.path), set(sys.modules), dict(os.environ)
    yield
    sys.path[:] = path
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
    """Loads some names of GRAPHS, each as a graph of that id."""
    write(folder, "mine.py", GRAPHS)
    return load(config_file(folder, {name: f"./mine.py:{name}" for name in names}))


def refusal(folder: Path, graphs: dict[str, Any], **rest: Any) -> str:
    """Returns what is said of a langgraph.json that can't be used."""
    with pytest.raises(SettingError) as caught:
        load(config_file(folder, graphs, **rest))
    return str(caught.value)


# ── Forms of a graph ────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("compiled", "compiled"), ("named", "named"), ("builder", "builder"),
        ("factory", "factory"), ("with_config", "given"), ("with_optional_config", "given"),
        ("with_defaults", "default"), ("async_factory", "async"), ("async_with_config", "given"),
        ("context", "context"), ("async_context", "given"), ("maker", "given"),
    ],
)  # fmt: skip
async def test_each_form(tmp_path: Path, name: str, word: str) -> None:
    registry = loaded(tmp_path, name)
    async with registry.open(name, USE, SAVER) as graph:
        assert isinstance(graph, Pregel)
        assert graph.checkpointer is SAVER
        config: RunnableConfig = {"configurable": {"thread_id": "t"}}
        assert await graph.ainvoke({}, config) == {"word": word}
        assert graph.name == ("its own name" if name == "named" else name)


async def test_each_use_has_its_checkpointer(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "compiled", "factory")
    other = InMemorySaver()
    for name in ("compiled", "factory"):
        async with (
            registry.open(name, USE, SAVER) as one,
            registry.open(name, USE, other) as two,
        ):
            assert one.checkpointer is SAVER
            assert two.checkpointer is other
    assert sys.modules["mine"].compiled.checkpointer is None  # is left as it was


@pytest.mark.parametrize(("name", "mark"), [("context", "context"), ("async_context", "async")])
async def test_what_a_factory_opened_is_closed(tmp_path: Path, name: str, mark: str) -> None:
    registry = loaded(tmp_path, name)
    async with registry.open(name, USE, SAVER):
        assert [mark] == sys.modules["mine"].OPEN
    assert sys.modules["mine"].OPEN == []


async def test_what_a_factory_opened_is_closed_after_a_failure(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "async_context")
    with pytest.raises(ZeroDivisionError):
        async with registry.open("async_context", USE, SAVER):
            raise ZeroDivisionError
    assert sys.modules["mine"].OPEN == []


async def test_a_factory_that_fails_fails_the_run(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "failing", "nonsense")
    with pytest.raises(ValueError, match="not today"):
        async with registry.open("failing", USE, SAVER):
            pass
    with pytest.raises(TypeError, match=r"factory of graph 'nonsense' returned a str, not a graph"):
        async with registry.open("nonsense", USE, SAVER):
            pass


async def test_an_unknown_graph(tmp_path: Path) -> None:
    registry = loaded(tmp_path, "compiled")
    with pytest.raises(NotFoundError, match="does not serve graph 'other'"):
        async with registry.open("other", USE, SAVER):
            pass


def test_the_long_form_and_the_order(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    entry = {"path": "./mine.py:compiled", "description": "what it does", "later": 1}
    registry = load(config_file(tmp_path, {"z": entry, "a": "./mine.py:named"}))
    told = [(source.graph_id, source.description) for source in registry.sources]
    assert told == [("z", "what it does"), ("a", None)]


def test_a_module_by_its_name(tmp_path: Path) -> None:
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


def test_the_file_may_lie_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, "project/mine.py", GRAPHS)
    config_file(tmp_path / "project", {"g": "./mine.py:compiled"})
    monkeypatch.chdir(tmp_path)
    assert load(Path("project/langgraph.json")).sources[0].compiled is not None


# ── Mistakes ────────────────────────────────────────────────────────────────────────────────


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load(tmp_path / "langgraph.json")
    text = str(caught.value)
    assert f"There is no langgraph.json in {tmp_path}" in text
    assert "--config" in text
    with pytest.raises(SettingError, match="can't be read"):
        read_config(tmp_path)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ("", "is not a valid langgraph.json"),
        ("{", "is not a valid langgraph.json"),
        ("[]", "is not a valid langgraph.json"),
        ("{}", "graphs"),
        ('{"graphs": {}}', "names no graph"),
        ('{"graphs": []}', "graphs"),
        ('{"graphs": {"a": 5}}', "graphs"),
        ('{"graphs": {"a": {"description": "x"}}}', "path"),
        ('{"graphs": {"a": "./a.py:g"}, "env": 5}', "env"),
        ('{"graphs": {"a": "./a.py:g"}, "env": {"A": 5}}', "env"),
        ('{"graphs": {"a": "./a.py:g"}, "dependencies": "."}', "dependencies"),
        # An API that somebody thinks is closed must not be open.
        ('{"graphs": {"a": "./a.py:g"}, "auth": {"path": "./auth.py:auth"}}', "`auth`"),
        ('{"graphs": {"a": "./a.py:g"}, "auth": {}}', "does not enforce"),
        pytest.param(
            b'{"graphs": {"\xff": "./a.py:g"}}',
            "is not a valid langgraph.json",
        ),
    ],
)
def test_a_file_that_is_wrong(tmp_path: Path, content: str | bytes, told: str) -> None:
    file = tmp_path / "langgraph.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert told in str(caught.value)


@pytest.mark.parametrize("spec", ["./mine.py", "./mine.py:", ":compiled", "", ":", "mine"])
def test_a_spec_that_is_none(tmp_path: Path, spec: str) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    assert refusal(tmp_path, {"agent": spec}) == (
        f"graph 'agent': {spec!r} is not of the form './file.py:variable'."
    )


def test_a_missing_file(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"agent": "./src/nope.py:graph"})
    assert text == f"graph 'agent': there is no file ./src/nope.py in {tmp_path}."


def test_a_missing_variable(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = refusal(tmp_path, {"agent": "./mine.py:grap"})
    assert text == "graph 'agent': ./mine.py has no 'grap'."


def test_a_missing_module(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"agent": "no_such_package.graph:graph"})
    assert text.startswith("graph 'agent': no_such_package.graph can't be imported: ModuleNotFound")


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("\n\nimport no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("\n\n1 / 0\n", "ZeroDivisionError"),
        ("\n\ndef broken(:\n", "SyntaxError"),
        ("\n\nraise SystemExit(3)\n", "SystemExit: 3"),
        ("\n\nraise KeyboardInterrupt\n", "KeyboardInterrupt"),
    ],
)
def test_a_file_that_can_not_be_imported(tmp_path: Path, code: str, told: str) -> None:
    write(tmp_path, "bad.py", code)
    text = refusal(tmp_path, {"agent": "./bad.py:graph"})
    assert text.startswith(f"graph 'agent': ./bad.py can't be imported: {told}")
    assert text.endswith("(bad.py, line 3)")


def test_an_error_in_what_the_file_imports(tmp_path: Path) -> None:
    write(tmp_path, "lib/deep.py", "def fall():\n    raise KeyError('k')\n")
    write(tmp_path, "mine.py", "from lib.deep import fall\nfall()\n")
    text = refusal(tmp_path, {"agent": "./mine.py:graph"}, dependencies=["."])
    assert text.endswith("KeyError: 'k' (lib/deep.py, line 2)")


def test_a_file_that_failed_is_tried_afresh(tmp_path: Path) -> None:
    write(tmp_path, "bad.py", "1 / 0")
    refusal(tmp_path, {"agent": "./bad.py:compiled"})
    write(tmp_path, "bad.py", GRAPHS)
    assert load(tmp_path / "langgraph.json").sources[0].compiled is not None


def test_something_that_is_no_graph(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = refusal(tmp_path, {"agent": "./mine.py:number"})
    assert text.startswith("Graph 'agent' is a int: it must be a compiled graph, a StateGraph")


def test_a_factory_that_takes_too_much(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = refusal(tmp_path, {"agent": "./mine.py:greedy"})
    assert "'agent' takes (config, store)" in text


def test_an_object_by_itself(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    assert load_object("./mine.py:number", tmp_path, "auth") == 7
    with pytest.raises(SettingError, match=r"^auth: "):
        load_object("./mine.py:nope", tmp_path, "auth")


# ── env and dependencies ────────────────────────────────────────────────────────────────────


def test_env_as_a_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILL_SET", "by the process")
    write(tmp_path, "mine.py", "import os\nSEEN = os.environ['MILL_NEW']\n" + GRAPHS)
    env = {"MILL_NEW": "from the file", "MILL_SET": "from the file"}
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=env))
    assert os.environ["MILL_NEW"] == "from the file"
    assert os.environ["MILL_SET"] == "by the process"


def test_env_as_a_file(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    write(tmp_path, ".env", "# note\nMILL_A=1\nexport MILL_B='two words'\nMILL_EMPTY=\nMILL_BARE\n")
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=".env"))
    assert (os.environ["MILL_A"], os.environ["MILL_B"]) == ("1", "two words")
    assert os.environ["MILL_EMPTY"] == ""
    assert "MILL_BARE" not in os.environ


def test_a_missing_env_file(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"g": "./mine.py:compiled"}, env=".env")
    assert text == f"env: there is no file .env in {tmp_path}."


def test_dependencies(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "import beside, within\n" + GRAPHS)
    write(tmp_path, "lib/beside.py", "")
    write(tmp_path, "lib/src/within.py", "")
    before = list(sys.path)
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, dependencies=["./lib", "requests>=2"]))
    assert set(sys.path) - set(before) == {str(tmp_path / "lib"), str(tmp_path / "lib" / "src")}


def test_a_missing_dependency(tmp_path: Path) -> None:
    text = refusal(tmp_path, {"g": "./mine.py:compiled"}, dependencies=["./nope"])
    assert text == f"dependencies: there is no folder ./nope in {tmp_path}."
