"""Supervises the processes of `millstream dev`: starts, restarts and stops them."""

import contextlib
import queue
import threading
import time
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import Any, Final

from millstream.cli.banner import Facts, banner
from millstream.cli.children import Child, Exited, Ready
from millstream.cli.console import Console
from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.errors import CliError
from millstream.cli.processes import variable
from millstream.cli.project import Project, read_project
from millstream.cli.watch import Watch, describe_changes

API_URL: Final = variable("api_url")  # where graphs find their own API
STOP_SECONDS: Final = 3.0  # until a process is killed that does not stop
RESTART_SECONDS: Final = 5.0  # until a process is killed that is to be replaced
NOTICE_SECONDS: Final = 20.0  # until a message says which processes are not ready yet


@dataclass(frozen=True, slots=True)
class Stop:
    """A request to stop: Ctrl-C, or a signal."""


@dataclass(frozen=True, slots=True)
class Changed:
    """Files of the project have changed."""

    paths: AbstractSet[str]


@dataclass(frozen=True, slots=True)
class RedisEnded:
    """The embedded Redis has ended unexpectedly."""

    status: int


Event = Stop | Changed | RedisEnded | Ready | Exited
Events = queue.SimpleQueue[Event]


@dataclass(frozen=True, slots=True)
class Plan:
    """Which processes to run, and how."""

    project: Project
    environ: Mapping[str, str]
    address: str
    """The URL of the API on this machine, without the project's prefix: `http://127.0.0.1:2024`."""
    api: Sequence[str]
    """The command of the API process."""
    worker: Sequence[str]
    """The command of each worker process."""
    workers: int
    reload: bool
    redis: str
    """The banner's text for the Redis."""
    version: str


def worker_names(count: int) -> list[str]:
    """Returns the names of `count` workers, which precede their lines."""
    return ["worker"] if count == 1 else [f"worker{n + 1}" for n in range(count)]


class Supervisor:
    """Handles one event after the other. Threads only report events; all decisions are made here."""

    def __init__(
        self, plan: Plan, console: Console, events: Events, redis: EmbeddedRedis | None = None
    ) -> None:
        """`redis` is an embedded server to watch; None if the plan's Redis is another."""
        self._plan = plan
        self._project = plan.project
        self._console = console
        self._events = events
        self._redis = redis
        self._environ = {**plan.environ, API_URL: plan.address + plan.project.prefix}
        self._api = Child("api", plan.api, self._environ, console, events.put)
        self._workers = [
            Child(name, plan.worker, self._environ, console, events.put)
            for name in worker_names(plan.workers)
        ]
        self._running: set[Child] = set()
        self._ready: dict[Child, dict[str, Any]] = {}
        self._announced = False
        self._restarting: set[Child] = set()
        self._watch: Watch | None = None

    def run(self) -> int:
        """Runs until Ctrl-C, or until a process ends that can't be restarted; returns the exit status.

        The API and the workers have ended then; the caller stops the Redis. Call it in the main thread, because
        the processes die with the thread that runs it.
        """
        try:
            if self._plan.reload:
                self._start_watch()
            if self._redis is not None:
                threading.Thread(target=self._await_redis, daemon=True).start()
            for child in (self._api, *self._workers):
                self._start(child)
            return self._react()
        finally:
            if self._watch is not None:
                self._watch.stop()
            self._stop_children()

    def _react(self) -> int:
        """Handles events until one ends the command; returns the exit status."""
        notice_after: float | None = NOTICE_SECONDS
        while True:
            try:
                event = self._events.get(timeout=None if self._announced else notice_after)
            except queue.Empty:
                notice_after = None  # one message is enough
                self._say(f"still waiting for {', '.join(self._missing())} …")
                continue
            match event:
                case Stop():
                    return 0
                case Ready(child, facts):
                    self._note_ready(child, facts)
                case Changed(paths):
                    self._restart(paths)
                case RedisEnded(status):
                    log = "" if self._redis is None else self._redis.last_log_lines()
                    self._say(f"Redis ended by itself with status {status}:\n{log}", err=True)
                    return 1
                case Exited(child, status):
                    self._running.discard(child)
                    self._ready.pop(child, None)
                    if child in self._restarting:
                        self._restarting.discard(child)
                        self._start(child)
                    elif not self._plan.reload or (
                        child is self._api and not self._project.configures_api
                    ):
                        self._say(f"{child.name} ended with status {status}: stopping.", err=True)
                        return status or 1
                    else:
                        self._say(self._restart_hint(child, status), err=True)

    def _note_ready(self, child: Child, facts: dict[str, Any]) -> None:
        self._ready[child] = facts
        if self._announced:
            summary = facts.get("url") or ", ".join(facts.get("graphs", ()))
            self._say(f"{child.name} is ready again: {summary}")
        elif not self._missing():
            self._announced = True
            self._console.block(banner(self._facts()))

    def _facts(self) -> Facts:
        worker = self._ready[self._workers[0]]
        plan = self._plan
        return Facts(
            version=plan.version,
            url=str(self._ready[self._api].get("url", "")),
            graphs=worker.get("graphs", []),
            auth=str(self._ready[self._api].get("auth", "")),
            redis=plan.redis,
            workers=plan.workers,
            jobs=worker.get("jobs", 0),
            reload=f"on, for {self._project.folder}" if plan.reload else "off",
        )

    def _missing(self) -> list[str]:
        return [child.name for child in (self._api, *self._workers) if child not in self._ready]

    def _restart(self, paths: AbstractSet[str]) -> None:
        """Restarts the workers, and the API if langgraph.json configures it."""
        had_api = self._project.configures_api
        if str(self._project.config) in paths:
            # The env file or the folders may have changed. The worker reports an invalid file.
            with contextlib.suppress(CliError):
                self._project = read_project(self._project.config)
                self._environ[API_URL] = self._plan.address + self._project.prefix
                self._start_watch()
        with_api = had_api or self._project.configures_api
        what = "the API and the worker" if with_api else "the worker"
        self._say(f"{describe_changes(self._project, paths)} changed: restarting {what}")
        for child in ((self._api,) if with_api else ()) + tuple(self._workers):
            if child in self._running:  # even if it has just died: its Exited will arrive
                self._restarting.add(child)
                child.terminate(RESTART_SECONDS)
            else:
                self._start(child)

    def _start(self, child: Child) -> None:
        self._running.add(child)
        child.start()

    def _restart_hint(self, child: Child, status: int) -> str:
        kind = child.name.rstrip("0123456789")
        return (
            f"{child.name} ended with status {status}; the reason is above. Correct the file and "
            f"save it: the {kind} starts again with the next change in {self._project.folder}"
        )

    def _start_watch(self) -> None:
        if self._watch is not None:
            self._watch.stop()
        self._watch = Watch(
            self._project,
            lambda paths: self._events.put(Changed(paths)),
            lambda reason: self._say(f"reload does not work here: {reason}", err=True),
        )
        self._watch.start()

    def _await_redis(self) -> None:
        if self._redis is not None:
            self._events.put(RedisEnded(self._redis.wait()))

    def _stop_children(self) -> None:
        children = (self._api, *self._workers)
        for child in children:
            child.terminate(STOP_SECONDS)
        deadline = time.monotonic() + STOP_SECONDS + 1
        for child in children:
            child.join(max(0.0, deadline - time.monotonic()))

    def _say(self, text: str, *, err: bool = False) -> None:
        self._console.line("dev", text, err=err)
