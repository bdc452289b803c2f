"""Admission writes a run, its thread and its job in one step, or nothing."""

import asyncio
from typing import Any

import pytest

from contract.builders import (
    a_spec,
    a_submission,
    admit,
    dump,
    end,
    job,
    make_due,
    new_id,
    queued,
    record,
    running,
    take,
    thread_of,
    try_claim,
    waiting,
    woken,
)
from millstream.shared import keys, scripts
from millstream.shared.errors import ConflictError, NotFoundError, OverloadedError
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import AdmissionLimits
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs import find_run, submit
from millstream.shared.threads import new_thread_fields
from millstream.shared.wire import PROTOCOL, RunSpec

ONE = AdmissionLimits(max_live=1)


async def test_a_run_on_a_free_thread_is_queued_and_wakes_a_worker(any_redis: Client) -> None:
    spec = a_spec()
    await scripts.create_thread(any_redis, spec.thread_id, new_thread_fields({}))
    now, _ = await scripts.admit(any_redis, spec, stream_ttl=60, delay_ms=0, new_thread=None)

    assert await record(any_redis, spec) == {
        "status": "pending",
        "fence": "0",
        "attempt": "0",
        "created_at": str(now),
        "updated_at": str(now),
        "graph": spec.graph_id,
        "protocol": str(PROTOCOL),
        "queue": spec.queue,
        "backlog": keys.backlog(spec.queue),
        "share": keys.share(spec.queue),
    }
    [(member, tag)] = (await queued(any_redis)).items()
    assert (member, tag < 0) == (job(spec), True)
    assert await any_redis.zscore(keys.backlog(spec.queue), job(spec)) == now // 1000
    assert await woken(any_redis) == [job(spec)]
    assert await waiting(any_redis, spec.thread_id) == []
    thread = await thread_of(any_redis, spec)
    assert thread["active"] == spec.run_id
    assert (thread["graph_id"], thread["assistant_id"]) == ("echo", "a1")
    runs = await any_redis.zrange(keys.runs(spec.thread_id), 0, -1, withscores=True)
    assert runs == [(spec.run_id.encode(), now)]


async def test_runs_on_a_busy_thread_wait_in_order(any_redis: Client) -> None:
    first = await admit(any_redis)
    others = [await admit(any_redis, a_spec(first.thread_id)) for _ in range(3)]
    assert await waiting(any_redis, first.thread_id) == [job(spec) for spec in others]
    assert list(await queued(any_redis)) == [job(first)]
    assert await woken(any_redis) == [job(first)]
    assert (await thread_of(any_redis, first))["active"] == first.run_id


async def test_reject_on_a_busy_thread_writes_nothing(
    any_redis: Client, replies: list[Any]
) -> None:
    first = await admit(any_redis)
    before = await dump(any_redis)
    with pytest.raises(ConflictError, match="already running"):
        await admit(any_redis, a_spec(first.thread_id, strategy="reject"))
    assert replies[-1] == [b"busy"]
    assert await dump(any_redis) == before


async def test_reject_is_admitted_to_a_free_thread(any_redis: Client) -> None:
    claim = await running(any_redis)
    await end(any_redis, claim)
    spec = await admit(any_redis, a_spec(claim.spec.thread_id, strategy="reject"))
    assert list(await queued(any_redis)) == [job(spec)]


async def test_a_run_on_a_missing_thread_writes_nothing(
    any_redis: Client, replies: list[Any]
) -> None:
    with pytest.raises(NotFoundError):
        await scripts.admit(any_redis, a_spec(), stream_ttl=60, delay_ms=0, new_thread=None)
    assert replies[-1] == [b"missing"]
    assert await dump(any_redis) == {}


async def test_a_missing_thread_is_created_with_its_fields(any_redis: Client) -> None:
    spec = a_spec(temporary=True)
    now, _ = await scripts.admit(
        any_redis, spec, stream_ttl=60, delay_ms=0, new_thread=new_thread_fields({"owner": "me"})
    )
    thread = await thread_of(any_redis, spec)
    assert thread["metadata"] == '{"owner":"me"}'
    assert thread["status"] == thread["idle_status"] == "idle"
    assert thread["created_at"] == thread["updated_at"] == thread["state_updated_at"] == str(now)


