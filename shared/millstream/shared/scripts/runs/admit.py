"""Admits a run: see admit.lua."""

from typing import Any, Final, Literal

import msgspec

from millstream.shared import keys
from millstream.shared.errors import (
    ConflictError,
    NotFoundError,
    OverloadedError,
    RightsChangedError,
)
from millstream.shared.metadata_index import INDEX_FIELDS, run_terms
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import NO_LIMITS, AdmissionLimits, identity_digest
from millstream.shared.rules.lifecycle import Cause, RunStatus, ThreadStatus, follow
from millstream.shared.rules.multitask import WHEN_BUSY, Strategy
from millstream.shared.scripts.runs.ending_keys import ending_keys
from millstream.shared.scripts.runs.finish import DELIVERY_TTL
from millstream.shared.scripts.script import Script, pairs
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.locations import of_run, of_thread
from millstream.shared.sealing.structs import pack_spec
from millstream.shared.wire import RunSpec

SCRIPT = Script("runs/admit")
Reply = Literal["admitted", "missing", "rejudge", "busy", "changed", "full", "identity_full"]
MAX_QUEUES: Final = 1000  # that admissions list; workers list theirs in any case
MAX_ENDED: Final = (
    100  # displaced runs that one script ends, so that it does not delay other commands
)


def arguments(
    key_ring: KeyRing,
    spec: RunSpec,
    delay_ms: int,
    new_thread: dict[str, Any] | None,
    limits: AdmissionLimits,
    stream_ttl: int,
    answers: bytes | None = None,
    guard: str = "",
) -> dict[str, Any]:
    """Returns the arguments of parts/admission.lua; see `admit` for the parameters."""
    thread, run = spec.thread_id, spec.run_id
    identity = identity_digest(spec.identity)
    when_busy = WHEN_BUSY[Strategy(spec.strategy)]
    created = new_thread or {}
    if spec.temporary:  # searches do not list a thread that is deleted with its run
        created = {name: value for name, value in created.items() if name not in INDEX_FIELDS}
    return {
        "run": keys.run(thread, run),
        "queue": keys.queue(spec.queue),
        "wake": keys.wake(spec.queue),
        "backlog": keys.backlog(spec.queue),
        "queues": keys.queues(),
        "job": keys.job_id(thread, run),
        "run_id": run,
        "spec": pack_spec(key_ring, spec),
        "pending": RunStatus.PENDING,
        "new_run": when_busy.new,
        "cancel_others": when_busy.cancel or "",
        "delay": delay_ms,
        "missing": "refuse" if new_thread is None else "create",
        "graph_id": spec.graph_id,
        "assistant_id": spec.assistant_id,
        "run_ref": keys.run_ref(thread, run, spec.queue),
        "protocol": spec.protocol,
        "max_live": limits.max_live,
        "max_of_identity": limits.max_live_of_identity,
        "identity": identity,
        "share": keys.share(spec.queue, identity, limits.cost(spec.identity)),
        "queue_name": spec.queue,
        "max_queues": MAX_QUEUES,
        "run_terms": run_terms(spec.graph_id, spec.assistant_id),
        "webhook": key_ring.seal(of_run(thread, run, "webhook"), _webhook(spec)),
        "answers": answers or "",
        "guard": guard,
        "temporary": "1" if spec.temporary else "",
        "cancelled": follow(RunStatus.PENDING, Cause.CANCELLED) or "",
        "running": RunStatus.RUNNING,
        "busy": ThreadStatus.BUSY,
        "events_ttl": stream_ttl,
        "delivery_ttl": DELIVERY_TTL,
        "max_ended": MAX_ENDED,
        "new_thread": pairs(created),
        **ending_keys(thread),
        **thread_index_keys(),
    }


class _WebhookOnly(msgspec.Struct):
    """The only field of RunKwargs that an admission reads."""

    webhook: str | None = None


def _webhook(spec: RunSpec) -> bytes:
    if b'"webhook":"' not in spec.kwargs:  # saves decoding the input
        return b""
    return (msgspec.json.decode(spec.kwargs, type=_WebhookOnly).webhook or "").encode()


async def _stored_interrupts(redis: Client, thread_id: str, answers: bytes) -> bytes:
    """Returns the interrupts as the thread's record has them, which the script compares; `answers` if they differ."""
    stored = await redis.hget(keys.thread(thread_id), "interrupts")  # type: ignore[misc]
    is_same = key_ring_of(redis).open(of_thread(thread_id, "interrupts"), stored or b"") == answers
    return stored if is_same else answers


async def admit(
    redis: Client,
    spec: RunSpec,
    *,
    delay_ms: int,
    new_thread: dict[str, Any] | None,
    stream_ttl: int,
    limits: AdmissionLimits = NO_LIMITS,
    answers: bytes | None = None,
    guard: str = "",
) -> tuple[int, list[bytes]]:
    """Writes the run's record and its places in its thread and in the queue, in one step or not at all.

    Args:
        spec: the run. The caller chooses its id, so that a repeat changes nothing.
        delay_ms: milliseconds from now until it is due.
        new_thread: fields of the thread to create if it is missing; None raises NotFoundError instead.
        stream_ttl: seconds for which the events of displaced runs stay readable.
        limits: maximum numbers of runs that have not ended, and the weights of identities.
        answers: JSON of the thread's interrupts, as the caller read them, if the run answers them.
        guard: of the metadata by which the caller's rights were judged (parts/guard.lua).

    Returns the time of admission in µs, and references to the displaced runs that the caller must end
    (`end_displaced`): those beyond `MAX_ENDED`. The other displaced runs have ended, or the worker that
    holds them ends them.

    Raises:
        NotFoundError: the thread does not exist, and `new_thread` is None.
        ConflictError: the strategy is reject and the thread has a run that has not ended; or the thread's
            interrupts are not `answers` any more.
        RightsChangedError: the thread's metadata is not the judged one any more.
        OverloadedError: as many runs as `limits` allows have not ended.
    """
    key_ring = key_ring_of(redis)
    if answers and key_ring.is_sealing:
        answers = await _stored_interrupts(redis, spec.thread_id, answers)
    reply = await SCRIPT(
        redis,
        **arguments(key_ring, spec, delay_ms, new_thread, limits, stream_ttl, answers, guard),
    )
    status: Reply = reply[0].decode()
    if status == "missing":
        raise NotFoundError("Thread or assistant not found.")
    if status == "rejudge":
        raise RightsChangedError
    if status == "busy":
        raise ConflictError(
            "Thread is already running a task. Wait for it to finish or choose a different "
            "multitask strategy."
        )
    if status == "changed":
        raise ConflictError("The thread does not wait for these answers any more.")
    if status == "full":
        raise OverloadedError(
            f"{limits.max_live} runs are waiting or running already, and that is the most "
            "(QUEUE_MAX_DEPTH). Try again later.",
            retry_after=5,
        )
    if status == "identity_full":
        raise OverloadedError(
            f"{limits.max_live_of_identity} of your runs are waiting or running already, and that is the most "
            "(MAX_RUNS_PER_USER). Try again later.",
            retry_after=5,
        )
    return int(reply[1]), reply[2]
