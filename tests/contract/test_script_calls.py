"""Calls of scripts: all scripts compile, lost ones are sent again, and lists may be long."""

from pathlib import Path

import pytest

from contract.builders import LEASE_MS, events_of, running
from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.scripts import Batch
from millstream.shared.scripts.runs.read_events import read_events
from millstream.shared.scripts.runs.renew import renew_all
from millstream.shared.scripts.script import Script

FOLDER = Path(scripts.__file__).parent
NAMES = sorted(
    path.relative_to(FOLDER).with_suffix("").as_posix()
    for path in FOLDER.glob("*/*.lua")
    if path.parent.name != "parts"
)


@pytest.mark.parametrize("name", NAMES)
async def test_each_script_compiles(real_redis: Client, name: str) -> None:
    """Lua allows 200 locals and 60 upvalues a function, and the parts of a script add up."""
    script = Script(name)
    assert await real_redis.script_load(script.source) == script.sha


async def test_a_batch_survives_the_loss_of_the_script(real_redis: Client) -> None:
    claims = [await running(real_redis) for _ in range(3)]
    await real_redis.script_flush()
    batches = [Batch(claim, 1, ["values", "1"]) for claim in claims]
    assert await scripts.append(real_redis, batches, max_events=100) == [2, 2, 2]
    assert await scripts.append(real_redis, batches, max_events=100) == [2, 2, 2]  # by its hash


async def test_a_single_call_survives_the_loss_of_the_script(real_redis: Client) -> None:
    claim = await running(real_redis)
    await real_redis.script_flush()
    assert await scripts.append(real_redis, [Batch(claim, 1, ["values", "1"])], max_events=9) == [2]
    await real_redis.script_flush()
    assert await scripts.hand_back(real_redis, claim)


async def test_reading_survives_the_loss_of_the_script(real_redis: Client) -> None:
    claims = [await running(real_redis) for _ in range(2)]
    streams = [(keys.events(c.spec.thread_id, c.spec.run_id), "0-0") for c in claims]
    await real_redis.script_flush()
    pages = await read_events(real_redis, streams, max_entries=10, max_bytes=1000)
    assert [len(page.entries) for page in pages] == [1, 1]


async def test_renewals_survive_the_loss_of_the_script(real_redis: Client) -> None:
    claims = [await running(real_redis) for _ in range(3)]
    await scripts.cancel(
        real_redis, claims[1].spec.thread_id, claims[1].spec.run_id, CancelAction.ROLLBACK
    )
    await scripts.hand_back(real_redis, claims[2])
    await real_redis.script_flush()
    for _ in range(2):  # by its source, then by its hash
        renewed = await renew_all(real_redis, claims, LEASE_MS)
        assert renewed == ["held", "rollback", "lost"]


async def test_an_empty_batch_makes_no_call(real_redis: Client) -> None:
    assert await scripts.append(real_redis, [], max_events=9) == []


@pytest.mark.parametrize("number", [1, 124, 125, 126, 6000])  # around what `unpack` makes a list of
async def test_a_list_may_be_longer_than_lua_can_unpack(any_redis: Client, number: int) -> None:
    claim = await running(any_redis)
    parts = [part for n in range(number) for part in ("values", str(n))]
    appended = await scripts.append(any_redis, [Batch(claim, 1, parts)], max_events=10_000)
    assert appended == [number + 1]
    events = await events_of(any_redis, claim.spec)
    assert [data for name, data in events if name == "values"] == list(range(number))
