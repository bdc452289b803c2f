"""Pages of events are in order, complete, and hardly larger than their limit."""

import pytest

from contract.builders import new_id
from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.scripts.runs.read_events import read_events


@pytest.mark.parametrize(
    "sizes",
    [
        [],
        [10] * 7,
        [10] * 1300,
        [10] * 84 + [50_000] * 30,
        [50_000] * 5 + [10] * 600,
        [200_000, 1, 200_000, 1, 1],
    ],
    ids=["none", "few", "many", "large after small", "small after large", "larger than a page"],
)
async def test_pages_are_bounded_and_complete(any_redis: Client, sizes: list[int]) -> None:
    key = keys.events(new_id(), new_id())
    pipe = any_redis.pipeline()
    for number, size in enumerate(sizes):
        pipe.xadd(key, {f"e{number}": b"x" * size}, id=f"5-{number + 1}")
    await pipe.execute()
    seen: list[str] = []
    after, more = "0-0", True
    while more:
        [page] = await read_events(
            any_redis, [(key, after)], max_entries=500, max_bytes=100_000, oldest=True
        )
        ids = [next(iter(fields)).decode() for _, fields in page.entries]
        total = [sum(map(len, fields.values())) for _, fields in page.entries]
        assert sum(total[:-1]) <= 100_000  # one may go past the bound
        assert len(ids) <= 500
        assert (page.oldest is not None) == bool(sizes)
        seen += ids
        after = page.entries[-1][0].decode() if page.entries else after
        more = page.more
    assert seen == [f"e{number}" for number in range(len(sizes))]
    await any_redis.delete(key)


async def test_many_streams_are_read_at_once_after_the_loss_of_the_scripts(
    any_redis: Client,
) -> None:
    names = [keys.events(new_id(), new_id()) for _ in range(3)]
    for name in names:
        await any_redis.xadd(name, {"a": name})
    await any_redis.script_flush()
    pages = await read_events(any_redis, [(n, "0-0") for n in names], max_entries=5, max_bytes=1000)
    assert [page.entries[0][1][b"a"].decode() for page in pages] == names
    assert all(page.oldest is None for page in pages)
    await any_redis.delete(*names)
