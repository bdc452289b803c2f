"""Claim a due run: see claim.lua."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import Cause, ThreadStatus, edges
from millstream.shared.scripts.script import Script
from millstream.shared.scripts.threads.thread_index import thread_index_keys
from millstream.shared.wire import PROTOCOL, RunSpec, unpack_spec

SCRIPT = Script("runs/claim")
Reply = Literal["claimed", "early", "unserved", "waits", "gone"]


@dataclass(frozen=True, slots=True)
class Claim:
    """A lease on one run: what its holder needs to execute it and to write under its fence."""

    spec: RunSpec
    job: str
    fence: int
    attempt: int
    cancel: str | None  # a cancel that was asked for before this claim
    created_at: int  # µs
    is_first: bool = True  # nobody has held the run before
    index: int = 0  # of the run's newest event
    crashes: int = 0  # attempts that ended a process in which no other run was executed
    exhausted: bool = False  # it has crashed too often: it is to be ended, not executed
    crash: str = ""  # how its process ended the last time

    @property
    def description(self) -> str:
        """The attempt as the log names it."""
        return f"Run {self.spec.run_id} on thread {self.spec.thread_id} (attempt {self.attempt})"

    @property
    def lapses(self) -> int:
        """How many of its attempts ended because a lease lapsed that a worker with other runs held."""
        return self.attempt - 1 - self.crashes


async def claim(
    redis: Client,
    job: str,
    queue: str,
    *,
    control: str,
    token: str,
    graphs: Sequence[str],
    lease_ms: int,
    max_attempts: int,
    events_ttl: int,
    spare_ms: int = 0,
) -> Claim | None:
    """Takes the run if it is due and its thread is free; returns None if there is nothing to do.

    Args:
        job: arq's job id (keys.job_id).
        control: the channel on which this worker hears of cancels.
        token: names this claim among all; a repeat with it has the same answer.
        graphs: those that this worker serves; a run of another is left to other workers.
        lease_ms: how long the run is ours without a renewal.
        max_attempts: a run that has crashed so often, the first lapsed lease counted, is exhausted.
        events_ttl: seconds that the stream outlives a fleet of dead workers.
        spare_ms: if above 0, a lease that has lapsed is left to its holder for so much longer, once:
            Redis was away, and nobody could renew.
    """
    thread, run = keys.parse_job_id(job)
    pending, running = edges(Cause.CLAIMED)
    reply = await SCRIPT(
        redis,
        queue=keys.queue(queue),
        run=keys.run(thread, run),
        thread=keys.thread(thread),
        waiting=keys.waiting(thread),
        events=keys.events(thread, run),
        segments=keys.segments(thread),
        deferred=keys.deferred(thread),
        job=job,
        run_id=run,
        control=control,
        lease=lease_ms,
        max_attempts=max_attempts,
        events_ttl=events_ttl,
        busy=ThreadStatus.BUSY,
        run_ref=keys.run_ref(thread, run, queue),
        pending=pending,
        running=running,
        token=token,
        protocol=PROTOCOL,
        spare=spare_ms,
        graphs=graphs,
        **thread_index_keys(),
    )
    word: Reply = reply[0].decode()
    if word != "claimed":
        return None
    return Claim(
        spec=_spec(reply[3], thread, run, queue),
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
    )


def _spec(packed: bytes | None, thread: str, run: str, queue: str) -> RunSpec:
    """Returns the spec; one that can't be read is replaced by one that says who is to be ended."""
    try:
        return unpack_spec(packed or b"")
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
            kwargs=b"",  # no request: reading it is an error, and so the run ends as one
        )
