"""The API, a worker and the command read langgraph.json with the same errors and the same notes."""

import json
import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.projects import GRAPHS, clean_imports, write
from millstream.api.http import middleware
from millstream.cli.errors import CliError
from millstream.cli.project import read_project
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.reader import NOT_DONE
from millstream.shared.settings import Settings
from millstream.worker import graphs

READERS: dict[str, Callable[[Path], object]] = {
    "API": lambda path: middleware.load(path, Settings()),
    "worker": graphs.load,
    "command": read_project,
}
VALID = {"graphs": {"g": "./mine.py:compiled"}}
INDEX = {"embed": "./mine.py:embed", "dims": 2}


@pytest.fixture(autouse=True)
def _clean() -> Iterator[None]:
    with clean_imports():
        yield


def sentences(path: Path) -> set[str]:
    """Returns the errors of the readers for an invalid file."""
    messages = []
    for read in READERS.values():
        with pytest.raises((SettingError, CliError)) as error:
            read(path)
        messages.append(str(error.value))
    return set(messages)


def file(folder: Path, **keys: Any) -> Path:
    write(folder, "mine.py", GRAPHS)
    return write(folder, "langgraph.json", json.dumps({**VALID, **keys}))


@pytest.mark.parametrize(
    ("keys", "said"),
    [
        ({"auth": {}}, "missing required field `path` - at `$.auth`"),
        ({"auth": {"path": ""}}, "$.auth.path"),
        ({"auth": {"path": "./a.py:auth", "paht": 1}}, "unknown field `paht` - at `$.auth`"),
        ({"auth": {"path": "./a.py:auth", "cache": {"ttl": 5}}}, "`ttl` - at `$.auth.cache`"),
        (
            {"auth": {"path": "./a.py:auth", "cache": {"ttl_seconds": 0}}},
            "$.auth.cache.ttl_seconds",
        ),
        ({"auth": {"path": "./a.py:auth", "cache": {"max_size": 0}}}, "$.auth.cache.max_size"),
        (
            {"auth": {"path": "./a.py:auth", "openapi": {"security": [{"Key": []}]}}},
            "auth.openapi.security: 'Key' is not one of securitySchemes",
        ),
        (
            {"auth": {"path": "./a.py:auth", "openapi": {"paths": {"/x": {"GET": [{"Key": []}]}}}}},
            "auth.openapi.paths./x.GET: 'Key' is not one of securitySchemes",
        ),
        ({"graphs": None}, "names no graphs"),
        ({"graphs": {"g": 5}}, "$.graphs"),
        (
            {"graphs": {"g": {"path": "./mine.py:compiled", "queue": "GPU"}}},
            "graphs.g.queue: 'GPU'",
        ),
        ({"graphs": {"g": {"path": "./mine.py:compiled", "queue": ""}}}, "graphs.g.queue: ''"),
        ({"dependencies": "."}, "`dependencies` must be"),
        ({"env": 5}, "`env` must be"),
        ({"http": {"disable_everything": True}}, "disable_everything"),
        ({"http": {"cors": {"allow_origin_regex": "("}}}, "http.cors.allow_origin_regex"),
        ({"checkpointer": {"table": "x"}}, "table"),
        ({"checkpointer": {"ttl": {"default_ttl": 0}}}, "$.checkpointer.ttl.default_ttl"),
        ({"webhooks": {"retries": 3}}, "retries"),
        ({"store": {"index": {"dims": 2}}}, "embed"),
        ({"store": {"path": "./mine.py:own", "index": INDEX}}, "take them out"),
        ({"store": {"path": "./mine.py:own", "ttl": {}}}, "take them out"),
    ],
)
def test_what_is_not_valid_is_refused_by_all(
    tmp_path: Path, keys: dict[str, Any], said: str
) -> None:
    path = file(tmp_path, **keys)
    [sentence] = sentences(path)
    assert sentence.startswith(str(path))
    assert said in sentence


def test_a_file_that_is_missing_or_no_json_is_refused_by_all(tmp_path: Path) -> None:
    [sentence] = sentences(tmp_path / "langgraph.json")
    assert sentence.startswith("There is no langgraph.json in ")
    [sentence] = sentences(write(tmp_path, "langgraph.json", "{"))
    assert "is not valid JSON" in sentence


def nested(key: str) -> dict[str, Any]:
    """Returns the content of a file that sets the key: a number in a section, else an object."""
    *sections, name = key.split(".")
    content: dict[str, Any] = {name: 5 if sections else {"g": "./ui.tsx"}}
    for section in reversed(sections):
        content = {section: content}
    return content


@pytest.mark.parametrize("key", [*NOT_DONE, "grahps"])
def test_a_key_without_effect_is_noted_by_its_readers(
    tmp_path: Path, key: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = file(tmp_path, **nested(key))
    for read in READERS.values():
        read(path)
    messages = [
        record.getMessage() for record in caplog.records if record.levelno == logging.WARNING
    ]
    assert len(messages) == 2  # of the API and of the worker, which the command starts
    assert len(set(messages)) == 1
    assert messages[0].startswith(f"`{key}` of langgraph.json ")
