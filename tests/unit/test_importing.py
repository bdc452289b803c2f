"""Each file is one module with one name in every process, and imports resolve within its folder."""

import importlib
import inspect
import json
import os
import pickle
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.projects import clean_imports
from millstream.shared.errors import SettingError
from millstream.shared.importing import ProjectModules, load_object, open_project
from millstream.shared.importing.names import escape, reserved_name, reserved_path, unescape
from millstream.shared.importing.objects import find_named_files

VALUE = "class State:\n    word = {word!r}\n\nword = State.word\n"


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with clean_imports():
        yield


def write(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)


def load(folder: Path, specs: list[str], dependencies: list[str] | None = None) -> list[Any]:
    """Returns the objects of the specs, loaded as one project."""
    open_project(folder, dependencies or [], find_named_files(specs))
    return [load_object(spec, folder, "graph") for spec in specs]


# ── Names ───────────────────────────────────────────────────────────────────────────────────

PART = st.text(min_size=1).filter(lambda part: "/" not in part and part not in (".", ".."))


@given(PART)
def test_an_escaped_part_is_an_identifier_and_reversible(part: str) -> None:
    name = escape(part)
    assert name.isidentifier()
    assert name.isascii()
    assert escape(unescape(name)) == name


@given(st.text("_x-2de0a.", min_size=1), st.text("_x-2de0a.", min_size=1))
def test_different_parts_have_different_names(one: str, two: str) -> None:
    assert (escape(one) == escape(two)) is (one == two)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("agent", "agent"), ("src/song/graph", "src.song.graph"), ("my-agent", "my_x2d_agent"),
        ("my_agent", "my_agent"), ("1st", "_x31_st"), ("a b/c.d", "a_x20_b.c_x2e_d"),
        ("../shared/agent", "_x_.shared.agent"), ("_x_", "_x5f_x_"), ("é", "_xe9_"), ("class", "class"),
    ],
)  # fmt: skip
def test_a_module_name_encodes_its_path(path: str, name: str) -> None:
    folder = Path("/any/where")
    assert reserved_name(folder / path, folder) == f"millstream_project.{name}"
    assert reserved_path(f"millstream_project.{name}", folder) == Path(
        os.path.normpath(folder / path)
    )


# ── What is named like something else ───────────────────────────────────────────────────────

TAKEN = [
    "calendar", "email", "types", "json", "asyncio", "logging", "test", "redis", "httpx", "langgraph",
    "millstream", "pydantic", "site", "time", "sys",
]  # fmt: skip


@pytest.mark.parametrize("form", ["./{}.py", "./agents/{}.py", "./{}/__init__.py", "./{}/agent.py"])
def test_module_names_do_not_collide_or_disappear(tmp_path: Path, form: str) -> None:
    before = {name: importlib.import_module(name) for name in TAKEN}
    files = [form.format(name) for name in TAKEN]
    write(tmp_path, {file: VALUE.format(word=file) for file in files})
    packages = {f"{name}/__init__.py": "" for name in TAKEN} if form.endswith("/agent.py") else {}
    write(tmp_path, packages)
    states = load(tmp_path, [f"{file}:State" for file in files], ["."])
    modules = next(finder for finder in sys.meta_path if isinstance(finder, ProjectModules))
    assert [state.word for state in states] == files
    assert [sys.modules[name] for name in TAKEN] == list(before.values())
    assert [pickle.loads(pickle.dumps(state)) for state in states] == states
    for name in {*TAKEN} - {
        "millstream",
        *sys.builtin_module_names,
    }:  # also if it is imported only now
        spec = modules.find_spec(name)
        assert spec is None or not str(spec.origin).startswith(str(tmp_path))


def test_files_of_the_same_name_are_separate_modules(tmp_path: Path) -> None:
    names = ["song", "story", "camera"]
    write(tmp_path, {f"src/{name}/graph.py": VALUE.format(word=name) for name in names})
    specs = [f"./src/{name}/graph.py:State" for name in names]
    states = load(tmp_path, specs, [".", *(f"./src/{name}/" for name in names)])
    assert [state.word for state in states] == names
    assert [state.__module__ for state in states] == [
        f"millstream_project.src.{n}.graph" for n in names
    ]


