"""Whatever the situation of a run is, it has one reason, whose sentences are complete."""

from string import Formatter
from typing import Final

from hypothesis import given
from hypothesis import strategies as st

from millstream.shared.rules.lifecycle import TERMINAL, RunStatus
from millstream.shared.runs.explain import explain
from millstream.shared.runs.journal import AttemptEntry, Journal
from millstream.shared.runs.reasons import TEXTS, Reason
from millstream.shared.runs.situation import Situation
from millstream.shared.scripts.queues.pause_queue import Pause
from millstream.shared.wire import SlotRecord, WorkerRecord
from millstream.shared.workers import Worker, WorkerState

NOW: Final = 1_764_000_000_000
TIMES = st.integers(NOW - 10_000, NOW + 10_000)
SCORES = st.none() | TIMES.map(float)
GRAPHS = st.sampled_from(["", "g", "{other}"])
SLOTS = st.builds(
    SlotRecord,
    thread_id=st.just("t"),
    run_id=st.sampled_from(["r", "x"]),
    graph_id=GRAPHS,
    attempt=st.integers(1, 5),
    since=TIMES,
    isolation=st.sampled_from(["shared", "process", "alone"]),
)
RECORDS = st.builds(
    WorkerRecord,
    worker_id=st.sampled_from(["w1", "w2"]),
    version=st.sampled_from(["", "1"]),
    protocol=st.integers(0, 2),
    graphs=st.lists(GRAPHS, max_size=2),
    slots=st.integers(0, 10),
    runs=st.lists(SLOTS, max_size=2),
)
ATTEMPTS = st.builds(
    AttemptEntry,
    number=st.integers(1, 5),
    worker_id=st.sampled_from(["w1", "w2", "w3"]),
    fence=st.just(1),
    claimed_at=TIMES,
    waited=st.integers(0, 100),
    ended_at=st.none() | TIMES,
    outcome=st.sampled_from([None, "lapsed", "succeeded"]),
)
JOURNALS = st.builds(
    Journal,
    attempts=st.lists(ATTEMPTS, max_size=3),
    cause=st.sampled_from([None, "succeeded", "exhausted"]),
    ended_at=st.none() | TIMES,
)
SITUATIONS = st.builds(
    Situation,
    thread_id=st.just("t"),
    run_id=st.just("r"),
    now=st.just(NOW),
    status=st.sampled_from(RunStatus),
    graph_id=GRAPHS,
    queue=st.sampled_from(["", "default"]),
    protocol=st.integers(0, 2),
    attempt=st.integers(0, 5),
    updated_at=TIMES,
    cancel=st.sampled_from([None, None, None, "interrupt"]),
    cancel_at=st.none() | TIMES,
    lease_extended=st.booleans(),
    alone=st.booleans(),
    journal=JOURNALS,
    thread_status=st.sampled_from([None, "idle", "busy", "interrupted"]),
    active_run_id=st.sampled_from([None, "r", "x"]),
    retired=st.sampled_from([False, False, False, True]),
    wrote_state=st.booleans(),
    fifo_index=st.sampled_from([None, None, 0, 3]),
    waiting=st.integers(0, 5),
    due=SCORES,
    listed=SCORES | TIMES.map(lambda time: -float(time)),
    ahead=st.integers(0, 5),
    total_due=st.integers(0, 5),
    pause=st.none() | st.just(Pause(NOW * 1000, "", "")),
    delivery_due=SCORES,
    delivery_tries=st.integers(0, 3),
    workers=st.lists(st.builds(Worker, RECORDS, st.sampled_from(WorkerState)), max_size=3),
)
AFTER_THE_END = {
    Reason.WAITS_FOR_PERSON, Reason.WEBHOOK_RETRYING, Reason.GIVEN_UP, Reason.ENDED,
}  # fmt: skip
HELD = {Reason.CLAIMED, Reason.EXECUTED_ALONE, Reason.LEASE_EXTENDED}


@given(SITUATIONS)
def test_each_situation_has_one_reason_with_its_figures(run: Situation) -> None:
    explanation = explain(run)
    assert explain(run) == explanation
    assert explanation.message.endswith(".")
    assert explanation.next_step
    text = TEXTS[explanation.reason]
    used = {
        name
        for _, name, _, _ in Formatter().parse(text.message + text.next_step)
        if name is not None
    }
    assert used <= explanation.fields.keys()
    assert all(value is not None for value in explanation.fields.values())


@given(SITUATIONS)
def test_a_reason_agrees_with_the_records(run: Situation) -> None:
    reason = explain(run).reason
    live = any(worker.state is WorkerState.LIVE for worker in run.workers)
    assert (reason in AFTER_THE_END) == (run.status in TERMINAL)
    if reason in HELD:
        assert run.status is RunStatus.RUNNING
        assert run.due is not None
        assert run.due > run.now
    if reason in (Reason.LEASE_LAPSED, Reason.QUEUED, Reason.DEFERRED):
        assert run.due is not None
    if reason in (Reason.LEASE_LAPSED, Reason.QUEUED, Reason.SERVED_AGAIN, Reason.UNSERVED):
        assert live
    if reason is Reason.NO_WORKER:
        assert not live
    assert reason is not Reason.QUEUE_PAUSED or run.pause is not None
    if reason is Reason.WAITS_FOR_RUN:
        assert run.active_run_id == "x"
    if reason is Reason.CANCEL_REQUESTED:
        assert run.cancel is not None


def test_each_reason_has_its_texts() -> None:
    assert set(TEXTS) == set(Reason)
