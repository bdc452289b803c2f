"""One thread without processes: the steps of an API and a worker, one by one."""

import asyncio
import json
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

import msgspec

from graphs import state_schemas
from harness.waiting import until
from millstream.shared import keys, runs, scripts, threads
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import FencedError, MillstreamError
from millstream.shared.redis import Client, connect
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.rules.multitask import CancelAction, Strategy
from millstream.shared.scripts import Claim
from millstream.shared.settings import Settings
from millstream.shared.wire import PROTOCOL, Call, RunKwargs, RunSpec
from millstream.worker.answers import VERBS, AnswerContext
from millstream.worker.attempt import Attempt, WorkerContext
from millstream.worker.checkpoints.checkpointing import FencedCheckpoints
from millstream.worker.graph_result import GraphResult
from millstream.worker.graph_run import GraphContext
from millstream.worker.graphs import GraphRegistry, GraphSource
from millstream.worker.isolation.processes import Processes
from millstream.worker.leases.availability import RedisAvailability
from millstream.worker.leases.heartbeat import Heartbeat
from millstream.worker.publish import Publisher
from millstream.worker.stop_reason import StopReason

QUEUE, TTL, MAX_ATTEMPTS = "default", 60, 3
NEVER = 2.0**40  # s
GRAPHS = (
    "typed", "classy", "modelled", "plain", "private", "noted_talk", "outer", "asking", "rooted", "work", "saved",
)  # fmt: skip
HIDDEN = {
    "notes",
    "draft",
    "secret",
    "hidden",
}  # keys that are not in the output schemas of these graphs


def graph_input(graph: str, do: str) -> Any:
    """Returns the input with which the graph does that."""
    match graph:
        case "noted_talk":
            return {"messages": [{"role": "user", "content": do}]}
        case "asking":
            return {"asks": ["a", "b"] if do == "ask" else ["!answer", f"!{do}", "c"]}
        case "rooted":
            return [do]
        case "saved":
            return do
    return {"do": do}


class Leases:
    """A heartbeat that does nothing: no other worker claims these runs."""

    def hold(self, claim: Claim, *_: Any, **__: Any) -> None:
        """Does nothing."""

    def release(self, claim: Claim) -> None:
        """Does nothing."""


class Dying(Attempt):
    """An attempt whose worker dies between its last checkpoint and the end of the run."""

    async def _finish(self, ending: GraphResult) -> None:
        raise FencedError("killed")


