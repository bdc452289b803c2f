"""What is to be told of runs that have ended: taken by a worker, tried, settled.

The script that ends a run notes it (outbox.lua). A worker takes what is due for a while; if it dies,
another takes it then. So each is told at least once, always under the same id, that of the run.
"""

from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs import RunRecord
from millstream.shared.runs.json_view import iso_time, run_to_json
from millstream.shared.wire import unpack_spec

NULL: Final = b"null"
FIELDS: Final = [
    "webhook", "spec", "status", "error", "created_at", "started_at", "ended_at", "attempt",
    "values", "tries", "reason",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook's call that is due, and the caller's until the lease it was taken with ends."""

    job: str
    taking: int
    url: str
    record: RunRecord
    started_at: int | None  # µs
    ended_at: int  # µs
    values: bytes  # JSON
    error: bytes  # JSON
    tries: int  # that were in vain

    @property
    def webhook_id(self) -> str:
        """The same for every try, so that a receiver can tell what it knows already."""
        return self.record.spec.run_id

    def payload(self, sent_at: int) -> dict[str, Any]:
        """Returns what the receiver is told, at `sent_at` (µs). Source: the LangGraph Platform API."""
        return {
            **run_to_json(self.record),
            "run_started_at": None if self.started_at is None else iso_time(self.started_at),
            "run_ended_at": iso_time(self.ended_at),
            "webhook_sent_at": iso_time(sent_at),
            "values": msgspec.Raw(self.values or NULL),
            "error": msgspec.Raw(self.error or NULL),
        }


async def take(redis: Client, *, limit: int, lease_ms: int) -> list[Delivery]:
    """Takes calls that are due; drops what nobody can read any more."""
    found = []
    for word, taking in await scripts.take_deliveries(redis, limit=limit, lease_ms=lease_ms):
        job = keys.decode_job_id(word)
        delivery = None
        if job is not None:
            place = keys.delivery(*keys.parse_job_id(job))
            delivery = _delivery(job, taking, await redis.hmget(place, FIELDS))  # type: ignore[misc]
        if delivery is None:
            await redis.zrem(keys.deliveries(), word)
        else:
            found.append(delivery)
    return found


def _delivery(job: str, taking: int, words: list[bytes | None]) -> Delivery | None:
    url, spec, status, error, created, started, ended, attempt, values, tries, reason = words
    if url is None or spec is None or status is None or ended is None:
        return None
    record = RunRecord(
        unpack_spec(spec),
        RunStatus(status.decode()),
        int(attempt or 0),
        int(created or 0),
        int(ended),
        reason.decode() if reason else None,
    )
    return Delivery(
        job=job,
        taking=taking,
        url=url.decode(),
        record=record,
        started_at=int(started) if started else None,
        ended_at=int(ended),
        values=values or b"",
        error=error or b"",
        tries=int(tries or 0),
    )


async def settle(redis: Client, delivery: Delivery, *, after_ms: int | None) -> bool:
    """Has the call due again after so many ms, or done with (None).

    Returns False if somebody else has taken it since.
    """
    return await scripts.settle_delivery(redis, delivery.job, delivery.taking, after_ms=after_ms)
