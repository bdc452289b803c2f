"""Measures fair shares: what an admission and a claim cost Redis, and how long a run takes beside a full queue.

The cost must depend neither on the number of queued runs nor, but for a logarithm, on the number of identities.
"""

import statistics
import tempfile
from pathlib import Path
from typing import Any, Final

import msgspec

from bench.client import Client
from contract.builders import a_spec
from harness.processes import FreshFleet
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared.redis import connect
from millstream.shared.rules.fair_shares import NO_LIMITS
from millstream.shared.scripts.runs.admit import SCRIPT, arguments
from millstream.shared.sealing import NO_KEYS
from millstream.shared.threads import new_thread_fields

BATCH: Final = 500  # runs admitted in one round trip
MEASURED: Final = 500  # admissions and claims
SLOTS: Final = 10
CONFIG: Final = {"configurable": {"n": 1, "delay": 0.05}}  # a run that waits, as for a model


async def _admit(redis: Any, number: int, identities: int) -> None:
    """Queues runs of identities in turns, each on a thread of its own."""
    kwargs = msgspec.json.encode({"input": {"items": []}, "config": CONFIG, "temporary": True})
    for start in range(0, number, BATCH):
        specs = [
            a_spec(
                identity=f"user-{n % identities}", graph_id="steps", kwargs=kwargs, temporary=True
            )
            for n in range(start, min(number, start + BATCH))
        ]
        await SCRIPT.many(
            redis,
            [arguments(NO_KEYS, spec, 0, new_thread_fields({}), NO_LIMITS, 3600) for spec in specs],
        )


async def _script_micros(redis: Any) -> float:
    """Returns the mean time of a script since the last reset of the statistics, in µs."""
    stats = await redis.info("commandstats")
    return float(stats["cmdstat_evalsha"]["usec_per_call"])


async def _costs(redis: Any, number: int, identities: int) -> tuple[float, float]:
    """Returns the time of an admission and of a claim with `number` queued runs, in µs."""
    await redis.flushall()
    await _admit(redis, number, identities)
    await redis.config_resetstat()
    await _admit(redis, MEASURED, identities)
    admission = await _script_micros(redis)
    claims = 0.0
    for _ in range(MEASURED // SLOTS):
        [(jobs, _)] = await scripts.tag_due_in(redis, ["default"], SLOTS)
        await redis.config_resetstat()
        for slots, job in enumerate(jobs):
            claim = await scripts.claim(
                redis, job, "default", worker="w", token=job, graphs=["steps"], lease_ms=600_000,
                max_attempts=3, events_ttl=600, slots=SLOTS - slots,
            )  # fmt: skip
            assert claim is not None
        claims += await _script_micros(redis)
    return admission, claims / (MEASURED // SLOTS)


async def measure_costs(number: int) -> None:
    """Prints the cost of scripts with few queued runs and identities, and with `number` of each."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as server,
    ):
        redis = connect(server.url)
        try:
            rows = [
                (runs, identities, await _costs(redis, runs, identities))
                for runs, identities in ((10, 10), (number, 10), (number, number))
            ]
        finally:
            await redis.aclose()
    print(f"{'queued runs':>12}{'identities':>12}{'admission':>12}{'claim':>9}   us of Redis")
    for runs, identities, (admission, claim) in rows:
        print(f"{runs:>12,}{identities:>12,}{admission:>12.1f}{claim:>9.1f}")


async def measure_tenants(number: int, runs: int) -> None:
    """Prints how long a run takes on an idle server, and while another user has `number` queued runs."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as server,
        FreshFleet(server.url, N_JOBS_PER_WORKER=str(SLOTS)) as fleet,
    ):
        client = Client(fleet.api().wait_ready().url)
        fleet.worker().wait_ready()
        request = {
            "assistant_id": "steps", "input": {"items": []}, "config": CONFIG, "stream_mode": ["values"],
        }  # fmt: skip
        redis = connect(server.url)
        try:
            await client.run(request)  # warms up
            idle = [await client.run(request) for _ in range(runs)]
            await _admit(redis, number, 1)
            beside = [await client.run(request) for _ in range(runs)]
            left = await redis.zcard(keys.queue("default"))
        finally:
            await redis.aclose()
    print(f"\n{'':<24}{'idle':>8}{'beside':>9}{'ratio':>8}   ms, {left:,} of {number:,} runs left")
    for name, text in (("first_event", "start of a run"), ("total", "end of a run")):
        medians = [statistics.median(getattr(run, name) for run in each) for each in (idle, beside)]
        print(f"  {text:<22}{medians[0]:>8.1f}{medians[1]:>9.1f}{medians[1] / medians[0]:>8.2f}")
