"""Measures what metrics cost: a scrape with no runs and with many, and runs with metrics and without.

A scrape must not depend on the number of runs and threads. Of runs the ratio counts, of CPU in turns: both systems
run the same workload alternately, so what else the machine does affects both.
"""

import asyncio
import statistics
import tempfile
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from bench.client import Client
from harness.processes import FreshFleet, Process
from harness.scraping import free_port
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.figures import read_figures
from millstream.shared.redis import connect
from millstream.shared.rules.fair_shares import NO_LIMITS
from millstream.shared.scripts.runs.admit import SCRIPT, arguments
from millstream.shared.sealing import NO_KEYS
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import PROTOCOL, RunSpec

BATCH: Final = 500  # runs admitted in one round trip
TIMES: Final = 30  # scrapes
ROUNDS: Final = 12  # in each of which both systems execute the workload
CpuSeconds = Callable[[list[int]], float]


def _spec(number: int) -> RunSpec:
    return RunSpec(
        protocol=PROTOCOL, run_id=str(uuid.uuid4()), thread_id=str(uuid.uuid4()), assistant_id="a",
        graph_id=f"g{number % 10}", queue=f"q{number % 3}", strategy="enqueue", temporary=False,
        metadata=b"{}", kwargs=b"{}",
    )  # fmt: skip


async def _admit(redis: Any, number: int) -> None:
    """Queues runs, each on a thread of its own, on three queues without a worker."""
    for start in range(0, number, BATCH):
        specs = [_spec(n) for n in range(start, min(number, start + BATCH))]
        await SCRIPT.many(
            redis,
            [arguments(NO_KEYS, spec, 0, new_thread_fields({}), NO_LIMITS, 3600) for spec in specs],
        )


def _get(url: str) -> int:
    with urllib.request.urlopen(f"{url}/metrics") as response:
        return len(response.read())


async def _scrape(redis: Any, url: str) -> dict[str, float]:
    """Returns what one scrape costs: the read of Redis alone, and the answer from figures that were just read."""
    await redis.config_resetstat()
    reads = []
    for _ in range(TIMES):
        begun = time.perf_counter()
        await read_figures(redis)
        reads.append((time.perf_counter() - begun) * 1e3)
    stats = await redis.info("commandstats")
    entries = [entry for name, entry in stats.items() if name != "cmdstat_config|resetstat"]
    answers = []
    size = 0
    for _ in range(TIMES):
        begun = time.perf_counter()
        size = await asyncio.to_thread(_get, url)
        answers.append((time.perf_counter() - begun) * 1e3)
    return {
        "commands of Redis": sum(entry["calls"] for entry in entries) / TIMES,
        "CPU of Redis, us": sum(entry["usec"] for entry in entries) / TIMES,
        "read of Redis, ms": statistics.median(reads),
        "GET /metrics, ms": statistics.median(answers),
        "size, KiB": size / 1024,
    }


async def measure_scrapes(number: int) -> None:
    """Prints the cost of a scrape with no queued run and with `number`, each on its own thread."""
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as server,
        FreshFleet(server.url) as fleet,
    ):
        url = fleet.api().wait_ready().url
        redis = connect(server.url)
        try:
            await _admit(redis, 3)  # the queues exist
            few = await _scrape(redis, url)
            await _admit(redis, number - 3)
            many = await _scrape(redis, url)
        finally:
            await redis.aclose()
    print(f"{'queued runs and threads':<28}{3:>10,}{number:>10,}{'ratio':>8}   one scrape")
    for name, value in few.items():
        print(f"  {name:<26}{value:>10.1f}{many[name]:>10.1f}{many[name] / value:>8.2f}")


async def measure_runs(request: dict[str, Any], runs: int, cpu_seconds: CpuSeconds) -> None:
    """Prints the CPU of API and worker for a run with metrics and without, and the median ratio of the rounds."""
    clients = 10
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as server,
        FreshFleet(f"{server.url.rpartition('/')[0]}/1", N_JOBS_PER_WORKER="30") as on,
        FreshFleet(f"{server.url.rpartition('/')[0]}/2", N_JOBS_PER_WORKER="30") as off,
    ):
        processes: dict[str, list[Process]] = {
            "on": [on.api(), on.worker(METRICS_PORT=str(free_port()))],
            "off": [
                off.api(ENABLE_PROMETHEUS_METRICS="false"),
                off.worker(ENABLE_PROMETHEUS_METRICS="false"),
            ],
        }
        spent: dict[str, list[float]] = {"on": [], "off": []}
        for number in range(-1, ROUNDS):  # the first warms up
            # Each begins in every other round: the second of a round finds the caches of the first.
            order = list(processes.items())[:: 1 if number % 2 else -1]
            for name, (api, worker) in order:
                pids = [api.wait_ready().pid, worker.wait_ready().pid]
                before = cpu_seconds(pids)
                await Client(api.url).load(request, clients=clients, runs=runs)
                if number >= 0:
                    spent[name].append((cpu_seconds(pids) - before) / runs * 1e3)
    print(f"{'CPU of API and worker':<28}{'off':>10}{'on':>10}{'ratio':>8}   ms a run, 1 node")
    ratios = [a / b for a, b in zip(spent["on"], spent["off"], strict=True) if b]
    ratio = statistics.median(ratios) if ratios else 0.0
    medians = [statistics.median(spent[name]) for name in ("off", "on")]
    print(
        f"  {'median of ' + str(ROUNDS) + ' rounds':<26}{medians[0]:>10.2f}{medians[1]:>10.2f}",
        end="",
    )
    print(f"{ratio:>8.3f}")
