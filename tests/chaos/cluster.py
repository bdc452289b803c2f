"""The cluster: a Redis, APIs behind proxies, and workers. It replaces processes that end."""

import asyncio
import contextlib
import json
import os
import signal
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from chaos.graphs import POISONED
from chaos.ledger import Ledger
from harness.api_proxy import ApiProxy
from harness.processes import Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client, connect

CONFIG = Path(__file__).with_name("langgraph.json")
TESTS = Path(__file__).parents[1]
LEASE = 1.0  # s
STOP_SECONDS = 20.0  # that a process may take after SIGTERM
ENV = {
    "LEASE_SECS": str(LEASE),
    "RUN_MAX_ATTEMPTS": "5",
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "1",
    "KEEPALIVE_INTERVAL_SECS": "0.5",
    "N_JOBS_PER_WORKER": "10",
}


@dataclass
class Slot:
    """A place for one process. When the process ends, the next one replaces it."""

    name: str
    proxy: ApiProxy | None  # of an API
    process: Process
    expected_to_end: bool = False  # because a fault was injected
    frozen: bool = False

    @property
    def is_ready(self) -> bool:
        return bool(self.process.ready) and not self.frozen and self.process.process.poll() is None


@dataclass
class StoppingProcess:
    """A process that got SIGTERM."""

    process: Process
    since: float = field(default_factory=time.monotonic)
    signalled_twice: bool = False

    def signal_again(self) -> None:
        """Sends a second SIGTERM."""
        self.signalled_twice = True
        self.process.send(signal.SIGTERM)

    @property
    def violation(self) -> str:
        """What is wrong with how it stopped; '' while it may still be stopping."""
        status = self.process.process.poll()
        if status is None:
            late = time.monotonic() - self.since > STOP_SECONDS
            return "did not stop on SIGTERM" if late else ""
        # uvicorn ends by the signal that it got. So does a worker that gets its second signal when
        # its event loop is closed already.
        is_api = "url" in self.process.ready
        expected = {0, -signal.SIGTERM} if is_api or self.signalled_twice else {0}
        if not is_api:
            expected.add(POISONED)  # a run that drained there was the graph `poison`
        return "" if status in expected else f"stopped with {status}"


