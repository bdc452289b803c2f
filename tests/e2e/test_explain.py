"""Real workers freeze, drain and die under one run; `explain`, the list of workers and the command say so."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import BEHAVIOUR, Cluster, NodeLog, Thread
from e2e.raw_http import call_api
from harness.processes import Process
from harness.waiting import until

pytestmark = pytest.mark.xdist_group("worker_cluster")

QUEUE = "explained"  # of this module alone: killed workers of another count as lost


class Fleet:
    """Workers of a private queue, and the run that they execute."""

    def __init__(self, cluster: Cluster, config: Path) -> None:
        self.cluster = cluster
        self.config = config
        self.workers: list[Process] = []
        self.run_path = ""

    def start(self) -> Process:
        env = {"N_JOBS_PER_WORKER": "5", "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "60"}
        self.workers.append(self.cluster.fleet.worker(self.config, QUEUE, **env))
        return self.workers[-1].wait_ready()

    async def explanation(self) -> dict[str, Any]:
        status, body = await call_api(self.cluster.url, "GET", f"{self.run_path}/explain")
        assert status == 200, body
        return dict(body)

    async def becomes(self, reason: str, worker: Process | None = None, **fields: object) -> None:
        """Waits until the run has this reason, with the worker and the fields in it."""
        latest: dict[str, Any] = {}

        async def equal() -> bool:
            latest.update(await self.explanation())
            held_by = str(latest["fields"].get("worker_id", ""))
            is_worker = worker is None or f"-{worker.pid}-" in held_by
            return (
                latest["reason"] == reason
                and is_worker
                and fields.items() <= latest["fields"].items()
            )

        await until(equal, within=20, what=f"{reason} {fields} in {latest}")

    async def states(self) -> dict[int, str]:
        """Returns the states of the queue's workers by process id."""
        _, workers = await call_api(self.cluster.url, "GET", f"/ops/workers?queue={QUEUE}")
        return {each["pid"]: each["state"] for each in workers}


@pytest.fixture
def fleet(worker_cluster: Cluster, tmp_path: Path) -> Iterator[Fleet]:
    path = tmp_path / "langgraph.json"
    path.write_text(f'{{"graphs": {{"{QUEUE}": "{BEHAVIOUR.with_name("behaviour.py")}:gate"}}}}')
    fleet = Fleet(worker_cluster, path)
    yield fleet
    for worker in fleet.workers:
        if worker.process.poll() is None:
            worker.send(signal.SIGCONT)
            worker.kill()


async def test_a_run_is_explained_through_all_that_happens_to_its_workers(
    fleet: Fleet, log: NodeLog
) -> None:
    frozen = fleet.start()
    thread = await Thread.create(fleet.cluster.url)
    run = await thread.start(QUEUE, configurable={"log": str(log)}, durability="sync")
    waiting = await thread.start(QUEUE, configurable={"log": str(log)})
    fleet.run_path = f"{thread.runs_path}/{waiting}"
    await fleet.becomes("waits_for_run", active_run_id=run, position=1)
    fleet.run_path = f"{thread.runs_path}/{run}"
    await fleet.becomes("claimed", frozen, worker_state="live", attempt=1)

    frozen.send(signal.SIGSTOP)
    await fleet.becomes("lease_lapsed", frozen, attempt=1)
    await fleet.becomes("no_worker", lost_workers=1, draining_workers=0)

    drained = fleet.start()
    await fleet.becomes("claimed", drained, worker_state="live", attempt=2)
    drained.send(signal.SIGTERM)
    await fleet.becomes("claimed", drained, worker_state="draining")
    killed = fleet.start()

    async def all_states() -> bool:
        expected = {frozen.pid: "lost", drained.pid: "draining", killed.pid: "live"}
        return await fleet.states() == expected

    await until(all_states, within=20)
    drained.send(signal.SIGTERM)  # ends the grace period
    await fleet.becomes("claimed", killed, attempt=2)
    assert await asyncio.to_thread(drained.wait) == 0

    killed.send(signal.SIGKILL)
    last = fleet.start()  # after two lapses a worker executes the run alone
    await fleet.becomes("executed_alone", last, attempt=3)
    frozen.send(signal.SIGCONT)
    log.open_gate()
    assert await thread.ended(run, within=30) == "success"
    await fleet.becomes("ended", cause="succeeded")
    assert await thread.ended(waiting, within=30) == "success"

    attempts = (await fleet.explanation())["attempts"]
    workers = [int(each["worker_id"].split("-")[-2]) for each in attempts]
    assert workers == [frozen.pid, drained.pid, killed.pid, last.pid]
    assert [each["outcome"] for each in attempts] == [
        "lapsed", "handed_back", "lapsed", "succeeded",
    ]  # fmt: skip
    assert [each["attempt"] for each in attempts] == [1, 2, 2, 3]
    assert attempts[1]["detail"] == "drain"
    assert all(each["claimed_at"] <= each["ended_at"] for each in attempts)
    fences = [each["fence"] for each in attempts]
    assert fences == sorted(set(fences))

    # An operator in a pod knows the id of the run alone: its checkpoints name its thread.
    script = "from millstream.cli.main import main; main()"
    command = [sys.executable, "-c", script, "runs", "explain", run, "--json"]
    environ = {**os.environ, "REDIS_URL": fleet.cluster.redis.url}
    output = await asyncio.to_thread(subprocess.check_output, command, env=environ, text=True)
    assert json.loads(output)["attempts"] == attempts
