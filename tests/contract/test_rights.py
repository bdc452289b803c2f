"""The rights of callers: what an authorizer decides, each use case keeps to, also while records change hands."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import msgspec
import pytest

from contract.builders import a_spec, admit, take
from contract.crons import make_due
from contract.owners import ECHO, ON_THREAD, Owners, of, open_owned_process
from harness.waiting import until
from millstream.api.assistants import operations as assistants
from millstream.api.assistants.schemas import AssistantCreate, AssistantPatch
from millstream.api.crons import operations as crons
from millstream.api.crons.schemas import (
    CronCreate,
    CronCreateStateful,
    CronCreateStateless,
    CronFilter,
    CronPatch,
)
from millstream.api.process import Process
from millstream.api.runs import admission, end_operations, operations
from millstream.api.threads import delete_operations
from millstream.api.threads import operations as threads
from millstream.api.threads.state_operations import permitted_assistant_of
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys, scripts
from millstream.shared import threads as thread_records
from millstream.shared.access import Ask, Decision, User, guard_of
from millstream.shared.crons import CronContext, CronRecord, fire_due
from millstream.shared.errors import (
    AccessError,
    ConflictError,
    ForbiddenError,
    InvalidError,
    NotFoundError,
    RightsChangedError,
)
from millstream.shared.redis import Client
from millstream.shared.rules.fair_shares import NO_LIMITS
from millstream.shared.rules.lifecycle import Cause
from millstream.shared.rules.multitask import CancelAction
from millstream.shared.runs import list_runs, live_runs
from millstream.shared.threads.search import ThreadFilter
from millstream.shared.wire import RunRequest


@pytest.fixture
def owners() -> Owners:
    return Owners()


@pytest.fixture
async def process(
    real_redis: Client, redis_server: EmbeddedRedis, owners: Owners
) -> AsyncIterator[Process]:
    async with open_owned_process(real_redis, redis_server, owners) as process:
        yield process


async def a_thread(process: Process, identity: str, **metadata: Any) -> str:
    record = await threads.create(
        of(process, identity), None, metadata, if_exists="raise", ttl=None
    )
    return record.thread_id


# ── Threads ─────────────────────────────────────────────────────────────────────────────────


async def test_a_thread_of_another_user_is_missing(process: Process) -> None:
    thread_id = await a_thread(process, "ann", topic="a")
    run = await admission.admit(of(process, "ann"), ON_THREAD, thread_id)
    run_id = run.spec.run_id
    unknown = "8b5e4bb3-7b46-4c0a-9b0a-111111111111"
    for of_bob, of_unknown in (
        (lambda c: threads.get(c, thread_id), lambda c: threads.get(c, unknown)),
        (lambda c: threads.patch(c, thread_id, {}, None), lambda c: threads.patch(c, unknown, {}, None)),
        (lambda c: threads.copy(c, thread_id), lambda c: threads.copy(c, unknown)),
        (lambda c: threads.storage(c, thread_id), lambda c: threads.storage(c, unknown)),
        (lambda c: delete_operations.delete(c, thread_id), lambda c: delete_operations.delete(c, unknown)),
        (lambda c: operations.list_runs(c, thread_id, limit=1), lambda c: operations.list_runs(c, unknown, limit=1)),
        (lambda c: operations.get(c, thread_id, run_id), lambda c: operations.get(c, unknown, run_id)),
        (lambda c: operations.explain(c, thread_id, run_id), lambda c: operations.explain(c, unknown, run_id)),
        (lambda c: operations.join(c, thread_id, run_id, None), lambda c: operations.join(c, unknown, run_id, None)),
        (lambda c: end_operations.delete(c, thread_id, run_id), lambda c: end_operations.delete(c, unknown, run_id)),
        (
            lambda c: end_operations.cancel(c, thread_id, run_id, CancelAction.INTERRUPT),
            lambda c: end_operations.cancel(c, unknown, run_id, CancelAction.INTERRUPT),
        ),
        (lambda c: admission.admit(c, ON_THREAD, thread_id), lambda c: admission.admit(c, ON_THREAD, unknown)),
        (
            lambda c: end_operations.cancel_runs(c, thread_id, [run_id], CancelAction.INTERRUPT),
            lambda c: end_operations.cancel_runs(c, unknown, [run_id], CancelAction.INTERRUPT),
        ),
    ):  # fmt: skip
        with pytest.raises(NotFoundError) as of_ann:
            await of_bob(of(process, "bob"))
        with pytest.raises(NotFoundError) as missing:
            await of_unknown(of(process, "bob"))
        assert str(of_ann.value).replace(thread_id, "T") == str(missing.value).replace(unknown, "T")
    assert (await operations.get(of(process, "ann"), thread_id, run_id)).status == "pending"
    assert await delete_operations.prune(of(process, "bob"), [thread_id, unknown], "delete") == 0
    with pytest.raises(NotFoundError):
        await end_operations.cancel_live(of(process, "bob"), None, CancelAction.INTERRUPT)
    await end_operations.cancel_live(of(process, "ann"), None, CancelAction.INTERRUPT)


async def test_searches_and_counts_stay_below_the_filter(process: Process) -> None:
    mine = {await a_thread(process, "ann", n=n) for n in range(3)}
    await a_thread(process, "bob", n=0)
    for query, number in (
        (ThreadFilter(), 3),
        (ThreadFilter(metadata={"n": 1}), 1),
        (ThreadFilter(metadata={"owner": "bob"}), 0),
        (ThreadFilter(metadata={"owner": "ann"}), 3),
        (ThreadFilter(exclude=[{"n": 0}]), 2),
        (ThreadFilter(values={"x": 1}), 0),
    ):
        page = await threads.find(of(process, "ann"), query, limit=10)
        assert {record.thread_id for record in page.records} <= mine
        assert (len(page.records), page.total) == (number, number)
        assert await threads.count(of(process, "ann"), query) == number
    assert await threads.count(of(process, "admin"), ThreadFilter()) == 4


async def test_what_is_created_is_the_callers(process: Process) -> None:
    thread_id = await a_thread(process, "ann", owner="bob")
    assert (await threads.get(of(process, "ann"), thread_id)).metadata["owner"] == "ann"
    copy = await threads.copy(of(process, "admin"), thread_id)
    assert copy.metadata["owner"] == "ann"  # an admin has no filter
    created = await admission.admit(
        of(process, "ann"), ECHO, "5d3e5d0e-3f0c-5d4e-8a52-0d9d7c6b1f10"
    )
    stateless = await admission.admit(of(process, "ann"), ECHO)
    for record in (created, stateless):
        assert await operations.find(of(process, "ann"), record.spec.thread_id, record.spec.run_id)
        assert not await operations.find(
            of(process, "bob"), record.spec.thread_id, record.spec.run_id
        )
        assert record.spec.identity == "ann"
        assert b"ann" not in record.spec.kwargs


async def test_a_change_may_not_give_a_record_away(process: Process) -> None:
    thread_id = await a_thread(process, "ann")
    with pytest.raises(ForbiddenError):
        await threads.patch(of(process, "ann"), thread_id, {"owner": "bob"}, None)
    assert (await threads.get(of(process, "ann"), thread_id)).metadata == {"owner": "ann"}


async def test_an_existing_thread_of_another_is_not_returned(process: Process) -> None:
    thread_id = await a_thread(process, "ann")
    for if_exists in ("raise", "do_nothing"):
        with pytest.raises(ConflictError):
            await threads.create(of(process, "bob"), thread_id, {}, if_exists=if_exists, ttl=None)


async def test_the_stream_of_anothers_thread_is_silent(process: Process) -> None:
    thread_id = await a_thread(process, "ann")
    run = await admission.admit(of(process, "ann"), ON_THREAD, thread_id)
    readers = {}
    for name in ("ann", "bob"):
        readers[name], _ = await threads.follow(
            of(process, name), thread_id, lambda _, entry: [entry], (0, 0)
        )
    claim = await take(process.redis, run.spec)
    await until(readers["ann"].read)
    assert await readers["bob"].read() == []
    await scripts.finish(process.redis, run.spec, Cause.SUCCEEDED, fence=claim.fence, stream_ttl=60)
    await delete_operations.delete(of(process, "ann"), thread_id)
    assert await readers["bob"].read() == []
    assert not readers["bob"].ended
    for reader in readers.values():
        reader.close()


# ── Races: the rights are judged by metadata that has changed ───────────────────────────────


@pytest.mark.parametrize("act", ["cancel", "delete_run", "retire", "admit"])
async def test_a_script_refuses_what_was_judged_by_other_metadata(
    real_redis: Client, act: str
) -> None:
    thread = await thread_records.create_thread(
        real_redis, None, {"owner": "ann"}, if_exists="raise"
    )
    spec = a_spec(thread_id=thread.thread_id)
    await admit(real_redis, spec)
    stale = guard_of(b'{"owner":"bob"}')
    before = await real_redis.hgetall(keys.run(spec.thread_id, spec.run_id))  # type: ignore[misc]
    thread_id, run_id = spec.thread_id, spec.run_id
    acts: dict[str, Callable[[], Awaitable[Any]]] = {
        "cancel": lambda: scripts.cancel(
            real_redis, thread_id, run_id, CancelAction.INTERRUPT, guard=stale
        ),
        "delete_run": lambda: scripts.delete_run(real_redis, thread_id, run_id, stale),
        "retire": lambda: scripts.retire_thread(real_redis, thread_id, guard=stale),
        "admit": lambda: scripts.admit(
            real_redis,
            a_spec(thread_id=thread_id),
            delay_ms=0,
            new_thread=None,
            stream_ttl=60,
            guard=stale,
        ),
    }
    with pytest.raises(RightsChangedError):
        await acts[act]()
    assert await real_redis.hgetall(keys.run(spec.thread_id, spec.run_id)) == before  # type: ignore[misc]
    assert len(await list_runs(real_redis, spec.thread_id, limit=9, offset=0, status=None)) == 1


async def test_of_fifty_that_create_a_thread_by_a_run_one_owns_it(process: Process) -> None:
    thread_id = "6d3e5d0e-3f0c-5d4e-8a52-0d9d7c6b1f10"
    names = [f"user-{number}" for number in range(50)]
    results = await asyncio.gather(
        *(admission.admit(of(process, name), ECHO, thread_id) for name in names),
        return_exceptions=True,
    )
    winners = [
        name for name, each in zip(names, results, strict=True) if not isinstance(each, Exception)
    ]
    assert len(winners) == 1
    assert all(isinstance(each, NotFoundError) for each in results if isinstance(each, Exception))
    record = await threads.get(of(process, winners[0]), thread_id)
    assert record.metadata["owner"] == winners[0]


# ── Assistants and crons ────────────────────────────────────────────────────────────────────


async def test_assistants_are_their_owners(process: Process) -> None:
    body = AssistantCreate(graph_id="echo", metadata={"owner": "bob"})
    assistant_id = (await assistants.create(of(process, "ann"), body)).assistant.assistant_id
    records = await assistants.find(of(process, "ann"), metadata={})
    assert [each.assistant.assistant_id for each in records] == [assistant_id]
    assert await assistants.find(of(process, "bob"), metadata={}) == []
    request = RunRequest(assistant_id=assistant_id, creates_thread=True)
    for act in (
        lambda c: assistants.resolve(c, assistant_id),
        lambda c: assistants.patch(c, assistant_id, AssistantPatch(name="x")),
        lambda c: assistants.choose_version(c, assistant_id, 1),
        lambda c: assistants.versions(c, assistant_id, {}),
        lambda c: assistants.delete(c, assistant_id, delete_threads=True),
        lambda c: admission.admit(c, request),
    ):
        with pytest.raises(NotFoundError, match=r"^Thread or assistant not found\.$"):
            await act(of(process, "bob"))
    with pytest.raises(ForbiddenError):
        await assistants.patch(
            of(process, "ann"), assistant_id, AssistantPatch(metadata={"owner": "bob"})
        )
    await admission.admit(of(process, "ann"), request)
    await admission.admit(of(process, "bob"), ECHO)  # a default assistant, which all may use
    await assistants.delete(of(process, "ann"), assistant_id, delete_threads=True)


async def test_a_threads_metadata_lends_no_assistant_of_another_user(process: Process) -> None:
    body = AssistantCreate(graph_id="echo")
    created = await assistants.create(of(process, "ann"), body)
    metadata = {"assistant_id": created.assistant.assistant_id}
    assert await permitted_assistant_of(of(process, "ann"), metadata) == metadata
    assert await permitted_assistant_of(of(process, "bob"), metadata) == {}
    assert await permitted_assistant_of(of(process, "bob"), {}) == {}


async def test_crons_are_their_owners(process: Process, owners: Owners) -> None:
    thread_id = await a_thread(process, "ann")
    body = CronCreateStateful(assistant_id="echo", schedule="0 0 1 1 *")
    with pytest.raises(NotFoundError):
        await crons.create(of(process, "bob"), body, thread_id, None)
    owners.questions.clear()
    cron_id = (await crons.create(of(process, "ann"), body, thread_id, None)).cron.cron_id
    assert [ask for ask, _ in owners.questions] == ["crons.create", "threads.create_run"]
    assert (await crons.find(of(process, "bob"), CronFilter())).records == []
    for act in (
        lambda c: crons.get(c, cron_id),
        lambda c: crons.patch(c, cron_id, CronPatch(schedule="1 1 1 1 *")),
        lambda c: crons.delete(c, cron_id),
    ):
        with pytest.raises(NotFoundError, match=f"^Cron with ID {cron_id} not found$"):
            await act(of(process, "bob"))
    await crons.patch(of(process, "admin"), cron_id, CronPatch(schedule="1 1 1 1 *"))
    stored = await process.redis.hget(keys.cron(cron_id), "request")  # type: ignore[misc]
    request = msgspec.msgpack.decode(stored, type=RunRequest)
    assert b'"ann"' in request.user  # its runs are the creator's, also after an admin's change
    await crons.delete(of(process, "ann"), cron_id)


# ── Crons fire as their creators ────────────────────────────────────────────────────────────


class Withdrawn(Owners):
    """Denies what the users may do no longer."""

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        raise ForbiddenError


async def fire(process: Process, record: CronRecord, authorizer: Owners | None) -> dict[str, int]:
    await make_due(process.redis, record)
    context = CronContext(process.redis, process.directory, NO_LIMITS, 60, authorizer=authorizer)
    return dict(await fire_due(context, limit=10, at_once=10))


@pytest.mark.parametrize("on_thread", [True, False])
async def test_a_cron_fires_with_the_rights_of_its_creator(
    process: Process, owners: Owners, on_thread: bool
) -> None:
    thread_id = await a_thread(process, "ann") if on_thread else None
    body: CronCreate = (
        CronCreateStateful(assistant_id="echo", schedule="0 0 1 1 *")
        if on_thread
        else CronCreateStateless(assistant_id="echo", schedule="0 0 1 1 *", on_run_completed="keep")
    )
    record = await crons.create(of(process, "ann"), body, thread_id, None if on_thread else "keep")
    owners.questions.clear()
    assert await fire(process, record, owners) == {"admitted": 1}
    assert [ask for ask, _ in owners.questions] == ["threads.create_run"]
    [(of_run, run_id, _)] = await live_runs(process.redis)
    run = await operations.get(of(process, "ann"), of_run, run_id)
    assert (run.spec.identity, of_run) == ("ann", thread_id or of_run)
    assert await operations.find(of(process, "bob"), of_run, run_id) is None


async def test_a_cron_whose_creator_lost_its_rights_skips_its_due_time(process: Process) -> None:
    thread_id = await a_thread(process, "ann")
    body = CronCreateStateful(assistant_id="echo", schedule="0 0 1 1 *")
    record = await crons.create(of(process, "ann"), body, thread_id, None)
    for authorizer in (Withdrawn(), None):
        assert await fire(process, record, authorizer) == {"denied": 1}
        assert await live_runs(process.redis) == []
        after = await crons.get(of(process, "ann"), record.cron.cron_id)
        assert after.enabled
        assert after.due_ms == record.due_ms
    # The thread is another's now: its creator may run nothing there.
    await threads.patch(of(process, "admin"), thread_id, {"owner": "bob"}, None)
    assert await fire(process, record, Owners()) == {"disabled": 1}
    assert await live_runs(process.redis) == []


async def test_a_batch_is_denied_with_the_status_of_the_decider(
    process: Process, owners: Owners
) -> None:
    owners.denials["threads.create_run"] = AccessError(
        "Pay first.", status=402, headers={"x-plan": "none"}
    )
    with pytest.raises(AccessError, match=r"^0: Pay first\.$") as denied:
        await admission.admit_batch(of(process, "ann"), [ECHO])
    assert (denied.value.status, denied.value.headers) == (402, {"x-plan": "none"})


async def test_a_search_with_an_invalid_status_of_the_decider_is_invalid(
    process: Process, owners: Owners, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def decide(_: User, __: Ask, value: dict[str, Any]) -> Decision:
        return Decision({**value, "status": "asleep"})

    monkeypatch.setattr(owners, "decide", decide)
    with pytest.raises(InvalidError, match=r"^status: 'asleep', as the authorization left it"):
        await threads.find(of(process, "ann"), ThreadFilter(), limit=1)
