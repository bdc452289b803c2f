"""A run of one user starts while another user has many queued runs."""

import httpx
import msgspec
import pytest

from api.requests import STEPS, System
from contract.builders import a_spec, new_id
from harness.waiting import until
from millstream.shared import keys
from millstream.shared.redis import connect
from millstream.shared.rules.fair_shares import NO_LIMITS
from millstream.shared.scripts.runs.admit import SCRIPT, arguments
from millstream.shared.sealing import NO_KEYS
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import RunSpec

QUEUED = 100


def a_queued_spec(delay: float) -> RunSpec:
    """Returns a run of another user that takes `delay` seconds."""
    thread_id, run_id = new_id(), new_id()
    configurable = {"thread_id": thread_id, "run_id": run_id, "n": 1, "delay": delay}
    kwargs = {"input": {"items": []}, "config": {"configurable": configurable}}
    return a_spec(
        run_id=run_id,
        thread_id=thread_id,
        identity="ann",
        graph_id="steps",
        kwargs=msgspec.json.encode(kwargs),
    )


@pytest.mark.parametrize("delay", [0, 0.1])  # the worker has free slots, or none
async def test_a_run_does_not_wait_for_all_runs_of_another_user(
    system: System, http: httpx.AsyncClient, delay: float
) -> None:
    redis = connect(system.fleet.redis_url)
    specs = [a_queued_spec(delay) for _ in range(QUEUED)]
    await SCRIPT.many(
        redis, [arguments(NO_KEYS, spec, 0, new_thread_fields({}), NO_LIMITS, 60) for spec in specs]
    )
    run = (await http.post("/runs", json=STEPS)).json()
    response = await http.get(f"/runs/{run['run_id']}/join")
    assert response.json() == {"items": [0, 1, 2]}

    async def all_ended() -> bool:
        return not await redis.zcard(keys.queue("default"))

    await until(all_ended, within=60, what="the runs of the other user end")
    started = {
        spec.run_id: int(await redis.hget(keys.run(spec.thread_id, spec.run_id), "started_at"))  # type: ignore[misc]
        for spec in specs
    }
    its_start = int(await redis.hget(keys.run(run["thread_id"], run["run_id"]), "started_at"))  # type: ignore[misc]
    await redis.aclose()
    later = sum(each > its_start for each in started.values())
    assert later > QUEUED / 2  # in the order of time, none would be