async def test_an_existing_thread_keeps_its_fields(any_redis: Client) -> None:
    spec = a_spec()
    await scripts.create_thread(any_redis, spec.thread_id, new_thread_fields({"owner": "me"}))
    before = await thread_of(any_redis, spec)
    await scripts.admit(
        any_redis, spec, stream_ttl=60, delay_ms=0, new_thread=new_thread_fields({"owner": "x"})
    )
    after = await thread_of(any_redis, spec)
    assert after["metadata"] == '{"owner":"me"}'
    assert after["created_at"] == before["created_at"]


@pytest.mark.parametrize("situation", ["queued", "waiting", "deferred", "running", "ended"])
async def test_a_repeated_admission_succeeds_and_changes_nothing(
    any_redis: Client, situation: str, replies: list[Any]
) -> None:
    first = a_spec()
    if situation == "waiting":
        await admit(any_redis, a_spec(first.thread_id))
    delay = 60_000 if situation == "deferred" else 0
    await admit(any_redis, first, delay_ms=delay)
    admitted = replies[-1]
    if situation in ("running", "ended"):
        claim = await take(any_redis, first)
        if situation == "ended":
            await end(any_redis, claim)
    before = await dump(any_redis)
    await admit(any_redis, first, delay_ms=delay)
    assert [replies[-1][0], int(replies[-1][1])] == [b"admitted", int(admitted[1])]
    assert await dump(any_redis) == before


async def test_a_repeated_admission_is_not_rejected_because_of_its_own_run(
    any_redis: Client,
) -> None:
    spec = await admit(any_redis, a_spec(strategy="reject"))
    before = await dump(any_redis)
    await admit(any_redis, spec)
    assert await dump(any_redis) == before


async def test_a_deferred_run_does_not_wait_in_the_fifo_before_it_is_due(any_redis: Client) -> None:
    first = await admit(any_redis)
    spec = a_spec(first.thread_id)
    now, _ = await scripts.admit(any_redis, spec, stream_ttl=60, delay_ms=60_000, new_thread=None)
    assert (await queued(any_redis))[job(spec)] == now // 1000 + 60_000
    assert await waiting(any_redis, first.thread_id) == []
    assert await woken(any_redis) == [job(first)]
    assert await try_claim(any_redis, spec) is None

    later = await admit(any_redis, a_spec(first.thread_id))
    assert await waiting(any_redis, first.thread_id) == [job(later)]


async def test_a_deferred_run_keeps_an_idle_thread_idle(any_redis: Client) -> None:
    spec = await admit(any_redis, delay_ms=60_000)
    assert "active" not in await thread_of(any_redis, spec)
    assert await woken(any_redis) == []
    other = await admit(any_redis, a_spec(spec.thread_id))
    assert await woken(any_redis) == [job(other)]


async def test_a_due_deferred_run_joins_the_fifo_of_a_busy_thread(
    any_redis: Client, replies: list[Any]
) -> None:
    first = await running(any_redis)
    thread = first.spec.thread_id
    second = await admit(any_redis, a_spec(thread))
    deferred = await admit(any_redis, a_spec(thread), delay_ms=60_000)
    await make_due(any_redis, deferred)
    assert await try_claim(any_redis, deferred) is None
    assert replies[-1] == [b"waits"]
    assert await waiting(any_redis, thread) == [job(second), job(deferred)]
    assert job(deferred) not in await queued(any_redis)

    await end(any_redis, first)
    await end(any_redis, await take(any_redis, second))
    assert (await take(any_redis, deferred)).attempt == 1


async def test_a_due_deferred_run_starts_on_an_idle_thread(any_redis: Client) -> None:
    spec = await admit(any_redis, delay_ms=60_000)
    await make_due(any_redis, spec)
    await take(any_redis, spec)
    assert (await thread_of(any_redis, spec))["active"] == spec.run_id


async def test_one_of_fifty_rejecting_contenders_is_admitted(any_redis: Client) -> None:
    thread = new_id()
    specs = [a_spec(thread, strategy="reject") for _ in range(50)]
    outcomes = await asyncio.gather(*(admit(any_redis, s) for s in specs), return_exceptions=True)
    [winner] = [outcome for outcome in outcomes if not isinstance(outcome, ConflictError)]
    assert not isinstance(winner, BaseException)
    assert list(await queued(any_redis)) == await woken(any_redis) == [job(winner)]
    assert await any_redis.zrange(keys.runs(thread), 0, -1) == [winner.run_id.encode()]


