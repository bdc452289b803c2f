"""The key-leak check: each key has a TTL, belongs to a thread, cron or assistant, or is listed."""

import re
from typing import Any

from harness.waiting import until
from millstream.shared import key_lists, keys

# Keys of langgraph-checkpoint-redis contain the id of their thread, without a hash tag.
CHECKPOINT = re.compile(
    r"(?:checkpoint|checkpoint_write|checkpoint_latest|write_keys_zset)[:|](?P<thread>[0-9a-f-]{36})"
)
TAGGED = re.compile(r"ms:\{(?P<thread>[^}]+)\}:")


# Users' data stays until a user deletes it.
ITEMS = keys.item("")

# Sets of threads by their metadata are deleted with their last thread.
TERMS = keys.term("")

# The call queue of tests that call workers without a graph.
CALLS_WITHOUT_GRAPH = {keys.calls("default"), keys.workers("default")}


async def leaked(redis: Any, queues: tuple[str, ...] = ("default",)) -> list[str]:
    """Returns the keys that nothing would delete."""
    served = [name.decode() for name in await redis.hkeys(keys.graphs())]
    permanent = key_lists.permanent_keys(list(queues), served) | CALLS_WITHOUT_GRAPH
    names = [key.decode() async for key in redis.scan_iter(count=5000)]
    pipe = redis.pipeline(transaction=False)
    for name in names:
        pipe.ttl(name)
    lasting = [
        name
        for name, ttl in zip(names, await pipe.execute(), strict=True)
        if ttl == -1 and name not in permanent and not name.startswith((ITEMS, TERMS))
    ]
    listed = set()
    for index, key in (
        (keys.crons(), keys.cron),
        (keys.assistants(), keys.assistant),
        (keys.api_keys(), keys.api_key),
    ):
        listed |= {key(item.decode()) for item in await redis.zrange(index, 0, -1)}
    lasting = [name for name in lasting if name not in listed]
    threads = {name: _thread_of(name) for name in lasting}
    for thread in set(threads.values()):
        pipe.exists(keys.thread(thread))
    alive = dict(zip(set(threads.values()), await pipe.execute(), strict=True))
    return sorted(name for name, thread in threads.items() if not alive[thread])


async def wait_for_no_leaks(
    redis: Any, queues: tuple[str, ...] = ("default",), *, within: float = 10.0
) -> None:
    """Fails if there are still leaked keys after `within` seconds; a run may end after its test."""
    latest: list[str] = []

    async def clean() -> bool:
        latest[:] = await leaked(redis, queues)
        return not latest

    try:
        await until(clean, within=within)
    except AssertionError:
        raise AssertionError(f"leaked keys: {latest}") from None


def _thread_of(name: str) -> str:
    match = TAGGED.match(name) or CHECKPOINT.match(name)
    return match["thread"] if match else ""
