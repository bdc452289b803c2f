"""langgraph.json in its published forms, and a plain error for each mistake."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.projects import GRAPHS, clean_imports, config_file, project_error, write
from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json import read_project
from millstream.worker.graphs import load


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with clean_imports():
        yield


# ── Mistakes ────────────────────────────────────────────────────────────────────────────────


def test_a_missing_config_file_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(SettingError) as caught:
        load(tmp_path / "langgraph.json")
    text = str(caught.value)
    assert f"There is no langgraph.json in {tmp_path}" in text
    assert "--config" in text
    with pytest.raises(SettingError, match="can't be read"):
        read_project(tmp_path)


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "is not valid JSON: line 1, column 1"),
        ("{", "is not valid JSON: line 1, column 2"),
        ("[" * 100_000, "is not valid JSON: it is nested too deeply"),
        ("[]", "must hold a JSON object"),
        ('{"graphs": {"a": "./a.py:g"}, // note\n}', "is not valid JSON: line 1, column 31"),
        ("{}", "graphs"),
        ('{"graphs": {}}', "names no graph"),
        ('{"graphs": []}', "graphs"),
        ('{"graphs": {"a": 5}}', "graphs"),
        ('{"graphs": {"a": {"description": "x"}}}', "path"),
        ('{"graphs": {"a": "./a.py:g"}, "env": 5}', "env"),
        ('{"graphs": {"a": "./a.py:g"}, "env": {"A=B": "5"}}', "env: 'A=B' can't be set"),
        ('{"graphs": {"a": "./a.py:g"}, "dependencies": "."}', "dependencies"),
        # An API that its operator believes to be protected must not be open.
        ('{"graphs": {"a": "./a.py:g"}, "auth": {}}', "`path`"),
        ('{"graphs": {"a": "./a.py:g"}, "auth": {"path": "./b.py:c", "pth": 1}}', "`pth`"),
        pytest.param(
            b'{"graphs": {"\xff": "./a.py:g"}}',
            "is not valid JSON",
        ),
    ],
)
def test_an_invalid_config_file_is_an_error(
    tmp_path: Path, content: str | bytes, problem: str
) -> None:
    file = tmp_path / "langgraph.json"
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(SettingError) as caught:
        load(file)
    assert str(file) in str(caught.value)
    assert problem in str(caught.value)


@pytest.mark.parametrize("spec", ["./mine.py", "./mine.py:", ":compiled", "", ":", "mine"])
def test_an_invalid_spec_is_an_error(tmp_path: Path, spec: str) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    assert project_error(tmp_path, {"agent": spec}) == (
        f"graph 'agent': {spec!r} is not of the form './file.py:variable'."
    )


def test_a_missing_graph_file_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "src/agent.py", GRAPHS)
    text = project_error(tmp_path, {"agent": "./src/agent:compiled"})
    assert text.endswith("there is no file ./src/agent in " + f"{tmp_path}. Is it ./src/agent.py?")
    text = project_error(tmp_path, {"agent": "./src/nope.py:graph"})
    assert text == f"graph 'agent': there is no file ./src/nope.py in {tmp_path}."


def test_a_missing_variable_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = project_error(tmp_path, {"agent": "./mine.py:compild"})
    assert text.startswith("graph 'agent': ./mine.py has no 'compild'. It has: compiled, ")
    assert "StateGraph" not in text  # not the names that it only imports
    write(tmp_path, "bare.py", "import os\n")
    text = project_error(tmp_path, {"agent": "./bare.py:graph"})
    assert text == "graph 'agent': ./bare.py has no 'graph'. It has no names of its own."


def test_a_missing_module_is_an_error(tmp_path: Path) -> None:
    text = project_error(tmp_path, {"agent": "no_such_package.graph:graph"})
    assert text.startswith("graph 'agent': no_such_package.graph can't be imported: ModuleNotFound")


@pytest.mark.parametrize(
    ("code", "problem"),
    [
        ("\n\nimport no_such_thing\n", "ModuleNotFoundError: No module named 'no_such_thing'"),
        ("\n\n1 / 0\n", "ZeroDivisionError"),
        ("\n\ndef broken(:\n", "SyntaxError"),
        ("\n\nraise SystemExit(3)\n", "SystemExit: 3"),
        ("\n\nraise KeyboardInterrupt\n", "KeyboardInterrupt"),
    ],
)
def test_a_file_that_can_not_be_imported_is_an_error(
    tmp_path: Path, code: str, problem: str
) -> None:
    write(tmp_path, "bad.py", code)
    text = project_error(tmp_path, {"agent": "./bad.py:graph"})
    assert text.startswith(f"graph 'agent': ./bad.py can't be imported: {problem}")
    assert "(bad.py, line 3)" in text


def test_an_error_in_an_imported_module_is_reported(tmp_path: Path) -> None:
    write(tmp_path, "lib/deep.py", "def fall():\n    raise KeyError('k')\n")
    write(tmp_path, "mine.py", "from lib.deep import fall\nfall()\n")
    text = project_error(tmp_path, {"agent": "./mine.py:graph"}, dependencies=["."])
    assert text.endswith("KeyError: 'k' (lib/deep.py, line 2)")


def test_a_failed_import_is_retried(tmp_path: Path) -> None:
    write(tmp_path, "bad.py", "1 / 0")
    project_error(tmp_path, {"agent": "./bad.py:compiled"})
    write(tmp_path, "bad.py", GRAPHS)
    assert load(tmp_path / "langgraph.json").sources[0].compiled is not None


def test_an_object_that_is_no_graph_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = project_error(tmp_path, {"agent": "./mine.py:number"})
    assert text.startswith("Graph 'agent' is a int: it must be a compiled graph, a StateGraph")


def test_a_factory_with_too_many_parameters_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    text = project_error(tmp_path, {"agent": "./mine.py:greedy"})
    assert "'agent' has the parameters (config, store)" in text


def test_an_object_is_loaded_by_its_path(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    assert load_object("./mine.py:number", tmp_path, "auth") == 7
    with pytest.raises(SettingError, match=r"^auth: "):
        load_object("./mine.py:nope", tmp_path, "auth")


# ── env and dependencies ────────────────────────────────────────────────────────────────────


def test_env_may_be_a_dict(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILL_SET", "by the process")
    write(tmp_path, "mine.py", "import os\nSEEN = os.environ['MILL_NEW']\n" + GRAPHS)
    env = {"MILL_NEW": "from the file", "MILL_SET": "from the file"}
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=env))
    assert os.environ["MILL_NEW"] == "from the file"
    assert os.environ["MILL_SET"] == "by the process"


def test_env_may_be_a_file(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    write(tmp_path, ".env", "# note\nMILL_A=1\nexport MILL_B='two words'\nMILL_EMPTY=\nMILL_BARE\n")
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=".env"))
    assert (os.environ["MILL_A"], os.environ["MILL_B"]) == ("1", "two words")
    assert os.environ["MILL_EMPTY"] == ""
    assert "MILL_BARE" not in os.environ


@pytest.mark.parametrize(
    ("env", "problem"),
    [
        (".env", "env: there is no file .env in {}: only the process's environment counts."),
        (["MILL_NOT_SET", "PATH"], "env: not set: MILL_NOT_SET."),
        (["PATH"], None),
        ([], None),
        ({}, None),
        ("", None),
        (None, None),
    ],
)
def test_env_may_be_empty(
    tmp_path: Path, env: Any, problem: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=env))
    assert caplog.messages == ([problem.format(tmp_path)] if problem else [])


def test_env_values_may_have_any_type(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    env = {"MILL_N": 5, "MILL_F": 0.5, "MILL_T": True, "MILL_0": None, "MILL_L": [1]}
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, env=env))
    loaded = {name: os.environ.get(name) for name in env}
    assert loaded == {
        "MILL_N": "5",
        "MILL_F": "0.5",
        "MILL_T": "true",
        "MILL_0": None,
        "MILL_L": "[1]",
    }


def test_dependencies_are_added_to_the_import_path(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", "import beside, within, bare\n" + GRAPHS)
    write(tmp_path, "lib/beside.py", "")
    write(tmp_path, "lib/src/within.py", "")
    write(tmp_path, "more/bare.py", "")
    write(tmp_path, "requirements.txt", "no-such-package\n")
    before = list(sys.path)
    dependencies = [
        "./lib",
        "more",
        "requests>=2",
        "./requirements.txt",
        "./nope",
        "git+https://a.example/b",
    ]
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, dependencies=dependencies))
    project_paths = [tmp_path, tmp_path / "lib" / "src", tmp_path / "lib", tmp_path / "more"]
    assert sys.path == before + [str(folder) for folder in project_paths]


def test_processes_that_a_project_starts_find_its_files(tmp_path: Path) -> None:
    pool = """