def test_any_file_name_is_importable(tmp_path: Path) -> None:
    files = [
        "my-agent.py",
        "my_agent.py",
        "an agent.py",
        "1.py",
        "a.b.py",
        "größe.py",
        "d-e/f.py",
        "import.py",
    ]
    write(tmp_path, {file: VALUE.format(word=file) for file in files})
    write(tmp_path.parent / f"{tmp_path.name}-beside", {"agent.py": VALUE.format(word="beside")})
    specs = [f"./{file}:State" for file in files] + [f"../{tmp_path.name}-beside/agent.py:State"]
    states = load(tmp_path, specs)
    assert [state.word for state in states] == [*files, "beside"]
    assert len({state.__module__ for state in states}) == len(states)
    assert [pickle.loads(pickle.dumps(state)) for state in states] == states


def test_a_file_beside_a_folder_of_its_name_is_imported(tmp_path: Path) -> None:
    files = [
        "agent.py",
        "agent/graph.py",
        "tool.py",
        "tool/__init__.py",
        "p/__init__.py",
        "p/a.py",
        "p/a/__init__.py",
    ]
    write(tmp_path, {file: VALUE.format(word=file) for file in files})
    states = load(tmp_path, [f"./{file}:State" for file in files], ["."])
    assert [state.word for state in states] == files
    assert [pickle.loads(pickle.dumps(state)) for state in states] == states


# ── One file, one module ────────────────────────────────────────────────────────────────────


def test_a_file_runs_once_under_all_its_names(tmp_path: Path) -> None:
    count = "import builtins\nbuiltins.ran = getattr(builtins, 'ran', 0) + 1\n"
    write(
        tmp_path,
        {
            "src/agent/graph.py": count + VALUE.format(word="w"),
            "main.py": "from src.agent.graph import State\n",
        },
    )
    (tmp_path / "link.py").symlink_to("src/agent/graph.py")
    (tmp_path / "linked").symlink_to("src")
    specs = [
        "./main.py:State", "./src/agent/graph.py:State", "src/../src/agent/graph.py:State", "./link.py:State",
        "./linked/agent/graph.py:State", f"{tmp_path}/src/agent/graph.py:State", "agent.graph:State",
    ]  # fmt: skip
    try:
        for order in (specs, specs[::-1]):
            states = load(tmp_path, order, ["."])
            assert len(set(states)) == 1
            assert states[0].__module__ == "millstream_project.src.agent.graph"
            assert vars(sys.modules["builtins"]).pop("ran") == 1
    finally:
        vars(sys.modules["builtins"]).pop("ran", None)


def test_natural_names_import_the_module_before_it_is_loaded(tmp_path: Path) -> None:
    write(
        tmp_path, {"agent.py": VALUE.format(word="w"), "lib/helper.py": "from agent import State\n"}
    )
    open_project(tmp_path, ["./lib"], ["./agent.py"])
    natural = importlib.import_module("agent")
    assert natural.__name__ == "millstream_project.agent"
    assert natural is importlib.import_module("millstream_project.agent")
    assert natural.__spec__ is not None
    assert natural.__spec__.name == natural.__name__
    assert importlib.import_module("helper").State is natural.State
    assert importlib.reload(natural) is natural


def test_a_deleted_file_is_not_replaced_by_another_module(tmp_path: Path) -> None:
    write(tmp_path, {"calendar.py": VALUE.format(word="w"), "src/json.py": VALUE.format(word="w")})
    load(tmp_path, ["./calendar.py:State", "./src/json.py:State"], [".", "./src"])
    open_project(tmp_path, [".", "./src"], [])
    for file in ("calendar", "src/json"):
        (tmp_path / f"{file}.py").unlink()
        importlib.invalidate_caches()
        with pytest.raises(ModuleNotFoundError):
            importlib.import_module(f"millstream_project.{file.replace('/', '.')}")


