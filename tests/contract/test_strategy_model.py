"""Random sequences of steps on one thread: the scripts agree with a model in plain Python.

The suite tries some sequences; `make property` tries many (STRATEGY_EXAMPLES).
"""

import asyncio
import os
import sys
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract import simulated_runs
from contract.thread_index import assert_index_is_right
from harness.leaks import leaked
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, repair, runs, scripts
from millstream.shared.errors import ConflictError, FencedError
from millstream.shared.redis import Client, connect
from millstream.shared.rules.multitask import CancelAction, Strategy
from millstream.shared.scripts import Batch, Claim
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace

EXAMPLES = int(os.environ.get("STRATEGY_EXAMPLES", "30"))
LATER = 3_600_000  # ms
ADMIT = sys.modules["millstream.shared.scripts.runs.admit"]
pytestmark = pytest.mark.timeout(120 + EXAMPLES)

STEPS = st.one_of(
    st.tuples(st.just("submit"), st.sampled_from(Strategy), st.booleans(), st.booleans()),
    st.tuples(
        st.sampled_from(
            ["claim", "claim", "finish", "store", "hand_back", "hand_back", "lapse", "due", "reap"]
        )
    ),
    st.tuples(st.just("cancel"), st.integers(0, 9), st.sampled_from(CancelAction)),
)


@dataclass(eq=False)
class Run:
    """The model of a run."""

    run_id: str
    status: str = "pending"
    was_claimed: bool = False
    cancel: str = ""
    claims: list[Claim] = field(default_factory=list)

    @property
    def alive(self) -> bool:
        return self.status in ("pending", "running")


@dataclass
class Model:
    """The model of a thread, as the documents describe it."""

    limit: int  # displaced runs that an admission ends
    runs: list[Run] = field(default_factory=list)
    active: Run | None = None
    waiting: list[Run] = field(default_factory=list)
    later: list[Run] = field(default_factory=list)
    left: list[Run] = field(default_factory=list)  # for the caller of an admission, which died
    stored: list[str] = field(default_factory=list)  # a run id for each checkpoint

    def admit(self, run_id: str, strategy: Strategy, *, later: bool, dies: bool) -> bool:
        if strategy is Strategy.REJECT and (self.active or self.later):
            return False
        run = Run(run_id)
        if strategy in (Strategy.INTERRUPT, Strategy.ROLLBACK):
            self._displace(strategy.value, dies)
        self.runs.append(run)
        if later:
            self.later.append(run)
        elif self.active:
            self.waiting.append(run)
        else:
            self.active = run
        return True

    def _displace(self, action: str, dies: bool) -> None:
        active = self.active
        everybody = [*([active] if active else []), *self.waiting, *self.later]
        self.waiting, self.later, self.active = [], [], None
        ended = 0
        for run in everybody:
            run.cancel = run.cancel or action
            if run.status == "running" or (run.was_claimed and run.cancel == "rollback"):
                assert run is active
                self.active = run
            elif ended < self.limit or not dies:
                self.end(run, "interrupted")
                ended += 1
            else:
                self.left.append(run)

    def end(self, run: Run, status: str) -> None:
        rolled_back = status == "interrupted" and run.cancel == "rollback"
        run.status = "gone" if rolled_back else status
        if rolled_back:
            self.stored = [run_id for run_id in self.stored if run_id != run.run_id]
        for runs_of_a_kind in (self.waiting, self.later, self.left):
            if run in runs_of_a_kind:
                runs_of_a_kind.remove(run)
        if self.active is run:
            self.active = self.waiting.pop(0) if self.waiting else None


