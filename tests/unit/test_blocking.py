"""The check for blocking calls is active, and allows calls that block no event loop."""

import asyncio
from pathlib import Path

import pytest
from blockbuster import BlockingError

from harness.blocking import ALLOWED
from millstream.shared.langgraph_json import read_content

pytestmark = pytest.mark.usefixtures("no_blocking_calls")
ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "langgraph.json"
    path.write_text("{}")
    return path


async def test_reading_a_file_in_the_event_loop_raises(config: Path) -> None:
    with pytest.raises(BlockingError, match="read"):
        read_content(config)


async def test_reading_a_file_in_a_thread_is_allowed(config: Path) -> None:
    assert await asyncio.to_thread(read_content, config) == {}


def test_reading_a_file_without_an_event_loop_is_allowed(config: Path) -> None:
    assert read_content(config) == {}


def test_each_allowed_function_exists() -> None:
    for file, name in ALLOWED:
        part = file.split("/")[1]
        assert f"def {name}(" in (ROOT / part / file).read_text(), file
