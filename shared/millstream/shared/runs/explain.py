"""Explains why a run does not move, from its situation. Pure: the same situation always has the same reason."""

from dataclasses import dataclass
from typing import Any

from millstream.shared.rules.lifecycle import TERMINAL, Cause, RunStatus
from millstream.shared.runs.journal import AttemptEntry
from millstream.shared.runs.json_view import iso_time
from millstream.shared.runs.reasons import TEXTS, Reason
from millstream.shared.runs.situation import Situation
from millstream.shared.workers import Worker, WorkerState

Field = str | int | float


@dataclass(frozen=True, slots=True)
class Explanation:
    """One reason, with the figures that its sentence names."""

    reason: Reason
    fields: dict[str, Field]

    @property
    def message(self) -> str:
        """The reason as a sentence."""
        return TEXTS[self.reason].message.format_map(self.fields)

    @property
    def next_step(self) -> str:
        """What to do about it."""
        return TEXTS[self.reason].next_step.format_map(self.fields)


def explain(run: Situation) -> Explanation:
    """Returns the reason for which the run does not move, or for which it has stopped."""
    if run.status in TERMINAL:
        return _ended(run)
    if run.thread_status is None:
        return _inconsistent("its thread is lost")
    if run.retired:
        return Explanation(Reason.THREAD_DELETED, {})
    if run.cancel is not None:
        return _cancelled(run)
    return _running(run) if run.status is RunStatus.RUNNING else _pending(run)


def _ended(run: Situation) -> Explanation:
    fields: dict[str, Field] = {
        "status": run.status.value,
        "ended_at": iso_ms(run.journal.ended_at or run.updated_at),
    }
    if run.is_pause:
        return Explanation(Reason.WAITS_FOR_PERSON, {**fields, "thread_id": run.thread_id})
    if run.delivery_due is not None and run.delivery_tries:
        retry = {"tries": run.delivery_tries, "seconds": _until(run, run.delivery_due)}
        return Explanation(Reason.WEBHOOK_RETRYING, {**fields, **retry})
    if run.journal.cause == Cause.EXHAUSTED:
        # The claim that gave it up executed nothing.
        return Explanation(Reason.GIVEN_UP, {**fields, "attempts": run.attempt - 1})
    return Explanation(Reason.ENDED, {**fields, "cause": run.journal.cause or run.status.value})


def _cancelled(run: Situation) -> Explanation:
    holder = run.journal.holder
    if run.status is RunStatus.RUNNING and holder is not None and _has_lease(run):
        text = f"Worker {holder.worker_id} ({_state(run, holder)}) stops it."
    elif _live(run):
        text = f"The next worker of queue {run.queue} that claims it ends it."
    else:
        text = f"No live worker of queue {run.queue} can end it."
    fields: dict[str, Field] = {
        "action": run.cancel or "",
        "cancel_reason": run.cancel_reason or "unknown",
        "requested_at": "an unknown time" if run.cancel_at is None else iso_ms(run.cancel_at),
        "holder": text,
        "queue": run.queue,
    }
    return Explanation(Reason.CANCEL_REQUESTED, fields)


def _running(run: Situation) -> Explanation:
    if run.due is None:
        return _inconsistent("it has no lease")
    if not _has_lease(run):
        return _without_worker(run) or _lapsed(run, run.due)
    holder = run.journal.holder
    worker = _worker(run, holder)
    fields: dict[str, Field] = {
        "worker_id": holder.worker_id if holder else "unknown",
        "worker_state": _state(run, holder),
        "host": worker.record.host if worker else "unknown",
        "attempt": run.attempt,
        "since": iso_ms(holder.claimed_at if holder else run.updated_at),
        "seconds": _until(run, run.due),
    }
    if run.alone or (worker is not None and _isolation(worker, run) == "alone"):
        return Explanation(Reason.EXECUTED_ALONE, fields)
    return Explanation(Reason.LEASE_EXTENDED if run.lease_extended else Reason.CLAIMED, fields)


def _lapsed(run: Situation, due: float) -> Explanation:
    if _was_unserved(run):
        return _served_again(run, due)
    holder = run.journal.holder
    fields: dict[str, Field] = {
        "worker_id": holder.worker_id if holder else "unknown",
        "worker_state": _state(run, holder),
        "attempt": run.attempt,
        "seconds": round((run.now - due) / 1000, 1),
        "queue": run.queue,
    }
    return Explanation(Reason.LEASE_LAPSED, fields | _slots(run))


def _pending(run: Situation) -> Explanation:
    other = run.active_run_id if run.active_run_id != run.run_id else None
    if run.fifo_index is not None:
        return _waits(run, other, run.fifo_index) if other else _inconsistent("it waits for no run")
    if run.due is None:
        return _inconsistent("it is in no queue")
    if run.due > run.now and not _was_unserved(run):
        seconds = _until(run, run.due)
        return Explanation(Reason.DEFERRED, {"due_at": iso_ms(int(run.due)), "seconds": seconds})
    if other:  # it was deferred; its next claim adds it to the thread's FIFO
        return _waits(run, other, run.waiting)
    if blocked := _without_worker(run):
        return blocked
    if _was_unserved(run):
        return _served_again(run, run.due)
    fields: dict[str, Field] = {
        "position": run.ahead + 1,
        "due": max(run.total_due, run.ahead + 1),
        "queue": run.queue,
    }
    return Explanation(Reason.QUEUED, fields | _slots(run))