from multiprocessing import get_context

def double(n):
    return 2 * n

def outside(n):
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(double, (n,))
"""
    write(tmp_path, "src/my-agent.py", pool + GRAPHS)
    load(config_file(tmp_path, {"g": "./src/my-agent.py:compiled"}))
    assert load_object("./src/my-agent.py:outside", tmp_path, "graph")(4) == 8


# ── As others write it ──────────────────────────────────────────────────────────────────────


def test_keys_for_images_are_ignored(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    rest = {
        "$schema": "https://a.example/schema.json", "python_version": "3.12", "node_version": "20",
        "api_version": "0.8", "base_image": "a/b", "image_distro": "wolfi", "pip_installer": "uv",
        "pip_config_file": "./pip.conf", "dockerfile_lines": ["RUN true"], "keep_pkg_tools": True,
        "source": {"kind": "uv", "root": "."}, "_INTERNAL_docker_tag": "x", "env": None, "http": None,
        "store": {"index": None, "ttl": None},
        "checkpointer": {"ttl": None, "serde": {"allowed_msgpack_modules": None}, "backend": "default"},
        "auth": None, "ui": None, "webhooks": None, "dependencies": None,
    }  # fmt: skip
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, **rest))
    assert caplog.messages == []


def test_null_has_an_effect_only_for_serde(tmp_path: Path) -> None:
    for serde, loaded in (
        ({"allowed_msgpack_modules": None}, None),
        ({}, True),
        (
            {"allowed_msgpack_modules": [["a.b", "C"], ["a", "b", "D"]]},
            [("a.b", "C"), ("a.b", "D")],
        ),
    ):
        file = config_file(tmp_path, {"g": "./mine.py:compiled"}, checkpointer={"serde": serde})
        stored = read_project(file).config.checkpointer
        assert stored is not None
        assert stored.serde is not None
        assert stored.serde.arguments()["allowed_msgpack_modules"] == loaded


@pytest.mark.parametrize("key", ["ui", "ui_config", "priority", "grahps"])
def test_keys_without_effect_are_logged_once(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    load(config_file(tmp_path, {"g": "./mine.py:compiled"}, **{key: {"agent": "./ui.tsx"}}))
    assert len(caplog.messages) == 1
    assert caplog.messages[0].startswith(f"`{key}` of langgraph.json ")
    assert "no effect" in caplog.messages[0]


def test_handlers_that_encrypt_are_refused(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    graphs = {"g": "./mine.py:compiled"}
    text = project_error(tmp_path, graphs, encryption={"path": "./mine.py:encryption"})
    assert "whose handlers this version does not call" in text
    assert "LANGGRAPH_AES_KEY" in text
    assert load(config_file(tmp_path, graphs, encryption=None)).graph_ids == ["g"]


def test_a_byte_order_mark_is_ignored(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    file = config_file(tmp_path, {"g": "./mine.py:compiled"})
    file.write_bytes(b"\xef\xbb\xbf" + file.read_bytes())
    assert load(file).graph_ids == ["g"]


def test_graphs_in_javascript_are_skipped(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    graphs = {"js": "./a.ts:graph", "g": "./mine.py:compiled", "m": {"path": "./b.mjs:graph"}}
    assert load(config_file(tmp_path, graphs)).graph_ids == ["g"]
    assert caplog.messages == ["Graphs in JavaScript are not served, only graphs in Python: js, m."]
    assert project_error(tmp_path, {"js": "./a.ts:graph"}).endswith("names no Python graph.")


def test_all_failing_graphs_are_named_at_once(tmp_path: Path) -> None:
    write(tmp_path, "mine.py", GRAPHS)
    write(tmp_path, "bad.py", "import sys\nsys.exit(2)\n")
    graphs = {
        "a": "./bad.py:graph",
        "b": "./mine.py:compiled",
        "c": "./none.py:g",
        "d": "./mine.py:number",
    }
    first, *rest = project_error(tmp_path, graphs).splitlines()
    assert first == "3 of 4 graphs can't be loaded:"
    assert rest[0] == "  graph 'a': ./bad.py can't be imported: SystemExit: 2 (bad.py, line 2)"
    assert rest[1] == f"  graph 'c': there is no file ./none.py in {tmp_path}."
    assert rest[2].startswith("  Graph 'd' is a int")


def test_a_missing_module_that_exists_in_the_project_is_explained(tmp_path: Path) -> None:
    write(tmp_path, "src/agent/main.py", "from prompts import WORD\n" + GRAPHS)
    write(tmp_path, "src/agent/prompts.py", "WORD = 1\n")
    graphs = {"a": "./src/agent/main.py:compiled"}
    text = project_error(tmp_path, graphs, dependencies=["."])
    assert text.endswith(
        '(src/agent/main.py, line 1). It lies in src/agent: add "./src/agent" to `dependencies` of langgraph.json'
    )
    assert load(config_file(tmp_path, graphs, dependencies=[".", "./src/agent"])).graph_ids == ["a"]
    write(tmp_path, "old.py", "import langgraph.no_such_module\n")
    text = project_error(tmp_path, {"a": "./old.py:graph"})
    assert text.endswith("langgraph is installed, in a version without it")


@pytest.mark.parametrize(
    ("file", "advice"),
    [("pyproject.toml", "pip install -e "), ("requirements.txt", "pip install -r "), ("x", "in this environment")],
)  # fmt: skip
def test_a_missing_package_is_reported(tmp_path: Path, file: str, advice: str) -> None:
    write(tmp_path, file, "")
    write(tmp_path, "mine.py", "import no_such_package\n")
    text = project_error(tmp_path, {"a": "./mine.py:graph"})
    assert "No module named 'no_such_package' (mine.py, line 1)" in text
    assert advice in text