def test_modules_may_import_each_other(tmp_path: Path) -> None:
    write(
        tmp_path,
        {
            "one.py": "import two\nword = 1\n",
            "two.py": "import one\nimport millstream_project.one as same\nassert one is same\nword = 2\n",
        },
    )
    assert load(tmp_path, ["./one.py:word", "./two.py:word"]) == [1, 2]


@pytest.mark.parametrize("dependencies", [["."], ["./src"], ["./src/agent"], []])
def test_a_package_keeps_its_name(tmp_path: Path, dependencies: list[str]) -> None:
    absolute = dependencies and "agent" not in dependencies[0]
    write(tmp_path, {
        "src/agent/__init__.py": "from agent.graph import State\n" if absolute else "",
        "src/agent/state.py": VALUE.format(word="w"),
        "src/agent/graph.py": "from .state import State as Relative\nfrom . import state\n" + VALUE.format(word="g"),
        "src/agent/my-tool.py": "from .state import State\n",
    })  # fmt: skip
    state, relative, tool = load(
        tmp_path,
        [
            "./src/agent/graph.py:State",
            "./src/agent/graph.py:Relative",
            "./src/agent/my-tool.py:State",
        ],
        dependencies,
    )
    package = "src.agent" if "./src" not in dependencies and "." not in dependencies else "agent"
    assert state.__module__ in (f"{package}.graph", "millstream_project.src.agent.graph")
    assert relative is tool
    assert relative.__module__ == state.__module__.replace("graph", "state")


def test_the_folder_of_the_file_is_importable(tmp_path: Path) -> None:
    write(tmp_path, {
        "helper_agent/__init__.py": "", "helper_agent/utils/__init__.py": "",
        "helper_agent/utils/words.py": "WORD = 'hi'\n",
        "helper_agent/agent.py": "from helper_agent.utils.words import WORD\n"
                                 "import utils.words\nsame = utils.words.WORD is WORD\n",
    })  # fmt: skip
    assert load(
        tmp_path,
        ["./helper_agent/agent.py:WORD", "./helper_agent/agent.py:same"],
        ["./helper_agent"],
    ) == ["hi", True]
    assert sys.modules["helper_agent.agent"].__package__ == "helper_agent"


# ── Names that several folders have ─────────────────────────────────────────────────────────

GRAPH = """\
import state
import utils.words as aliased
import utils.words
from state import State
from utils import words
from pack.inner import State as Inner
from space.state import State as Spaced
import space.only_{word}

import textwrap


def late():
    import state
    from utils.words import word
    return state.word, word


found = [state.word, aliased.word, utils.words.word, words.word, State.word, Inner.word, Spaced.word]
"""


def homonyms(folder: Path) -> list[str]:
    for name in ("a", "b"):
        write(folder, {
            f"{name}/graph.py": GRAPH.format(word=name), f"{name}/state.py": VALUE.format(word=name),
            f"{name}/utils/words.py": VALUE.format(word=name), f"{name}/pack/__init__.py": "",
            f"{name}/pack/inner.py": "from pack.deep import State\nfrom .deep import State as Same\n"
                                     "assert State is Same\n",
            f"{name}/pack/deep.py": VALUE.format(word=name),
            f"{name}/space/state.py": VALUE.format(word=name), f"{name}/space/only_{name}.py": "",
        })  # fmt: skip
    return ["./a", "./b"]


@pytest.mark.parametrize("turned", [False, True])
def test_each_folder_imports_its_own_modules(tmp_path: Path, turned: bool) -> None:
    step = -1 if turned else 1
    folders = homonyms(tmp_path)[::step]
    names = ["a", "b"][::step]
    states = load(tmp_path, [f"{folder}/graph.py:found" for folder in folders], folders)
    assert states == [[name] * 7 for name in names]
    assert [
        late() for late in load(tmp_path, [f"{f}/graph.py:late" for f in folders], folders)
    ] == [(w, w) for w in names]
    for name in names:
        module = importlib.import_module(f"millstream_project.{name}.state")
        assert module.State.word == name
        assert inspect.getsource(module) == VALUE.format(word=name)
        assert sys.modules[f"millstream_project.{name}.graph"].late.__code__.co_firstlineno == 13