def _waits(run: Situation, active_run_id: str, index: int) -> Explanation:
    fields: dict[str, Field] = {"position": index + 1, "active_run_id": active_run_id}
    return Explanation(Reason.WAITS_FOR_RUN, fields)


def _without_worker(run: Situation) -> Explanation | None:
    """Returns the reason if no worker of the queue can claim the run now."""
    if run.pause is not None:
        paused: dict[str, Field] = {
            "queue": run.queue,
            "since": iso_time(run.pause.at),
            "by": run.pause.by or "an unknown user",
            "pause_reason": run.pause.reason or "no reason was given",
        }
        return Explanation(Reason.QUEUE_PAUSED, paused)
    live = _live(run)
    if not live:
        states = [worker.state for worker in run.workers]
        fields: dict[str, Field] = {
            "queue": run.queue,
            "draining_workers": states.count(WorkerState.DRAINING),
            "lost_workers": states.count(WorkerState.LOST),
        }
        return Explanation(Reason.NO_WORKER, fields)
    if not run.graph_id or any(worker.serves(run.graph_id, run.protocol) for worker in live):
        return None
    problem = f"none serves graph {run.graph_id}"
    if any(run.graph_id in worker.record.graphs for worker in live):
        problem = f"those that serve graph {run.graph_id} are too old for protocol {run.protocol}"
    fields = {"workers": len(live), "queue": run.queue, "graph_id": run.graph_id}
    return Explanation(Reason.UNSERVED, {**fields, "problem": problem})


def _served_again(run: Situation, due: float) -> Explanation:
    fields: dict[str, Field] = {"graph_id": run.graph_id, "seconds": _until(run, due)}
    return Explanation(Reason.SERVED_AGAIN, fields)


def _inconsistent(problem: str) -> Explanation:
    return Explanation(Reason.INCONSISTENT, {"problem": problem})


def _live(run: Situation) -> list[Worker]:
    return [worker for worker in run.workers if worker.state is WorkerState.LIVE]


def _slots(run: Situation) -> dict[str, Field]:
    live = _live(run)
    return {
        "workers": len(live),
        "slots": sum(worker.record.slots for worker in live),
        "busy_slots": sum(len(worker.record.runs) for worker in live),
    }


def _was_unserved(run: Situation) -> bool:
    """Returns whether a worker could not execute it since it became due (claim.lua)."""
    return run.listed is not None and run.listed < 0


def _has_lease(run: Situation) -> bool:
    """Returns whether the score of a running run is the end of a lease that has not lapsed."""
    return run.due is not None and run.due > run.now and not _was_unserved(run)


def _worker(run: Situation, holder: AttemptEntry | None) -> Worker | None:
    by_id = {worker.record.worker_id: worker for worker in run.workers}
    return by_id.get(holder.worker_id) if holder else None


def _state(run: Situation, holder: AttemptEntry | None) -> str:
    """Returns the state of the run's worker: `gone` if it left, or was lost long ago."""
    worker = _worker(run, holder)
    return worker.state.value if worker else "gone"


def _isolation(worker: Worker, run: Situation) -> str | None:
    return next((slot.isolation for slot in worker.record.runs if slot.run_id == run.run_id), None)


def _until(run: Situation, due: float) -> float:
    return max(0.0, round((due - run.now) / 1000, 1))


def iso_ms(millis: int) -> str:
    """Returns a time (ms since the epoch) as ISO 8601 in UTC."""
    return iso_time(millis * 1000)


def explanation_to_json(run: Situation) -> dict[str, Any]:
    """Returns the explanation of a run with its attempts, as the API and the command print it."""
    explanation = explain(run)
    return {
        "run_id": run.run_id,
        "thread_id": run.thread_id,
        "status": run.status.value,
        "reason": explanation.reason.value,
        "message": explanation.message,
        "next_step": explanation.next_step,
        "fields": explanation.fields,
        "attempts": [_attempt_to_json(entry) for entry in run.journal.attempts],
        "notes": [{"at": iso_ms(note.at), "what": note.what} for note in run.journal.notes],
        "complete": run.journal.is_complete,
        "at": iso_ms(run.now),
    }


def _attempt_to_json(entry: AttemptEntry) -> dict[str, Any]:
    return {
        "attempt": entry.number,
        "worker_id": entry.worker_id,
        "fence": entry.fence,
        "claimed_at": iso_ms(entry.claimed_at),
        "waited_seconds": entry.waited / 1000,
        "ended_at": None if entry.ended_at is None else iso_ms(entry.ended_at),
        "outcome": entry.outcome,
        "detail": entry.detail,
    }
