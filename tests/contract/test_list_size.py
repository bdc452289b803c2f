"""Lists have a limit in bytes, which is checked before their records are read."""

import json
from collections.abc import Awaitable, Callable

import pytest

from contract.builders import a_spec, admit
from millstream.shared import threads
from millstream.shared.errors import TooLargeError
from millstream.shared.redis import Client
from millstream.shared.runs import list_runs, search
from millstream.shared.threads import search as thread_search
from millstream.shared.threads.search import ThreadFilter

MAX_BYTES = 5000
Read = Callable[..., Awaitable[list[str]]]


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("threads.search", "runs.records", "runs.search"):
        monkeypatch.setattr(f"millstream.shared.{module}.MAX_PAGE_BYTES", MAX_BYTES)


async def runs_of_a_thread(redis: Client, number: int, size: int) -> str:
    kwargs = json.dumps({"input": "x" * size}).encode()
    first = await admit(redis, a_spec(kwargs=kwargs))
    for _ in range(number - 1):
        await admit(redis, a_spec(thread_id=first.thread_id, kwargs=kwargs))
    return first.thread_id


async def keep_all(run_refs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    return run_refs


async def find(redis: Client, thread_id: str, limit: int, offset: int = 0) -> list[str]:
    records = await search.search(
        redis, thread_id=thread_id, status=None, assistant_id=None, metadata={}, limit=limit, offset=offset,
        keep=keep_all,
    )  # fmt: skip
    return [record.spec.run_id for record in records]


async def listed(redis: Client, thread_id: str, limit: int, offset: int = 0) -> list[str]:
    records = await list_runs(redis, thread_id, limit=limit, offset=offset, status=None)
    return [record.spec.run_id for record in records]


@pytest.mark.parametrize("read", [find, listed])
async def test_runs_with_large_requests_are_listed_in_small_pages(
    any_redis: Client, read: Read
) -> None:
    thread_id = await runs_of_a_thread(any_redis, 4, MAX_BYTES // 2)
    with pytest.raises(TooLargeError, match="`limit`"):
        await read(any_redis, thread_id, 10)
    pages = [await read(any_redis, thread_id, 1, offset) for offset in range(4)]
    assert len({run_id for page in pages for run_id in page}) == 4


@pytest.mark.parametrize("read", [find, listed])
async def test_one_run_is_always_listed(any_redis: Client, read: Read) -> None:
    thread_id = await runs_of_a_thread(any_redis, 1, MAX_BYTES * 2)
    assert len(await read(any_redis, thread_id, 10)) == 1


async def test_a_search_skips_large_runs_that_do_not_match(any_redis: Client) -> None:
    thread_id = await runs_of_a_thread(any_redis, 4, MAX_BYTES // 2)
    matches = await search.search(
        any_redis, thread_id=thread_id, status=None, assistant_id="another", metadata={}, limit=10, offset=0,
        keep=keep_all,
    )  # fmt: skip
    assert matches == []


async def test_the_metadata_of_threads_counts(any_redis: Client) -> None:
    for _ in range(3):
        await threads.create_thread(
            any_redis, None, {"a": "x" * (MAX_BYTES // 2)}, if_exists="raise"
        )
    with pytest.raises(TooLargeError, match="`limit`"):
        await thread_search.search(any_redis, ThreadFilter(), limit=10, offset=0, with_state=False)
    page = await thread_search.search(any_redis, ThreadFilter(), limit=1, offset=0)
    assert page.more


async def test_a_thread_is_created_with_as_much_metadata_as_a_patch_allows(
    any_redis: Client,
) -> None:
    metadata = {"a": "x" * threads.MAX_METADATA_BYTES}
    with pytest.raises(TooLargeError, match="metadata"):
        await threads.create_thread(any_redis, None, metadata, if_exists="raise")
    metadata = {"a": "x" * (threads.MAX_METADATA_BYTES - 8)}
    record = await threads.create_thread(any_redis, None, metadata, if_exists="raise")
    with pytest.raises(TooLargeError, match="metadata"):
        await threads.patch_thread(any_redis, record.thread_id, {"b": 1}, None)
