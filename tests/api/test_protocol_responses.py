"""The command `input.respond` of the event streaming protocol: its effects and its errors."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from api.approval import resume_and_join, run_until_interrupt
from api.thread_state import COVERED_FIELDS, covers, state
from harness.event_stream import command, send
from millstream.api.protocol.schemas import Answer, InputRespond
from millstream.shared.wire import UNMERGED


@covers(Answer, "interrupt_id", "response", "namespace")
async def test_input_respond_resumes_the_run(http: httpx.AsyncClient, thread: str) -> None:
    request_id = await run_until_interrupt(http, thread)
    values = await resume_and_join(
        http, thread, interrupt_id=request_id, namespace=[], response={"approved": True}
    )
    assert values["log"] == ["before", "ask", "after"]
    assert values["answer"] == {"approved": True}
    again = {"interrupt_id": request_id, "response": 1, "namespace": []}
    reply = await send(http, thread, {"id": 1, "method": "input.respond", "params": again})
    assert reply == {
        "type": "error", "id": 1, "error": "no_such_interrupt",
        "message": f"Unknown or already-consumed interrupt: {request_id}",
    }  # fmt: skip


@covers(InputRespond, "responses", "update", "goto", "config", "metadata", "strict_resume")
async def test_input_respond_may_update_and_goto(http: httpx.AsyncClient, thread: str) -> None:
    request_id = await run_until_interrupt(http, thread)
    answers: list[Any] = [{"interrupt_id": request_id, "namespace": [], "response": None}]
    run = (
        await command(
            http, thread, "input.respond",
            responses=answers, update={"log": ["beside"]}, goto={"node": "after"},
            config={"tags": ["t"]}, metadata={"m": 1}, strict_resume=True,
        )
    )["run_id"]  # fmt: skip
    await http.get(f"/threads/{thread}/runs/{run}/join")
    values = (await state(http, thread))["values"]
    assert values["answer"] is None
    assert "beside" in values["log"]
    recorded = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    assert recorded["metadata"]["m"] == 1
    assert recorded["kwargs"]["config"]["tags"] == ["t"]
    assert recorded["kwargs"]["command"]["goto"] == {"node": "after"}
    assert recorded["kwargs"]["strict_resume"] is True


async def test_input_respond_keeps_the_runs_configuration(
    http: httpx.AsyncClient, thread: str
) -> None:
    plain = {"tags": ["t"], "recursion_limit": 7, "max_concurrency": 2, "run_name": "named"}
    config = {"configurable": {"model": "x", "level": 1}, **plain}
    request_id = await run_until_interrupt(http, thread, config=config, metadata={"first": True})
    run = (
        await command(
            http, thread, "input.respond",
            interrupt_id=request_id, response=1, config={"configurable": {"level": 2}},
        )
    )["run_id"]  # fmt: skip
    recorded = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    configurable = recorded["kwargs"]["config"]["configurable"]
    assert (configurable["model"], configurable["level"]) == ("x", 2)
    assert configurable["run_id"] == run
    assert {name: recorded["kwargs"]["config"][name] for name in UNMERGED} == plain
    assert "first" not in recorded["metadata"]


async def test_one_of_50_responses_counts(http: httpx.AsyncClient, thread: str) -> None:
    request_id = await run_until_interrupt(http, thread)
    body = {"id": 1, "method": "input.respond"}
    replies = await asyncio.gather(
        *(
            send(http, thread, body | {"params": {"interrupt_id": request_id, "response": number}})
            for number in range(50)
        )
    )
    [won] = [reply for reply in replies if reply["type"] == "success"]
    assert {reply["error"] for reply in replies if reply is not won} == {"no_such_interrupt"}
    await http.get(f"/threads/{thread}/runs/{won['result']['run_id']}/join")
    assert (await state(http, thread))["values"]["answer"] == replies.index(won)
    assert len((await http.get(f"/threads/{thread}/runs")).json()) == 2


@pytest.mark.parametrize(
    ("params", "code", "problem"),
    [
        ({"interrupt_id": "x", "response": 1}, "no_such_interrupt", "x"),
        ({"response": 1}, "invalid_argument", "interrupt_id"),
        ({"interrupt_id": "", "response": 1}, "invalid_argument", "interrupt_id"),
        ({"interrupt_id": "x"}, "invalid_argument", "response"),
        ({"interrupt_id": "x", "response": 1, "namespace": "x"}, "invalid_argument", "namespace"),
        ({"responses": []}, "invalid_argument", "responses"),
        (
            {"responses": [{"interrupt_id": "x", "response": 1}], "response": 1},
            "invalid_argument",
            "responses, response",
        ),
        (
            {"responses": [{"interrupt_id": "x", "response": 1, "x": 1}]},
            "invalid_argument",
            "x: unknown param",
        ),
        ({"responses": [{"interrupt_id": "x", "response": 1}] * 2}, "invalid_argument", "twice"),
        ({"interrupt_id": "x", "response": 1, "goto": 7}, "invalid_argument", "goto"),
        ({"interrupt_id": "x", "response": 1, "update": []}, "invalid_argument", "update"),
    ],
)
async def test_an_invalid_input_respond_is_rejected(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], code: str, problem: str
) -> None:
    for thread_id in (thread, str(uuid.uuid4())):
        reply = await send(http, thread_id, {"id": 3, "method": "input.respond", "params": params})
        assert (reply["type"], reply["error"]) == ("error", code)
        assert problem in reply["message"]


def test_every_field_is_tested() -> None:
    for model in (Answer, InputRespond):
        assert COVERED_FIELDS[model] == set(model.model_fields), model
