"""Webhook calls for runs that have ended: a worker takes them, tries them and settles them.

The script that ends a run enqueues its call (scripts/parts/outbox.lua). A worker takes due calls under a lease; if it
dies, another worker takes them. So each call is made at least once, always with the same id, which is the run's.
"""

import logging
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from millstream.shared import keys, scripts
from millstream.shared.errors import SealedError
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs import RunRecord
from millstream.shared.runs.json_view import iso_time, run_to_json
from millstream.shared.sealing import KeyRing, key_ring_of
from millstream.shared.sealing.fields import open_thread_field
from millstream.shared.sealing.locations import of_run
from millstream.shared.sealing.structs import unpack_sealed_spec
from millstream.shared.wire import require_plain

log = logging.getLogger(__name__)

NULL: Final = b"null"
FIELDS: Final = [
    "webhook", "spec", "status", "error", "created_at", "started_at", "ended_at", "attempt",
    "values", "tries", "reason",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook call that is leased to the caller."""

    job: str
    lease_end: int  # ms, Redis time
    url: str
    record: RunRecord
    started_at: int | None  # µs
    ended_at: int  # µs
    values: bytes  # JSON
    error: bytes  # JSON
    tries: int  # that failed

    @property
    def webhook_id(self) -> str:
        """The same for every try, so that a receiver can detect a repeat."""
        return self.record.spec.run_id

    def payload(self, sent_at: int) -> dict[str, Any]:
        """Returns the JSON body of a call at `sent_at` (µs). Source: the LangGraph Platform API."""
        return {
            **run_to_json(self.record),
            "run_started_at": None if self.started_at is None else iso_time(self.started_at),
            "run_ended_at": iso_time(self.ended_at),
            "webhook_sent_at": iso_time(sent_at),
            "values": msgspec.Raw(self.values or NULL),
            "error": msgspec.Raw(self.error or NULL),
        }


async def take(redis: Client, *, limit: int, lease_ms: int) -> list[Delivery]:
    """Takes at most `limit` due calls; removes calls whose data has expired."""
    deliveries = []
    for member, lease_end in await scripts.take_deliveries(redis, limit=limit, lease_ms=lease_ms):
        job = keys.decode_job_id(member)
        delivery = None
        if job is not None:
            key = keys.delivery(*keys.parse_job_id(job))
            fields = await redis.hmget(key, FIELDS)  # type: ignore[misc]
            try:
                delivery = _parse(key_ring_of(redis), job, lease_end, fields)
            except SealedError as error:  # a worker with the key takes it when the lease ends
                log.warning("the webhook of run %s is postponed: %s", job, error)
                continue
        if delivery is None:
            await redis.zrem(keys.deliveries(), member)
        else:
            deliveries.append(delivery)
    return deliveries


def _parse(
    key_ring: KeyRing, job: str, lease_end: int, fields: list[bytes | None]
) -> Delivery | None:
    url, spec, status, error, created, started, ended, attempt, values, tries, reason = fields
    if url is None or spec is None or status is None or ended is None:
        return None
    ids = keys.parse_job_id(job)
    run = unpack_sealed_spec(key_ring, spec)
    require_plain(run.kwargs)
    record = RunRecord(
        run,
        RunStatus(status.decode()),
        int(attempt or 0),
        int(created or 0),
        int(ended),
        reason.decode() if reason else None,
    )
    return Delivery(
        job=job,
        lease_end=lease_end,
        url=key_ring.open(of_run(*ids, "webhook"), url).decode(),
        record=record,
        started_at=int(started) if started else None,
        ended_at=int(ended),
        values=_open_values(key_ring, *ids, values or b""),
        error=key_ring.open(of_run(*ids, "error"), error or b""),
        tries=int(tries or 0),
    )


def _open_values(key_ring: KeyRing, thread_id: str, run_id: str, stored: bytes) -> bytes:
    """Returns the output of the run, or the values of its thread if it had none: the script copies either."""
    try:
        return key_ring.open(of_run(thread_id, run_id, "output"), stored)
    except SealedError:
        return open_thread_field(key_ring, thread_id, "values", stored)


async def settle(redis: Client, delivery: Delivery, *, after_ms: int | None) -> bool:
    """Makes the call due again after `after_ms`, or removes it (None).

    Returns False if another worker has taken the call since.
    """
    return await scripts.settle_delivery(redis, delivery.job, delivery.lease_end, after_ms=after_ms)