async def test_of_fifty_contenders_one_is_active_and_the_rest_wait_in_order(
    any_redis: Client,
) -> None:
    thread = new_id()
    specs = [a_spec(thread) for _ in range(50)]
    await asyncio.gather(*(admit(any_redis, spec) for spec in specs))
    active = (await thread_of(any_redis, specs[0]))["active"]
    line = [keys.job_id(thread, active), *await waiting(any_redis, thread)]
    assert sorted(line) == sorted(map(job, specs))
    assert list(await queued(any_redis)) == await woken(any_redis) == line[:1]


async def test_fifty_repeats_at_once_admit_one_run(any_redis: Client) -> None:
    spec = a_spec()
    await asyncio.gather(*(admit(any_redis, spec) for _ in range(50)))
    assert await woken(any_redis) == [job(spec)]
    assert await waiting(any_redis, spec.thread_id) == []


async def test_submit_returns_the_stored_record(any_redis: Client) -> None:
    submission = a_submission(metadata=b'{"a":1}', kwargs=b'{"input":{"x":1}}')
    returned = await submit(any_redis, submission, stream_ttl=60)
    assert returned.status is RunStatus.PENDING
    assert returned.spec.metadata == b'{"a":1}'
    assert await find_run(any_redis, returned.spec.thread_id, returned.spec.run_id) == returned


async def test_the_limit_of_live_runs_is_enforced(any_redis: Client) -> None:
    first = await admit(any_redis)
    refused = a_spec()
    before = await dump(any_redis)
    for thread in (None, new_thread_fields({})):
        with pytest.raises(OverloadedError, match="QUEUE_MAX_DEPTH"):
            await scripts.admit(
                any_redis, a_spec(first.thread_id) if thread is None else refused,
                stream_ttl=60, delay_ms=0, new_thread=thread, limits=ONE,
            )  # fmt: skip
    assert await dump(any_redis) == before
    again = await scripts.admit(
        any_redis, first, stream_ttl=60, delay_ms=0, new_thread=None, limits=ONE
    )
    assert again[1] == []  # a repeated admission adds no run
    await end(any_redis, await take(any_redis, first))
    await scripts.admit(
        any_redis, refused, stream_ttl=60, delay_ms=0, new_thread=new_thread_fields({}), limits=ONE
    )


async def test_fifty_contenders_do_not_exceed_the_limit_of_live_runs(
    any_redis: Client,
) -> None:
    fields = new_thread_fields({})
    admitted = await asyncio.gather(
        *(
            scripts.admit(
                any_redis,
                a_spec(),
                stream_ttl=60,
                delay_ms=0,
                new_thread=fields,
                limits=AdmissionLimits(max_live=20),
            )
            for _ in range(50)
        ),
        return_exceptions=True,
    )
    assert sum(isinstance(reply, OverloadedError) for reply in admitted) == 30
    assert await any_redis.scard(keys.live()) == 20  # type: ignore[misc]


async def test_one_of_many_resumes_of_an_interrupt_is_admitted(any_redis: Client) -> None:
    paused = await running(any_redis)
    thread, interrupts = paused.spec.thread_id, b'{"task":[{"id":"i","value":"why?"}]}'
    await end(any_redis, paused, idle_status="interrupted", interrupts=interrupts)

    async def answer(seen: bytes) -> RunSpec | None:
        spec = a_spec(thread, strategy="reject")
        try:
            await scripts.admit(
                any_redis, spec, stream_ttl=60, delay_ms=0, new_thread=None, answers=seen
            )
        except ConflictError:
            return None
        return spec

    assert await answer(b"{}") is None
    assert await queued(any_redis) == {}
    answers = await asyncio.gather(*(answer(interrupts) for _ in range(50)))
    [admitted] = [spec for spec in answers if spec is not None]
    assert list(await queued(any_redis)) == [job(admitted)]
    claim = await take(any_redis, admitted)
    assert (
        await answer(interrupts) is None
    )  # a client that read the interrupt before its resume is too late
    await end(any_redis, claim, interrupts=b"{}")
    assert await answer(interrupts) is None
    again = a_spec(thread, strategy="reject")
    await scripts.admit(
        any_redis, again, stream_ttl=60, delay_ms=0, new_thread=None
    )  # without a resume no interrupts are compared
