"""What a decider leaves of a request is what is stored."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import msgspec
import pytest

from contract.owners import ECHO, Owners, of, open_owned_process
from millstream.api.assistants import operations as assistants
from millstream.api.assistants.schemas import AssistantConfig, AssistantCreate, AssistantPatch
from millstream.api.crons import operations as crons
from millstream.api.crons.schemas import CronCreateStateless, CronPatch
from millstream.api.process import Process
from millstream.api.runs import admission
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.access import Ask, Decision, User
from millstream.shared.errors import InvalidError
from millstream.shared.queue import redis_time
from millstream.shared.redis import Client
from millstream.shared.runs import live_runs
from millstream.shared.wire import unpack_kwargs


@pytest.fixture
async def process(real_redis: Client, redis_server: EmbeddedRedis) -> AsyncIterator[Process]:
    async with open_owned_process(real_redis, redis_server, Owners()) as process:
        yield process


class Renaming(Owners):
    """Changes assistants."""

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        self.questions.append((ask, dict(value)))
        if ask in ("assistants.create", "assistants.update"):
            value["name"] = "renamed"
            value["metadata"] = {**(value["metadata"] or {}), "by": user.identity}
        return Decision(value)


async def test_an_assistant_is_stored_as_its_decider_left_it(process: Process) -> None:
    authorizer = Renaming()
    context = of(replace(process, auth=replace(process.auth, authorizer=authorizer)), "ann")
    body = AssistantCreate(graph_id="echo", config=AssistantConfig(tags=["a"]))
    created = await assistants.create(context, body)
    [(_, question)] = authorizer.questions
    assert question == {
        "assistant_id": created.assistant.assistant_id,
        "graph_id": "echo",
        "name": "Untitled",
        "config": {"tags": ["a"]},
        "context": {},
        "metadata": {},
    }
    patched = await assistants.patch(
        context, created.assistant.assistant_id, AssistantPatch(description="d")
    )
    for record in (created, patched):
        assert record.assistant.name == "renamed"
        assert msgspec.json.decode(record.assistant.metadata) == {"by": "ann"}
        assert msgspec.json.decode(record.assistant.config) == {"tags": ["a"]}
    assert patched.assistant.description == "d"


class Rewriting(Owners):
    """Changes runs and crons."""

    def __init__(self, **changes: Any) -> None:
        super().__init__()
        self.changes = changes

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        if ask == "threads.create_run":
            value["kwargs"]["input"] = {"rewritten": True}
            value.update(self.changes)
        if ask in ("crons.create", "crons.update"):
            value["payload"]["input"] = {"rewritten": True}
            value["schedule"] = "5 5 5 5 *"
            value["metadata"]["by"] = user.identity
        return Decision(value)


async def test_runs_and_crons_are_stored_as_their_decider_left_them(process: Process) -> None:
    authorizer = Rewriting(after_seconds=60, multitask_strategy="reject")
    context = of(replace(process, auth=replace(process.auth, authorizer=authorizer)), "ann")
    run = await admission.admit(context, ECHO)
    assert unpack_kwargs(run.spec.kwargs).input == {"rewritten": True}
    assert run.spec.strategy == "reject"
    due = await process.redis.zscore(
        keys.queue("default"), keys.job_id(run.spec.thread_id, run.spec.run_id)
    )
    assert due is not None
    assert due > (await redis_time(process.redis) + 30) * 1000
    body = CronCreateStateless(assistant_id="echo", schedule="0 0 1 1 *", input={"x": 1})
    created = await crons.create(context, body, None, "delete")
    patched = await crons.patch(context, created.cron.cron_id, CronPatch(timezone="Europe/Paris"))
    for record in (created, patched):
        assert record.cron.schedule == "5 5 5 5 *"
        assert msgspec.json.decode(record.cron.metadata) == {"by": "ann"}
        assert msgspec.json.decode(record.payload)["input"] == {"rewritten": True}


@pytest.mark.parametrize(
    "changes",
    [{"after_seconds": "soon"}, {"multitask_strategy": "maybe"}, {"kwargs": {"config": 1}}],
)
async def test_a_run_that_its_decider_left_invalid_is_not_admitted(
    process: Process, changes: dict[str, Any]
) -> None:
    auth = replace(process.auth, authorizer=Rewriting(**changes))
    with pytest.raises(InvalidError, match=next(iter(changes))):
        await admission.admit(of(replace(process, auth=auth), "ann"), ECHO)
    assert await live_runs(process.redis) == []


async def test_no_client_marks_an_assistant_as_the_servers(process: Process) -> None:
    mark = {"created_by": "system", "x": 1}
    body = AssistantCreate(graph_id="echo", metadata=mark)
    created = await assistants.create(of(process, "ann"), body)
    patch = AssistantPatch(metadata=mark)
    patched = await assistants.patch(of(process, "ann"), created.assistant.assistant_id, patch)
    for record in (created, patched):
        assert msgspec.json.decode(record.assistant.metadata) == {"x": 1, "owner": "ann"}
