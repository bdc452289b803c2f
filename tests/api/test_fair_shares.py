"""A run of one user starts while another user has many queued runs."""

import httpx
import msgspec

from api.requests import STEPS, System
from contract.builders import a_spec
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import connect
from millstream.shared.rules.fair_shares import NO_LIMITS
from millstream.shared.scripts.runs.admit import SCRIPT, arguments
from millstream.shared.sealing import NO_KEYS
from millstream.shared.threads import new_thread_fields

QUEUED = 100
SLOTS = 10  # of the worker
CONFIG = {"configurable": {"n": 1, "delay": 0.15}}


async def test_a_run_does_not_wait_for_all_runs_of_another_user(
    system: System, http: httpx.AsyncClient
) -> None:
    redis = connect(system.fleet.redis_url)
    kwargs = msgspec.json.encode({"input": {"items": []}, "config": CONFIG, "temporary": True})
    specs = [
        a_spec(identity="ann", graph_id="steps", kwargs=kwargs, temporary=True)
        for _ in range(QUEUED)
    ]
    await SCRIPT.many(
        redis, [arguments(NO_KEYS, spec, 0, new_thread_fields({}), NO_LIMITS, 60) for spec in specs]
    )
    run = (await http.post("/runs", json=STEPS)).json()
    record = keys.run(run["thread_id"], run["run_id"])

    async def has_started() -> bool:
        return await redis.hget(record, "status") != b"pending"  # type: ignore[misc]

    await until(has_started, within=30, what="the run starts")
    left = await redis.zcard(keys.queue("default"))
    response = await http.get(f"/runs/{run['run_id']}/join")
    assert response.json() == {"items": [0, 1, 2]}

    async def all_ended() -> bool:
        return not await redis.zcard(keys.queue("default"))

    await until(all_ended, within=30, what="the runs of the other user end")
    await redis.aclose()
    assert (
        left > SLOTS
    )  # in the order of time, only this run and those in the other slots would be left
