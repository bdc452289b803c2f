"""The command reads langgraph.json, and reports errors in it."""

import json
from pathlib import Path

import pytest

from millstream.cli.errors import CliError
from millstream.cli.project import read_project
from millstream.shared.langgraph_json import EXAMPLE


def write(folder: Path, content: object) -> Path:
    path = folder / "langgraph.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_a_project_lists_its_folders_and_env_file(tmp_path: Path) -> None:
    for name in ("app", "app/inner", "lib"):
        (tmp_path / name).mkdir()
    path = write(
        tmp_path / "app",
        {
            "graphs": {"chat": "./chat.py:graph"},
            "dependencies": [".", "./inner", "../lib", "../nowhere", "some-package"],
            "env": ".env",
        },
    )
    project = read_project(path)
    assert project.config == path
    assert project.folders == (tmp_path / "app", tmp_path / "lib")
    assert project.env_file == tmp_path / "app" / ".env"


def test_files_outside_the_folder_are_watched_too(tmp_path: Path) -> None:
    for name in ("app", "beside/src", "shared"):
        (tmp_path / name).mkdir(parents=True)
    graphs = {"chat": "../shared/chat.py:graph", "other": {"path": "./x.py:graph"}}
    path = write(tmp_path / "app", {"graphs": graphs, "dependencies": ["../beside", "requests"]})
    assert set(read_project(path).folders) == {
        tmp_path / "app", tmp_path / "beside" / "src", tmp_path / "beside", tmp_path / "shared",
    }  # fmt: skip


def test_a_folder_means_the_langgraph_json_in_it(tmp_path: Path) -> None:
    path = write(tmp_path, {"graphs": {"chat": "./chat.py:graph"}, "env": {"A": "1"}})
    project = read_project(tmp_path)
    assert project.config == path
    assert project.env_file is None


def test_a_missing_file_prints_a_working_example(tmp_path: Path) -> None:
    with pytest.raises(CliError) as error:
        read_project(tmp_path / "langgraph.json")
    text = str(error.value)
    assert text.startswith(f"There is no langgraph.json in {tmp_path}.")
    assert "--config" in text
    assert EXAMPLE in text
    assert read_project(write(tmp_path, EXAMPLE)).folder == tmp_path


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ('{"graphs": {"chat" "./x.py:graph"}}', "is not valid JSON: line 1, column 20: Expecting"),
        ("[1]", "must hold a JSON object"),
        ("{}", "names no graphs"),
        ('{"graphs": []}', "names no graphs"),
    ],
)
def test_a_broken_file_is_named_with_its_error(tmp_path: Path, content: str, said: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(CliError) as error:
        read_project(path)
    assert str(error.value).startswith(f"{path} {said}")


def test_a_file_that_is_not_text_is_rejected(tmp_path: Path) -> None:
    (tmp_path / "langgraph.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(CliError, match="is not valid JSON"):
        read_project(tmp_path)
