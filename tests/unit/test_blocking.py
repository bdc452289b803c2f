"""The check for blocking calls is active, and allows calls that block no event loop."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from blockbuster import BlockingError

from harness.blocking import ALLOWED
from harness.processes import Fleet, Process
from millstream.shared.langgraph_json import read_content
from millstream.shared.redis.retry import retry_while_unavailable

ROOT = Path(__file__).parents[2]


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "langgraph.json"
    path.write_text("{}")
    return path


async def test_reading_a_file_in_the_event_loop_raises(
    config: Path, blocking_calls: list[str]
) -> None:
    with pytest.raises(BlockingError, match="read"):
        read_content(config)
    [call] = blocking_calls
    assert call.startswith("io.TextIOWrapper.read by ")
    assert call.endswith(" read_content")
    blocking_calls.clear()


async def test_a_blocking_call_of_a_test_or_a_project_is_allowed(config: Path) -> None:
    async def of_a_test() -> str:
        return config.read_text()  # noqa: ASYNC240

    assert await retry_while_unavailable("a test", of_a_test) == "{}"


async def test_a_call_whose_error_is_caught_is_reported(
    config: Path, blocking_calls: list[str]
) -> None:
    with suppress(Exception):
        read_content(config)
    assert len(blocking_calls) == 1
    blocking_calls.clear()


def test_a_blocking_call_in_a_process_fails_the_test_that_started_it(config: Path) -> None:
    group = Fleet("")
    process = Process("harness.blocked", [str(config)], {})
    group.processes.append(process)
    assert process.wait() == 0
    with pytest.raises(AssertionError, match=r"blocks the event loop: io\.TextIOWrapper\.read by "):
        group.__exit__(None, None, None)


async def test_reading_a_file_in_a_thread_is_allowed(config: Path) -> None:
    assert await asyncio.to_thread(read_content, config) == {}


def test_reading_a_file_without_an_event_loop_is_allowed(config: Path) -> None:
    assert read_content(config) == {}


def test_each_allowed_function_exists() -> None:
    for file, name in ALLOWED:
        if not file.startswith("millstream/"):
            continue
        part = file.split("/")[1]
        assert f"def {name}(" in (ROOT / part / file).read_text(), file