def test_an_ambiguous_import_by_name_warns_which_module_it_gets(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    folders = homonyms(tmp_path)
    load(tmp_path, ["./a/graph.py:found", "./b/graph.py:found"], folders)
    assert caplog.messages == []
    module = importlib.import_module("state")
    assert module.__name__ == "millstream_project.a.state"
    assert importlib.import_module("state") is module
    assert len(caplog.messages) == 1
    assert "(a/state, b/state)" in caplog.messages[0]
    with pytest.raises(
        SettingError, match=r"pack\.inner may be one of several: a/pack, b/pack\. Name the file"
    ):
        load_object("pack.inner:State", tmp_path, "graph")


def test_a_namespace_package_may_span_folders(tmp_path: Path) -> None:
    write(tmp_path, {
        "one/company/agents/a.py": "from company.tools.t import word\nimport company\n",
        "two/company/tools/t.py": "word = 'tool'\n",
    })  # fmt: skip
    assert load(tmp_path, ["./one/company/agents/a.py:word"], ["./one", "./two"]) == ["tool"]
    assert sys.modules["company.tools.t"].__name__ == "company.tools.t"


def test_projects_without_duplicate_names_load_unchanged(tmp_path: Path) -> None:
    write(tmp_path, {"agent.py": "import state\n", "state.py": VALUE.format(word="w")})
    load(tmp_path, ["./agent.py:state"], ["."])
    assert "__import__" not in vars(sys.modules["state"]).get("__builtins__", {}) or (
        vars(sys.modules["state"])["__builtins__"]["__import__"] is __import__
    )
    assert type(sys.modules["state"].__loader__).__name__ == "SourceFileLoader"


# ── Other processes ─────────────────────────────────────────────────────────────────────────


def test_a_module_name_is_the_same_in_each_process(tmp_path: Path) -> None:
    folders = homonyms(tmp_path / "project")
    write(tmp_path / "project", {"redis.py": VALUE.format(word="mine")})
    specs = ["./a/graph.py:State", "./b/graph.py:State", "./redis.py:State"]
    code = (
        "import json, sys, importlib, redis, pathlib\n"
        "from millstream.shared.importing import open_project\n"
        "folder, folders, files, names = json.loads(sys.argv[1])\n"
        "open_project(pathlib.Path(folder), folders, files)\n"
        "print(json.dumps([importlib.import_module(name).State.word for name in names]))\n"
        "import redis.asyncio\n"
    )
    states = load(tmp_path / "project", specs, folders)
    command = [
        str(tmp_path / "project"),
        folders,
        find_named_files(specs),
        [state.__module__ for state in states],
    ]
    printed = subprocess.run(
        [sys.executable, "-P", "-c", code, json.dumps(command)],
        cwd=tmp_path / "project", capture_output=True, text=True, check=True, timeout=60,
        env={**os.environ, "PYTHONPATH": ""},
    )  # fmt: skip
    assert json.loads(printed.stdout) == ["a", "b", "mine"]


def test_a_project_first_on_sys_path_is_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(
        tmp_path / "app",
        {"httpx.py": VALUE.format(word="mine"), "agent.py": "import httpx\nfound = httpx.Client\n"},
    )
    monkeypatch.setattr(sys, "path", [str(tmp_path / "app"), str(tmp_path), *sys.path])
    sys.modules.pop("httpx", None)
    states, state = load(tmp_path / "app", ["./agent.py:found", "./httpx.py:State"])
    assert states.__module__.startswith("httpx")
    assert state.word == "mine"
    assert importlib.import_module("app.agent").found is states