class ModelComparison:
    """Applies the same steps to the scripts and to the model, and compares the two after each."""

    def __init__(self, redis: Client, limit: int) -> None:
        self.redis = redis
        self.thread = str(uuid.uuid4())
        self.model = Model(limit)

    async def play(self, steps: list[tuple[Any, ...]]) -> None:
        for name, *rest in steps:
            await getattr(self, name)(*rest)
            await self.compare()
        await self.reap()
        while self.model.active or self.model.later:
            await self.claim() if self.model.active else await self.due()
            await self.finish()
            await self.compare()
        assert await simulated_runs.leftovers(self.redis, self.thread) == []
        if self.model.runs:
            await assert_index_is_right(self.redis)
        assert await leaked(self.redis) == []

    @property
    def held(self) -> Run | None:
        active = self.model.active
        return active if active and active.status == "running" else None

    async def submit(self, strategy: Strategy, later: bool, dies: bool) -> None:
        delay = LATER + len(self.model.runs) * 1000 if later else 0
        request = simulated_runs.submission(self.thread, strategy, delay_ms=delay)
        expected = self.model.admit(request.spec.run_id, strategy, later=later, dies=dies)
        try:
            if dies:  # the caller ends nothing
                await scripts.admit(
                    self.redis, request.spec, delay_ms=delay, new_thread=request.new_thread,
                    stream_ttl=simulated_runs.TTL,
                )  # fmt: skip
            else:
                await runs.submit(self.redis, request, stream_ttl=simulated_runs.TTL)
        except ConflictError:
            assert not expected
        else:
            assert expected

    async def claim(self) -> None:
        run = self.model.active
        if run is None or run.status != "pending":
            return
        claim = await simulated_runs.claim(self.redis, self.thread, run.run_id)
        assert claim is not None
        assert (claim.cancel or "") == run.cancel
        run.status, run.was_claimed = "running", True
        run.claims.append(claim)

    async def finish(self) -> None:
        run = self.held
        if run is None:
            return
        assert await simulated_runs.finish(self.redis, run.claims[-1]) is not None
        self.model.end(run, "interrupted" if run.cancel else "success")

    async def store(self) -> None:
        run = self.held
        if run is None:
            return
        claim, checkpoint = run.claims[-1], uuid.uuid4().hex
        refused = run.cancel == "rollback"
        try:
            await scripts.put_checkpoint(
                self.redis, CheckpointNamespace(self.thread, ""), claim, checkpoint_id=checkpoint, parent_id="",
                run_id=run.run_id, record=run.run_id.encode(), fields=[], values={},
            )  # fmt: skip
        except FencedError:
            assert refused
        else:
            assert not refused
            self.model.stored.append(run.run_id)

    async def hand_back(self) -> None:
        run = self.held
        if run is None:
            return
        assert await scripts.hand_back(self.redis, run.claims[-1])
        run.status = "pending"

    async def lapse(self) -> None:
        """The lease lapses; another worker continues the run, or ends it after a cancel."""
        run = self.held
        if run is None:
            return
        job = keys.job_id(self.thread, run.run_id)
        await self.redis.zadd(keys.queue(simulated_runs.QUEUE), {job: 1})
        run.status = "pending"
        claim = await simulated_runs.claim(self.redis, self.thread, run.run_id)
        assert claim is not None
        run.status = "running"
        run.claims.append(claim)

    async def due(self) -> None:
        """The first deferred run becomes due."""
        if not self.model.later:
            return
        run = self.model.later.pop(0)
        job = keys.job_id(self.thread, run.run_id)
        await self.redis.zadd(keys.queue(simulated_runs.QUEUE), {job: 1})
        claim = await simulated_runs.claim(self.redis, self.thread, run.run_id)
        if self.model.active:
            assert claim is None
            self.model.waiting.append(run)
        else:
            assert claim is not None
            run.status, run.was_claimed, self.model.active = "running", True, run
            run.claims.append(claim)

    async def cancel(self, number: int, action: CancelAction) -> None:
        alive = [run for run in self.model.runs if run.alive] or self.model.runs
        if not alive:
            return
        run = alive[number % len(alive)]
        await runs.cancel(
            self.redis, self.thread, run.run_id, action=action, stream_ttl=simulated_runs.TTL
        )
        if run.alive:
            run.cancel = run.cancel or action.value
        if run.status == "pending" and not (run.was_claimed and run.cancel == "rollback"):
            self.model.end(run, "interrupted")

    async def reap(self) -> None:
        await repair.repair_runs(self.redis, lease_ms=60_000, stream_ttl=simulated_runs.TTL)
        for run in list(self.model.left):
            self.model.end(run, "interrupted")

    async def compare(self) -> None:
        model, redis = self.model, self.redis
        statuses = [
            await simulated_runs.status(redis, self.thread, run.run_id) for run in model.runs
        ]
        assert statuses == [run.status for run in model.runs]
        assert await simulated_runs.waiting(redis, self.thread) == [r.run_id for r in model.waiting]
        run_refs = await redis.zrange(keys.deferred(self.thread), 0, -1)
        assert [_run_of(t) for t in run_refs] == [run.run_id for run in model.later]
        run_ref = await redis.hget(keys.thread(self.thread), "active")  # type: ignore[misc]
        assert (run_ref and _run_of(run_ref)) == (model.active and model.active.run_id)
        live = {_run_of(member) for member in await redis.smembers(keys.live())}  # type: ignore[misc]
        assert live == {run.run_id for run in model.runs if run.alive}
        queued = {_run_of(member) for member in await redis.zrange(keys.queue("default"), 0, -1)}
        due = [*model.later, *([model.active] if model.active else [])]
        assert queued == {run.run_id for run in due}
        await self._compare_events()
        records = await redis.hvals(keys.checkpoint_records(self.thread, ""))  # type: ignore[misc]
        assert sorted(r.decode() for r in records) == sorted(model.stored)

    async def _compare_events(self) -> None:
        event_ids: list[bytes] = []
        for run in self.model.runs:
            entries = await self.redis.xrange(keys.events(self.thread, run.run_id))
            ends = [fields for _, fields in entries if b"end" in fields]
            assert len(ends) == (not run.alive)
            event_ids += [name for name, _ in entries]
            stale = run.claims if not run.alive else run.claims[:-1]
            late = [Batch(claim, 99, ["custom", "1"]) for claim in stale]
            if late:
                assert set(await scripts.append(self.redis, late, max_events=9)) == {None}
        assert len(set(event_ids)) == len(event_ids)


def _run_of(run_ref: bytes) -> str:
    return keys.parse_job_id(run_ref.decode().partition(" ")[0])[1]


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@settings(
    max_examples=EXAMPLES,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)
@given(steps=st.lists(STEPS, min_size=12, max_size=25), limit=st.sampled_from([0, 1, 2, 100]))
def test_the_scripts_agree_with_the_model(
    redis_server: EmbeddedRedis,
    runner: asyncio.Runner,
    monkeypatch: pytest.MonkeyPatch,
    steps: list[tuple[Any, ...]],
    limit: int,
) -> None:
    async def play() -> None:
        redis = connect(redis_server.url.rpartition("/")[0] + "/1")
        await redis.flushdb()
        try:
            await ModelComparison(redis, limit).play(steps)
        finally:
            await redis.aclose()

    monkeypatch.setattr(ADMIT, "MAX_ENDED", limit)
    runner.run(play())