class SimulatedThread:
    """A thread and the steps on it. Each method returns when its step is complete."""

    def __init__(
        self, redis: Client, publisher: Publisher, graph: str, *others: GraphSource
    ) -> None:
        known = [GraphSource(g, getattr(state_schemas, g), None) for g in GRAPHS]
        registry = GraphRegistry([*known, *others])
        settings = Settings(max_attempts=MAX_ATTEMPTS)
        checkpointing = FencedCheckpoints(redis)
        self.redis = redis
        self.graph = graph
        self.thread = str(uuid.uuid4())
        self.graphs = GraphContext(redis, registry, checkpointing, publisher, settings.job_timeout)
        self.means = AnswerContext(redis, registry, checkpointing, settings, GraphDirectory(redis))
        leases = cast("Heartbeat", Leases())
        processes = cast("Processes", None)  # no run here is isolated
        self.context = WorkerContext(
            redis, self.graphs, processes, leases, RedisAvailability(LeasePolicy(30)), settings
        )
        self.failed = False  # whether the newest run failed
        self.log: list[str] = []

    async def admit(self, **kwargs: Any) -> str:
        """Admits a run; returns its id."""
        configurable = {"thread_id": self.thread, "checkpoint_ns": "", **kwargs.pop("position", {})}
        run_kwargs = RunKwargs(config={"configurable": configurable}, **kwargs)
        run = str(uuid.uuid4())
        spec = RunSpec(
            protocol=PROTOCOL,
            run_id=run,
            thread_id=self.thread,
            assistant_id="a",
            graph_id=self.graph,
            queue=QUEUE,
            strategy=Strategy.ENQUEUE,
            temporary=False,
            metadata=b"{}",
            kwargs=msgspec.json.encode(run_kwargs),
        )
        submission = runs.Submission(spec=spec, new_thread=threads.new_thread_fields({}))
        await runs.submit(self.redis, submission, stream_ttl=TTL)
        return run

    async def claim(self, run: str) -> Claim:
        """Claims the run as soon as its last lease has lapsed."""
        claimed: list[Claim] = []

        async def is_due() -> bool:
            claim = await scripts.claim(
                self.redis, keys.job_id(self.thread, run), QUEUE, worker="w", token=uuid.uuid4().hex,
                graphs=self.graphs.registry.graph_ids, lease_ms=1, max_attempts=MAX_ATTEMPTS, events_ttl=TTL,
            )  # fmt: skip
            claimed.extend([claim] if claim is not None else [])
            return claim is not None

        await until(is_due)
        return claimed[0]

    async def executed(
        self, run: str, kind: type[Attempt] = Attempt, *, waits: bool = False
    ) -> None:
        """Claims and executes the run as a worker. Its nodes wait only if `waits` is set."""
        attempt = kind(await self.claim(run), self.context, since=time.monotonic())
        if waits:
            await attempt.execute()
            return
        state_schemas.PASSING.append(run)
        try:
            await attempt.execute()
        finally:
            state_schemas.PASSING.remove(run)

    async def stopped(self, run: str, why: StopReason | CancelAction) -> Claim:
        """Has a worker execute the run, and stops or cancels it once its node waits; returns the worker's claim."""
        before = len(state_schemas.WAITING)
        claim = await self.claim(run)
        attempt = Attempt(claim, self.context, since=time.monotonic())
        executing = asyncio.create_task(attempt.execute())
        await until(lambda: len(state_schemas.WAITING) > before or executing.done())
        if isinstance(why, CancelAction):
            await runs.cancel(self.redis, self.thread, run, action=why, stream_ttl=TTL)
            why = StopReason.CANCELLED
        attempt.stop(why)
        await executing
        return claim

    async def crashed(self, run: str) -> None:
        """Simulates a run that ends the process in which it runs alone."""
        claim = await self.stopped(run, StopReason.LOST)
        assert await scripts.hand_back(self.redis, claim, crash="ended itself with exit status 7")

    async def ask(self, verb: str, **arguments: Any) -> Any:
        """Returns a worker's reply to a call for the thread."""
        call_arguments = {"thread_id": self.thread, "assistant_id": "a", **arguments}
        call = Call(
            call_id="c", verb=verb, graph_id=self.graph, arguments=call_arguments, deadline=NEVER
        )
        return json.loads(await VERBS[verb](self.means, call))

    async def state(self) -> Any:
        """Returns the thread's state."""
        return await self.ask("state", checkpoint={"checkpoint_ns": ""}, subgraphs=False, select=[])

    async def history(self) -> list[Any]:
        """Returns the thread's states, the newest first."""
        interrupts: list[Any] = await self.ask(
            "history",
            checkpoint={"checkpoint_ns": ""},
            limit=50,
            before=None,
            metadata={},
            select=[],
        )
        return interrupts

    async def update(self, values: Any, as_node: str | None = None) -> bool:
        """Updates the state. Returns whether the graph accepted it."""
        try:
            await self.ask(
                "update", checkpoint={"checkpoint_ns": ""}, values=values, as_node=as_node
            )
        except MillstreamError:
            return False
        return True

    async def output(self, run: str) -> Any:
        """Returns the response of wait and join."""
        entries = await self.redis.xrevrange(keys.events(self.thread, run), count=1)
        end = entries[0][1].get(b"output") if entries else None
        return json.loads(await runs.final_output(self.redis, self.thread, run, end))


@asynccontextmanager
async def simulated_thread_of(
    url: str, graph: str, *others: GraphSource
) -> AsyncIterator[SimulatedThread]:
    """Yields a thread of that graph on an empty database; `others` are further graphs."""
    redis = connect(url)
    await redis.flushdb()
    publisher = Publisher(redis, max_events=1000, max_event=100_000)
    publisher.start()
    try:
        yield SimulatedThread(redis, publisher, graph, *others)
    finally:
        assert publisher.task is not None
        publisher.task.cancel()
        await asyncio.gather(publisher.task, return_exceptions=True)
        await redis.aclose()
