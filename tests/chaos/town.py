"""The town: a Redis, APIs behind gates, and workers, kept at strength whatever happens to them."""

import asyncio
import contextlib
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
from harness.gate import Gate
from harness.processes import Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import Client, connect

CONFIG = Path(__file__).with_name("langgraph.json")
TESTS = Path(__file__).parents[1]
LEASE = 1.0  # s
LEAVES_WITHIN = 20.0  # s from SIGTERM on
ENV = {
    "LEASE_SECS": str(LEASE),
    "RUN_MAX_ATTEMPTS": "5",
    "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "1",
    "KEEPALIVE_INTERVAL_SECS": "0.5",
    "N_JOBS_PER_WORKER": "10",
}


@dataclass
class Post:
    """A place in the town that one process after the other fills."""

    name: str
    gate: Gate | None  # of an API
    process: Process
    struck: bool = False  # its end is our doing
    frozen: bool = False

    @property
    def is_ready(self) -> bool:
        return bool(self.process.ready) and not self.frozen and self.process.process.poll() is None


@dataclass
class Leaver:
    """A process that was told to stop."""

    process: Process
    since: float = field(default_factory=time.monotonic)
    pressed: bool = False  # it was told twice

    def press(self) -> None:
        """Tells it again."""
        self.pressed = True
        self.process.send(signal.SIGTERM)

    @property
    def fault(self) -> str:
        """What is wrong with how it left; nothing as long as it may still be on its way."""
        status = self.process.process.poll()
        if status is None:
            late = time.monotonic() - self.since > LEAVES_WITHIN
            return "did not stop when told" if late else ""
        # uvicorn ends by the signal that it got; so does a worker whose second signal comes when
        # its loop is closed already.
        is_api = "url" in self.process.ready
        expected = (0, -signal.SIGTERM) if is_api or self.pressed else (0,)
        return "" if status in expected else f"stopped with {status}"


@dataclass
class Town:
    """The running town."""

    redis: EmbeddedRedis
    client: Client  # of our own, for looking
    ledger: Ledger
    posts: list[Post] = field(default_factory=list)
    leaving: list[Leaver] = field(default_factory=list)
    gone: list[Process] = field(default_factory=list)
    thread: ThreadPoolExecutor = field(default_factory=lambda: ThreadPoolExecutor(1))
    redis_is_down: bool = False

    @property
    def workers(self) -> list[Post]:
        return [post for post in self.posts if post.gate is None]

    @property
    def apis(self) -> list[Post]:
        return [post for post in self.posts if post.gate is not None]

    @property
    def urls(self) -> list[str]:
        """The addresses of the APIs: they stay."""
        return [post.gate.url for post in self.posts if post.gate is not None]

    def start(self, name: str, gate: Gate | None) -> None:
        """Adds a post."""
        self.posts.append(Post(name, gate, self._process(gate)))

    def _process(self, gate: Gate | None) -> Process:
        module = "millstream.api" if gate else "millstream.worker"
        options = ["--port", "0"] if gate else ["--config", str(CONFIG)]
        path = os.pathsep.join([str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])])
        # On a leash: a kill of the suite itself must not leave anybody behind.
        return Process(
            "millstream.shared.parent_death",
            [str(int(signal.SIGKILL)), str(os.getpid()), sys.executable, "-m", module, *options],
            {"REDIS_URL": self.redis.url, "PYTHONPATH": path, **ENV},
            fresh=True,
        )

    def replace(self, post: Post) -> None:
        """Fills a post anew."""
        post.process = self._process(post.gate)
        post.struck = post.frozen = False

    def dismiss(self, post: Post) -> Leaver:
        """Tells a process to stop, and fills its post at once."""
        leaver = Leaver(post.process)
        leaver.process.send(signal.SIGTERM)
        self.leaving.append(leaver)
        self.replace(post)
        return leaver

    async def kill_redis(self) -> None:
        self.redis_is_down = True
        await self._in_thread(self.redis.kill)

    async def start_redis(self) -> None:
        await self._in_thread(self.redis.start)
        self.redis_is_down = False

    async def _in_thread(self, do: "object") -> None:
        assert callable(do)
        # One thread for all of its life: the server dies with the thread that started it.
        await asyncio.get_running_loop().run_in_executor(self.thread, do)

    async def keep(self) -> None:
        """Keeps the town at strength; never returns."""
        while True:
            for post in self.posts:
                if post.process.process.poll() is not None:
                    self._bury(post)
                elif post.gate is not None and post.process.ready:
                    post.gate.lead_to(post.process.url)
            for leaver in list(self.leaving):
                self._see_off(leaver)
            await asyncio.sleep(0.02)

    def _bury(self, post: Post) -> None:
        process = post.process
        self.gone.append(process)
        status = process.process.returncode
        poisoned = status == POISONED and post.gate is None
        if not (post.struck or poisoned) and process.ready:
            last = "\n".join(process.lines[-12:])
            self.ledger.fault("fallen processes", f"{post.name} fell by itself ({status}):\n{last}")
        self.replace(post)

    def _see_off(self, leaver: Leaver) -> None:
        process = leaver.process
        if fault := leaver.fault:
            last = "\n".join(process.lines[-12:])
            self.ledger.fault("fallen processes", f"{process.pid} {fault}:\n{last}")
            process.send(signal.SIGKILL)
        elif process.process.poll() is None:
            return
        self.leaving.remove(leaver)
        self.gone.append(process)

    async def at_strength(self) -> None:
        """Waits until every post is filled and ready, and all who were told to stop have left."""
        await until(
            lambda: all(post.is_ready for post in self.posts) and not self.leaving,
            within=60,
            what="a town at strength",
        )
        # The keeper notices an API a moment after it is ready.
        await until(lambda: all(p.gate is None or p.gate.backend for p in self.posts))

    def errors(self) -> list[str]:
        """Returns what processes logged as errors."""
        everybody = [*self.gone, *(post.process for post in self.posts)]
        return [line for process in everybody for line in process.lines if line[:5] == "ERROR"]


@contextlib.asynccontextmanager
async def founded(ledger: Ledger, *, workers: int, apis: int) -> AsyncIterator[Town]:
    """Yields a town at strength; all of it ends with the block."""
    async with contextlib.AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="chaos-")))
        # Each write on disk before it is answered: what is lost, then, was lost by us.
        redis = EmbeddedRedis(folder / "redis", appendonly=True, appendfsync="always")
        thread = ThreadPoolExecutor(1, thread_name_prefix="redis")
        stack.callback(thread.shutdown)
        stack.callback(lambda: thread.submit(redis.stop).result())
        await asyncio.get_running_loop().run_in_executor(thread, redis.start)
        client = connect(redis.url)
        stack.push_async_callback(client.aclose)
        town = Town(redis, client, ledger, thread=thread)
        stack.callback(_end, town)
        for number in range(apis):
            town.start(f"api {number}", await stack.enter_async_context(Gate()))
        for number in range(workers):
            town.start(f"worker {number}", None)
        keeper = asyncio.create_task(town.keep())
        stack.callback(keeper.cancel)
        await town.at_strength()
        yield town


def _end(town: Town) -> None:
    processes = [
        *(post.process for post in town.posts),
        *(leaver.process for leaver in town.leaving),
    ]
    for process in processes:
        if process.process.poll() is None:
            process.send(signal.SIGKILL)
    for process in processes:
        process.wait()
