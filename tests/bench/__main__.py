"""`make bench`: measures a new system on loopback with some workloads, beside a baseline, the floor.

The floor is LangGraph by itself with the same workload, in the same run. Trust the ratios, because
machines differ and are noisy.
"""

import argparse
import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from bench import authentication, hostile, savers, scrapes, shares, threads
from bench.client import Client, Load, Timing
from harness.processes import FreshFleet
from millstream.cli.embedded import EmbeddedRedis

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Workload:
    """One kind of run."""

    name: str
    graph: str
    input: dict[str, Any]
    configurable: dict[str, Any]
    mode: str = "values"
    clients: int = 10
    runs: int = 200
    request: dict[str, Any] = field(init=False)

    def __post_init__(self) -> None:
        self.request = {
            "assistant_id": self.graph,
            "input": self.input,
            "config": {"configurable": self.configurable},
            "stream_mode": [self.mode],
        }


ONE_RUN = Workload("", "steps", {"items": []}, {"n": 1}, runs=400)
HELLO = {"messages": [{"role": "user", "content": "hi"}]}
WORKLOADS = [
    Workload("1 node", "steps", {"items": []}, {"n": 1}, clients=30, runs=600),
    Workload("5 nodes", "steps", {"items": []}, {"n": 5}, runs=200),
    Workload("200 tokens", "chat", HELLO, {"tokens": 200}, mode="messages-tuple", runs=100),
]


def cpu_seconds(pids: list[int]) -> float:
    """Returns the CPU time of processes so far; 0 where the system has no /proc."""
    total = 0
    for pid in pids:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            return 0.0
        total += int(stat[11]) + int(stat[12])
    return total / TICKS


def floors(workloads: Sequence[Workload]) -> list[dict[str, float]]:
    """Measures the workloads on LangGraph by itself."""
    jobs = []
    for workload in workloads:
        mode = "messages" if workload.mode == "messages-tuple" else workload.mode
        request = {"input": workload.input, "mode": mode, "config": workload.request["config"]}
        runs = max(30, workload.runs // 4)
        jobs.append({"graph": workload.graph, "request": request, "runs": runs})
    result = subprocess.run(
        [sys.executable, "-m", "bench.floor", json.dumps(jobs)],
        check=True,
        capture_output=True,
        text=True,
        cwd=Path(__file__).parents[1],
    )
    figures: list[dict[str, float]] = json.loads(result.stdout.splitlines()[-1])
    return figures


def spread(timings: list[Timing], name: str) -> str:
    """Returns `median (95th percentile)` in ms."""
    values = sorted(getattr(timing, name) for timing in timings)
    return f"{statistics.median(values):6.1f} ({values[int(len(values) * 0.95)]:.1f})"


async def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--latency-runs", type=int, default=200)
    parser.add_argument("--scale", type=float, default=1.0, help="of the number of runs")
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument(
        "--part",
        choices=["all", "runs", "checkpointers", "threads", "metrics", "auth", "hostile", "shares"],
        default="all",
    )
    parser.add_argument("--only", default="", help="a part of the name of a hostile client")
    options = parser.parse_args()
    if options.part in ("all", "runs"):
        await whole_runs(options)
    if options.part in ("all", "threads"):
        print("\nthreads: common searches")
        await threads.measure(max(200, int(100_000 * options.scale)))
    if options.part in ("all", "metrics"):
        print("\nmetrics: scrapes, and runs with metrics and without")
        await scrapes.measure_scrapes(max(200, int(100_000 * options.scale)))
        runs = max(10, int(300 * options.scale))
        await scrapes.measure_runs(WORKLOADS[0].request, runs, cpu_seconds)
    if options.part in ("all", "auth"):
        print(f"\nauth: {authentication.CONCURRENT} questions at a time, or one")
        await authentication.measure(max(200, int(5000 * options.scale)), cpu_seconds)
    if options.part in ("all", "hostile"):
        print("\nhostile: what one client costs an API, and other clients")
        await asyncio.to_thread(hostile.run, options.scale, options.only)
    if options.part in ("all", "shares"):
        print("\nshares: the cost of scripts, and a run beside the full queue of another user")
        await shares.measure_costs(max(100, int(10_000 * options.scale)))
        await shares.measure_tenants(
            max(100, int(10_000 * options.scale)), max(3, int(20 * options.scale))
        )
    if options.part in ("all", "checkpointers"):
        print(
            "\ncheckpointers: a loop of 10 steps that adds messages of 300 bytes, durability sync"
        )
        await savers.measure(max(1, int(15 * options.scale)))


async def whole_runs(options: argparse.Namespace) -> None:
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as redis,
        FreshFleet(redis.url, N_JOBS_PER_WORKER="30") as fleet,
    ):
        api = fleet.api().wait_ready()
        workers = [fleet.worker() for _ in range(options.workers)]
        pids = {
            "api": [api.pid],
            "worker": [worker.wait_ready().pid for worker in workers],
            "redis": [redis.pid],
        }
        client = Client(api.url)
        print(f"1 API, {options.workers} worker(s), 1 Redis, {os.cpu_count()} cores\n")
        for workload in WORKLOADS:
            workload.runs = max(workload.clients, int(workload.runs * options.scale))
        whole_run, *alone = floors([ONE_RUN, *WORKLOADS])
        await latency(client, options.latency_runs, whole_run)
        print(f"\n{'work':<12}{'runs/s':>8}{'events/s':>10}{'CPU ms/run':>12}", end="")
        print(f"{'api':>7}{'worker':>8}{'redis':>7}{'floor':>8}{'ratio':>7}")
        for workload, its_floor in zip(WORKLOADS, alone, strict=True):
            await throughput(client, workload, its_floor, pids)


async def latency(client: Client, runs: int, alone: dict[str, float]) -> None:
    for _ in range(20):
        await client.run(ONE_RUN.request)
    timings = [await client.run(ONE_RUN.request) for _ in range(runs)]
    print("one client, run after run: p50 (p95) in ms from POST")
    for name in ("headers", "first_event", "first_graph_event", "total"):
        print(f"  {name.replace('_', ' '):<18}{spread(timings, name)}")
    print(f"  {'floor: whole run':<18}{alone['ms_per_run']:6.1f}")


async def throughput(
    client: Client, workload: Workload, alone: dict[str, float], pids: dict[str, list[int]]
) -> None:
    await client.load(workload.request, clients=workload.clients, runs=workload.clients)
    before = {part: cpu_seconds(ids) for part, ids in pids.items()}
    result: Load = await client.load(workload.request, clients=workload.clients, runs=workload.runs)
    spent = {p: (cpu_seconds(ids) - before[p]) / workload.runs * 1e3 for p, ids in pids.items()}
    events = sum(timing.events for timing in result.timings)
    total = sum(spent.values())
    print(
        f"{workload.name:<12}{workload.runs / result.wall:>8.0f}{events / result.wall:>10.0f}",
        end="",
    )
    print(f"{total:>12.1f}{spent['api']:>7.1f}{spent['worker']:>8.1f}", end="")
    print(f"{spent['redis']:>7.1f}{alone['cpu_ms_per_run']:>8.1f}", end="")
    print(f"{total / alone['cpu_ms_per_run']:>7.1f}")


if __name__ == "__main__":
    asyncio.run(main())