@dataclass
class Cluster:
    """The running cluster."""

    redis: EmbeddedRedis
    client: Client  # of the suite itself
    ledger: Ledger
    slots: list[Slot] = field(default_factory=list)
    stopping: list[StoppingProcess] = field(default_factory=list)
    ended_processes: list[Process] = field(default_factory=list)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    redis_is_down: bool = False

    @property
    def workers(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.proxy is None]

    @property
    def apis(self) -> list[Slot]:
        return [slot for slot in self.slots if slot.proxy is not None]

    @property
    def urls(self) -> list[str]:
        """The addresses of the APIs, which never change."""
        return [slot.proxy.url for slot in self.slots if slot.proxy is not None]

    def start(self, name: str, proxy: ApiProxy | None) -> None:
        """Adds a slot with a new process."""
        self.slots.append(Slot(name, proxy, self._process(proxy)))

    def _process(self, proxy: ApiProxy | None) -> Process:
        module = "millstream.api" if proxy else "millstream.worker"
        options = ["--port", "0"] if proxy else ["--config", str(CONFIG)]
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        # The processes die with the suite, even if the suite is killed.
        return Process(
            "millstream.shared.parent_death",
            [str(int(signal.SIGKILL)), str(os.getpid()), sys.executable, "-m", module, *options],
            {"REDIS_URL": self.redis.url, "PYTHONPATH": path, **ENV},
            fresh=True,
        )

    def replace(self, slot: Slot) -> None:
        """Starts a new process in a slot."""
        slot.process = self._process(slot.proxy)
        slot.expected_to_end = slot.frozen = False

    def stop(self, slot: Slot) -> StoppingProcess:
        """Sends SIGTERM to a process, and replaces it at once."""
        stopping = StoppingProcess(slot.process)
        stopping.process.send(signal.SIGTERM)
        self.stopping.append(stopping)
        self.replace(slot)
        return stopping

    async def kill_redis(self) -> None:
        self.redis_is_down = True
        await self._in_thread(self.redis.kill)

    async def start_redis(self) -> None:
        await self._in_thread(self.redis.start)
        self.redis_is_down = False

    async def _in_thread(self, do: "object") -> None:
        assert callable(do)
        # Always the same thread: the server dies with the thread that started it.
        await asyncio.get_running_loop().run_in_executor(self.thread, do)

    async def supervise(self) -> None:
        """Replaces processes that end. Never returns."""
        while True:
            for slot in self.slots:
                if slot.process.process.poll() is not None:
                    self._replace_ended(slot)
                elif slot.proxy is not None and slot.process.ready:
                    slot.proxy.route_to(slot.process.url)
            for stopping in list(self.stopping):
                self._check_stopping(stopping)
            await asyncio.sleep(0.02)

    def _replace_ended(self, slot: Slot) -> None:
        process = slot.process
        self.ended_processes.append(process)
        status = process.process.returncode
        poisoned = status == POISONED and slot.proxy is None
        if not (slot.expected_to_end or poisoned) and process.ready:
            last = "\n".join(process.lines[-12:])
            self.ledger.add_violation(
                "fallen processes", f"{slot.name} ended by itself ({status}):\n{last}"
            )
        self.replace(slot)

    def _check_stopping(self, stopping: StoppingProcess) -> None:
        process = stopping.process
        if violation := stopping.violation:
            last = "\n".join(process.lines[-12:])
            self.ledger.add_violation("fallen processes", f"{process.pid} {violation}:\n{last}")
            process.send(signal.SIGKILL)
        elif process.process.poll() is None:
            return
        self.stopping.remove(stopping)
        self.ended_processes.append(process)

    async def wait_ready(self) -> None:
        """Waits until every slot has a ready process, and all stopping processes have ended."""
        await until(
            lambda: all(slot.is_ready for slot in self.slots) and not self.stopping,
            within=60,
            what="a cluster whose processes are all ready",
        )
        # `supervise` notices an API a moment after it is ready.
        await until(lambda: all(p.proxy is None or p.proxy.backend for p in self.slots))

    def errors(self) -> list[str]:
        """Returns the errors that processes logged."""
        processes = [*self.ended_processes, *(slot.process for slot in self.slots)]
        return [json.dumps(error) for process in processes for error in process.errors]


@contextlib.asynccontextmanager
async def running_cluster(ledger: Ledger, *, workers: int, apis: int) -> AsyncIterator[Cluster]:
    """Yields a cluster whose processes are all ready. All end with the block."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        # Redis syncs each write before it replies, so that any loss is Millstream's.
        redis = EmbeddedRedis(folder / "redis", appendonly=True, appendfsync="always")
        thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        stack.callback(thread.shutdown)
        stack.callback(lambda: thread.submit(redis.stop).result())
        await asyncio.get_running_loop().run_in_executor(thread, redis.start)
        client = connect(redis.url)
        stack.push_async_callback(client.aclose)
        cluster = Cluster(redis, client, ledger, thread=thread)
        stack.callback(_end, cluster)
        for number in range(apis):
            cluster.start(f"api {number}", await stack.enter_async_context(ApiProxy()))
        for number in range(workers):
            cluster.start(f"worker {number}", None)
        supervisor = asyncio.create_task(cluster.supervise())
        stack.callback(supervisor.cancel)
        await cluster.wait_ready()
        yield cluster


def _end(cluster: Cluster) -> None:
    processes = [
        *(slot.process for slot in cluster.slots),
        *(stopping.process for stopping in cluster.stopping),
    ]
    for process in processes:
        if process.process.poll() is None:
            process.send(signal.SIGKILL)
    for process in processes:
        process.wait()
