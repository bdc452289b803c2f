"""Claims a due run: see claim.lua."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import msgspec

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, ThreadStatus, edges
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.structs import unpack_sealed_spec
from millstream.shared.wire import PROTOCOL, RunSpec

SCRIPT = Script("runs/claim")
Reply = Literal["claimed", "early", "behind", "unserved", "paused", "waits", "gone"]
# How the attempt before has ended. `handed_back`: it uses up no attempt.
ClaimReason = Literal["first", "lapsed", "handed_back", "crashed"]
REASONS: Final[dict[str, ClaimReason]] = {
    "lapsed": "lapsed",
    "lapsed_alone": "lapsed",
    "crashed": "crashed",
}


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on a run: what the holder needs to execute the run and to write under its fence."""

    spec: RunSpec
    job: str
    fence: int
    attempt: int
    cancel: str | None  # action of a cancel that was requested before this claim
    created_at: int  # µs
    is_first: bool = True  # no worker has held the run before
    index: int = 0  # of the run's newest event
    crashes: int = 0  # attempts that crashed a process in which no other run was executed
    exhausted: bool = False  # it has crashed too often: the holder must end it, not execute it
    crash: str = ""  # how the last attempt crashed its process
    waited_ms: int = field(default=0, compare=False)  # for which the run was due
    reason: ClaimReason = "first"

    @property
    def description(self) -> str:
        """The attempt as the log names it."""
        return f"Run {self.spec.run_id} on thread {self.spec.thread_id} (attempt {self.attempt})"

    @property
    def lapses(self) -> int:
        """The number of attempts that ended because the lease of a worker with several runs lapsed."""
        return self.attempt - 1 - self.crashes


async def claim(
    redis: Client,
    job: str,
    queue: str,
    *,
    worker: str,
    token: str,
    graphs: Sequence[str],
    lease_ms: int,
    max_attempts: int,
    events_ttl: int,
    lease_grace_ms: int = 0,
    slots: int = 0,
) -> Claim | None:
    """Claims the run if it is due and its thread is free; returns None otherwise.

    Args:
        job: arq's job id (keys.job_id).
        queue: name of the queue that holds the job.
        worker: id of this worker.
        token: identifies this claim; a repeat with the same token gets the same claim.
        graphs: ids of the graphs that this worker serves; it leaves other runs to other workers.
        lease_ms: milliseconds until the lease lapses without a renewal.
        max_attempts: number of crashes, the first lapsed lease counted, after which a run is exhausted.
        events_ttl: seconds for which the stream stays readable if every worker dies.
        lease_grace_ms: if above 0, a lapsed lease is extended for its holder by this time, once: Redis was
            unavailable, and no worker could renew.
        slots: number of runs that the worker may still claim. It claims no run whose rank in the queue is
            this or higher (parts/fair_queue.lua). 0: it claims a due run with any tag.
    """
    thread, run = keys.parse_job_id(job)
    pending, running = edges(Cause.CLAIMED)
    reply = await SCRIPT(
        redis,
        queue=keys.queue(queue),
        backlog=keys.backlog(queue),
        paused=keys.paused(queue),
        run=keys.run(thread, run),
        thread=keys.thread(thread),
        waiting=keys.waiting(thread),
        events=keys.events(thread, run),
        segments=keys.segments(thread),
        deferred=keys.deferred(thread),
        job=job,
        run_id=run,
        control=keys.control(worker),
        worker=worker,
        lease=lease_ms,
        max_attempts=max_attempts,
        events_ttl=events_ttl,
        busy=ThreadStatus.BUSY,
        run_ref=keys.run_ref(thread, run, queue),
        pending=pending,
        running=running,
        token=token,
        protocol=PROTOCOL,
        grace=lease_grace_ms,
        slots=slots,
        default_share=keys.share(queue),
        graphs=graphs,
        **thread_index_keys(),
    )
    status: Reply = reply[0].decode()
    if status != "claimed":
        return None
    return Claim(
        spec=_spec(key_ring_of(redis), reply[3], thread, run, queue),
        job=job,
        fence=int(reply[1]),
        attempt=int(reply[2]),
        cancel=reply[4].decode() or None,
        created_at=int(reply[5]),
        is_first=reply[6] == 1,
        index=reply[7],
        crashes=reply[8],
        exhausted=reply[9] == 1,
        crash=reply[10].decode(),
        waited_ms=reply[11],
        reason="first" if reply[6] == 1 else REASONS.get(reply[12].decode(), "handed_back"),
    )


def _spec(key_ring: KeyRing, packed: bytes | None, thread: str, run: str, queue: str) -> RunSpec:
    """Returns the spec. An unreadable one is replaced by a spec with which the run ends as an error."""
    try:
        return unpack_sealed_spec(key_ring, packed or b"")
    except msgspec.MsgspecError:
        return RunSpec(
            protocol=PROTOCOL,
            run_id=run,
            thread_id=thread,
            assistant_id="",
            graph_id="",
            queue=queue,
            strategy="enqueue",
            temporary=False,
            metadata=b"{}",
            kwargs=b"",  # not JSON: the worker fails to decode it
        )
