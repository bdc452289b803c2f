"""Why a run does not move: every reason, its sentence, and what to do next. docs/operations.md has the same table."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import Final


class Reason(StrEnum):
    """The reasons, as clients and scripts read them. Each situation of a run has one (explain.py)."""

    DEFERRED = "deferred"
    WAITS_FOR_RUN = "waits_for_run"
    QUEUED = "queued"
    QUEUE_PAUSED = "queue_paused"
    NO_WORKER = "no_worker"
    UNSERVED = "unserved"
    SERVED_AGAIN = "served_again"
    CLAIMED = "claimed"
    EXECUTED_ALONE = "executed_alone"
    LEASE_EXTENDED = "lease_extended"
    LEASE_LAPSED = "lease_lapsed"
    CANCEL_REQUESTED = "cancel_requested"
    THREAD_DELETED = "thread_deleted"
    INCONSISTENT = "inconsistent"
    WAITS_FOR_PERSON = "waits_for_person"
    WEBHOOK_RETRYING = "webhook_retrying"
    GIVEN_UP = "given_up"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class Text:
    """A reason for people. Words in braces are fields of the explanation."""

    message: str
    next_step: str


R = Reason
TEXTS: Final = MappingProxyType(
    {
        R.DEFERRED: Text(
            "It is due at {due_at}, in {seconds} s.",
            "Nothing: a worker claims it then. A cancel withdraws it.",
        ),
        R.WAITS_FOR_RUN: Text(
            "It is number {position} of the runs that wait for run {active_run_id} on the same thread.",
            "Explain run {active_run_id}, or cancel it. Runs with the strategy `interrupt` or `rollback` do not wait.",
        ),
        R.QUEUED: Text(
            "It is number {position} of {due} due runs in queue {queue}. {busy_slots} of {slots} slots of "
            "{workers} workers are busy.",
            "With a free slot it is claimed within a second. Without one, start more workers, or raise "
            "N_JOBS_PER_WORKER.",
        ),
        R.QUEUE_PAUSED: Text(
            "Queue {queue} is paused since {since}, by {by}: {pause_reason}.",
            "Resume the queue: millstream queues resume {queue}",
        ),
        R.NO_WORKER: Text(
            "No live worker claims runs of queue {queue}: {draining_workers} drain, {lost_workers} are lost.",
            "Start a worker: millstream worker --queue {queue}. If one should be running, read its log.",
        ),
        R.UNSERVED: Text(
            "Of the live workers of queue {queue} ({workers}) none can execute it: {problem}.",
            "Deploy workers that serve graph {graph_id}, or cancel the run.",
        ),
        R.SERVED_AGAIN: Text(
            "No worker could execute it so far. One that serves graph {graph_id} is live now; the run is tried again "
            "in {seconds} s.",
            "Nothing: the pause between tries grows with the time for which no worker could execute the run.",
        ),
        R.CLAIMED: Text(
            "Worker {worker_id} ({worker_state}, host {host}) executes attempt {attempt} since {since}. Its lease "
            "ends in {seconds} s, if it is not renewed.",
            "If the worker is live, its graph is working: follow the run's events, and read the worker's log. If it "
            "drains, it hands the run back after its grace period. If it is lost, another worker continues the run "
            "when the lease has ended.",
        ),
        R.EXECUTED_ALONE: Text(
            "Worker {worker_id} ({worker_state}, host {host}) executes attempt {attempt} in a process of its own, "
            "while it executes no other run: workers died with the run before. Its lease ends in {seconds} s, if it "
            "is not renewed.",
            "Read the logs of the workers that the attempts name: look for os._exit(), for a crash or an endless loop "
            "in native code, and for memory that runs out. Until the worker's other runs have ended, the run waits "
            "for at most 30 s.",
        ),
        R.LEASE_EXTENDED: Text(
            "Redis was unavailable, so the lapsed lease of worker {worker_id} ({worker_state}) was extended. It ends "
            "in {seconds} s, if it is not renewed.",
            "Nothing: the worker renews the lease, or another one takes the run over.",
        ),
        R.LEASE_LAPSED: Text(
            "The lease of worker {worker_id} ({worker_state}) ended {seconds} s ago, in attempt {attempt}. "
            "{busy_slots} of {slots} slots of {workers} workers in queue {queue} are busy.",
            "With a free slot another worker takes the run over within a second. Without one, start more workers. Read "
            "why worker {worker_id} ended, in its log.",
        ),
        R.CANCEL_REQUESTED: Text(
            "A cancel with the action {action} was requested at {requested_at} ({cancel_reason}). {holder}",
            "Nothing: the run ends within a lease and 10 s, even if its worker has died, once a live worker claims "
            "runs of queue {queue}.",
        ),
        R.THREAD_DELETED: Text(
            "Its thread is being deleted, so the run is cancelled.",
            "Nothing: the reaper of a worker ends what an interrupted deletion left.",
        ),
        R.INCONSISTENT: Text(
            "Its records contradict each other: {problem}.",
            "Nothing: the reaper of a worker repairs this within a few leases. It happens when Redis loses data: look "
            "for a crash of Redis without `appendonly`, for evicted keys and for deleted keys.",
        ),
        R.WAITS_FOR_PERSON: Text(
            "It has paused at an interrupt since {ended_at}, and its thread waits for an answer.",
            "Create a run on thread {thread_id} with `command.resume`.",
        ),
        R.WEBHOOK_RETRYING: Text(
            "It ended as {status} at {ended_at}. Its webhook failed {tries} times and is called again in {seconds} s.",
            "Read the log of the webhook's receiver. Workers retry for a day (WEBHOOK_GIVE_UP_SECS).",
        ),
        R.GIVEN_UP: Text(
            "It was given up at {ended_at}, after {attempts} attempts that ended the process which executed them.",
            "Read the logs of the workers that the attempts name: look for os._exit(), for a crash or an endless loop "
            "in native code, and for memory that runs out.",
        ),
        R.ENDED: Text(
            "It ended as {status} at {ended_at}: {cause}.",
            "Nothing. The run's error, if it has one, is in the response of `join`.",
        ),
    }
)
