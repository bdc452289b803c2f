"""The commands of the event streaming protocol: their effects and their errors."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from api.approval import resume_and_join, run_until_interrupt
from api.requests import UNKNOWN_ID
from api.thread_state import COVERED_FIELDS, covers, state
from harness.event_stream import command, follow, send, start
from millstream.api.protocol.schemas import GetTree, ProtocolCommand

FORK = "1ef00000-0000-6000-8000-000000000000"  # an unknown checkpoint: a run restarts there
# ── run.start ───────────────────────────────────────────────────────────────────────────────


@covers(ProtocolCommand, "id", "method", "params")
async def test_run_start_creates_its_thread(http: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    run = await start(http, thread, "steps", config={"configurable": {"n": 1}}, metadata={"a": 1})
    assert (await http.get(f"/threads/{thread}/runs/{run}/join")).json() == {"items": [0]}
    recorded = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    assert recorded["metadata"]["a"] == 1
    assert recorded["kwargs"]["stream_mode"] == [
        "values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints",
    ]  # fmt: skip
    assert (recorded["kwargs"]["subgraphs"], recorded["kwargs"]["resumable"]) == (True, True)


async def test_run_start_on_a_busy_thread_follows_its_strategy(
    http: httpx.AsyncClient, thread: str
) -> None:
    async with follow(http, thread, ["lifecycle"]) as following:
        await start(http, thread, "slow")
        await start(http, thread, "steps")
        refused = {"assistant_id": "steps", "multitask_strategy": "reject"}
        reply = await send(http, thread, {"id": 1, "method": "run.start", "params": refused})
        assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
        assert "already running" in reply["message"]
        await start(http, thread, "steps", multitask_strategy="interrupt")
        await following.ended(3)
    assert following.ends == [
        "interrupted",
        "interrupted",
        "completed",
    ]  # in the order of their claims
    ends = [data for data in following.data_of("lifecycle") if data["event"] == "interrupted"]
    assert all("error" not in data for data in ends)


async def test_a_resume_is_accepted_beside_a_deferred_run(
    http: httpx.AsyncClient, thread: str
) -> None:
    """A new run with `reject` is rejected then; a resume does not affect the deferred run."""
    interrupt_id = await run_until_interrupt(http, thread, config={"run_name": "paused"})
    later = await start(http, thread, "approval", after_seconds=600, config={"run_name": "later"})
    refused = {"assistant_id": "steps", "multitask_strategy": "reject"}
    reply = await send(http, thread, {"id": 1, "method": "run.start", "params": refused})
    assert "already running" in reply["message"]
    values = await resume_and_join(http, thread, interrupt_id=interrupt_id, response="yes")
    assert values["answer"] == "yes"
    [answered, *_] = (await http.get(f"/threads/{thread}/runs")).json()
    assert answered["kwargs"]["config"]["run_name"] == "paused"
    assert (await http.get(f"/threads/{thread}/runs/{later}")).json()["status"] == "pending"
    await http.post(f"/threads/{thread}/runs/{later}/cancel")


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("run.start", {"assistant_id": "steps", "input": {}}),
        ("input.respond", {"interrupt_id": "x", "response": 1}),
        ("input.respond", {"responses": [{"interrupt_id": "x", "response": 1}]}),
        ("agent.getTree", {}),
    ],
)
async def test_an_unknown_param_is_named(
    http: httpx.AsyncClient, thread: str, method: str, params: dict[str, Any]
) -> None:
    for name in ("nonsense", "Input", "", "stream_mode", "streamMode", "on_disconnect"):
        body = {"id": 2, "method": method, "params": {**params, name: "x"}}
        reply = await send(http, thread, body)
        assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
        assert reply["message"].startswith(f"{name}: unknown param; known are ")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize(
    ("params", "recorded"),
    [
        ({"multitaskStrategy": "rollback"}, {"multitask_strategy": "rollback"}),
        ({"multitask_strategy": "rollback", "multitaskStrategy": "rollback"}, {"multitask_strategy": "rollback"}),
        ({"multitask_strategy": None, "multitaskStrategy": "rollback"}, {"multitask_strategy": "rollback"}),
        ({"interruptBefore": ["step"]}, {"interrupt_before": ["step"]}),
        ({"interrupt_after": "*"}, {"interrupt_after": "*"}),
        ({"strictResume": True}, {"strict_resume": True}),
        ({"feedbackKeys": ["k"]}, {"feedback_keys": ["k"]}),
        ({"forkFrom": FORK}, {"checkpoint_id": FORK}),
        ({"forkFrom": {"checkpointId": FORK}}, {"checkpoint_id": FORK}),
        ({"forkFrom": None, "checkpointId": FORK}, {"checkpoint_id": FORK}),
        ({"config": {"configurable": {"checkpoint_id": FORK}}}, {"checkpoint_id": FORK}),
    ],
)  # fmt: skip
async def test_camel_case_params_are_accepted(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], recorded: dict[str, Any]
) -> None:
    run = await start(http, thread, "steps", **params)
    record = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    kwargs = record["kwargs"]
    stored = {**kwargs, **kwargs["config"]["configurable"], **record}
    assert {name: stored[name] for name in recorded} == recorded
    await http.get(f"/threads/{thread}/runs/{run}/join")


@pytest.mark.parametrize(
    ("params", "problem"),
    [
        ({"multitask_strategy": "reject", "multitaskStrategy": "enqueue"}, "multitask_strategy, multitaskStrategy"),
        ({"multitaskStrategy": "nonsense"}, "multitask_strategy"),
        ({"forkFrom": 7}, "fork_from"),
        ({"forkFrom": {}}, "fork_from"),
        ({"forkFrom": ""}, "fork_from"),
    ],
)  # fmt: skip
async def test_contradicting_spellings_and_invalid_values_are_rejected(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], problem: str
) -> None:
    body = {"id": 2, "method": "run.start", "params": {"assistant_id": "steps", **params}}
    reply = await send(http, thread, body)
    assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
    assert problem in reply["message"]


async def test_if_not_exists_rejects_an_unknown_thread(http: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    params = {"assistant_id": "steps", "ifNotExists": "reject"}
    reply = await send(http, thread, {"id": 2, "method": "run.start", "params": params})
    assert (reply["type"], reply["error"]) == ("error", "unknown_error")
    assert "not found" in reply["message"]


@pytest.mark.parametrize("answer", ["yes", 0, False, "", ["a"], {"decision": "approve"}])
async def test_the_input_of_run_start_resumes_a_single_interrupt(
    http: httpx.AsyncClient, thread: str, answer: Any
) -> None:
    await run_until_interrupt(http, thread)
    run = await start(http, thread, "approval", input=answer)
    await http.get(f"/threads/{thread}/runs/{run}/join")
    values = (await state(http, thread))["values"]
    assert (values["answer"], values["log"]) == (answer, ["before", "ask", "after"])


async def test_the_input_of_run_start_resumes_by_ids(http: httpx.AsyncClient, thread: str) -> None:
    interrupt_ids = await run_until_interrupt(http, thread)
    run = await start(http, thread, "approval", input={interrupt_ids: {"a": 1}})
    await http.get(f"/threads/{thread}/runs/{run}/join")
    assert (await state(http, thread))["values"]["answer"] == {"a": 1}


async def test_an_input_without_an_interrupt_or_at_a_checkpoint_is_an_input(
    http: httpx.AsyncClient, thread: str
) -> None:
    await run_until_interrupt(http, thread)
    history = (await http.get(f"/threads/{thread}/history")).json()
    first = history[-1]["checkpoint"]["checkpoint_id"]
    for position in ({"forkFrom": first}, {"config": {"configurable": {"checkpoint_id": first}}}):
        run = await start(http, thread, "approval", input={"topic": "other"}, **position)
        await http.get(f"/threads/{thread}/runs/{run}/join")
        recorded = (await http.get(f"/threads/{thread}/runs/{run}")).json()
        assert recorded["kwargs"]["command"] is None
        assert (await state(http, thread))["values"]["topic"] == "other"


async def test_one_value_for_several_interrupts_is_rejected(
    web: httpx.AsyncClient, thread: str
) -> None:
    async with follow(web, thread, ["lifecycle", "input"]) as following:
        await start(web, thread, "questions", input={})
        await following.ended()
        interrupt_ids = [each["interrupt_id"] for each in following.data_of("input.requested")]
    assert len(interrupt_ids) > 1
    for value in ("yes", {"answer": 1}, {interrupt_ids[0]: 1, "x": 2}):
        params = {"assistant_id": "questions", "input": value}
        reply = await send(web, thread, {"id": 2, "method": "run.start", "params": params})
        assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
        assert f"waits for {len(interrupt_ids)} answers" in reply["message"]
    params = {"assistant_id": "questions", "input": {"0" * 32: 1}}
    reply = await send(web, thread, {"id": 2, "method": "run.start", "params": params})
    assert (reply["type"], reply["error"]) == ("error", "no_such_interrupt")
    run = await start(
        web, thread, "questions", input={each: n for n, each in enumerate(interrupt_ids)}
    )
    await web.get(f"/threads/{thread}/runs/{run}/join")
    assert (await web.get(f"/threads/{thread}")).json()["status"] == "idle"


async def test_one_of_50_resuming_inputs_counts(http: httpx.AsyncClient, thread: str) -> None:
    interrupt_ids = await run_until_interrupt(http, thread)
    replies = await asyncio.gather(
        *(
            send(http, thread, {"id": 1, "method": "run.start", "params": {
                "assistant_id": "approval", "input": {interrupt_ids: number}}})
            for number in range(50)
        )
    )  # fmt: skip
    [won] = [reply for reply in replies if reply["type"] == "success"]
    assert {reply["error"] for reply in replies if reply is not won} == {"no_such_interrupt"}
    await http.get(f"/threads/{thread}/runs/{won['result']['run_id']}/join")
    assert (await state(http, thread))["values"]["answer"] == replies.index(won)


@pytest.mark.parametrize(
    ("params", "code", "problem"),
    [
        ({"input": {}}, "invalid_argument", "requires an assistant_id"),
        ({"assistant_id": ""}, "invalid_argument", "requires an assistant_id"),
        ({"assistant_id": 7}, "invalid_argument", "assistant_id"),
        ({"assistant_id": "nope"}, "invalid_argument", "nope"),
        ({"assistant_id": UNKNOWN_ID}, "unknown_error", "not found"),
        ({"assistant_id": "steps", "config": []}, "invalid_argument", "config"),
        ({"assistant_id": "steps", "metadata": "x"}, "invalid_argument", "metadata"),
        ({"assistant_id": "steps", "langsmith_tracer": {"example_id": "x"}}, "invalid_argument", "example_id"),
        ({"assistant_id": "steps", "webhook": "ftp://x"}, "invalid_argument", "webhook"),
    ],
)  # fmt: skip
async def test_an_invalid_run_start_is_rejected(
    http: httpx.AsyncClient, params: dict[str, Any], code: str, problem: str
) -> None:
    thread = str(uuid.uuid4())
    reply = await send(http, thread, {"id": 3, "method": "run.start", "params": params})
    assert (reply["type"], reply["id"], reply["error"]) == ("error", 3, code)
    assert problem in reply["message"]
    assert (await http.get(f"/threads/{thread}")).status_code == 404


# ── agent.getTree ───────────────────────────────────────────────────────────────────────────


@covers(GetTree, "run_id")
async def test_subgraph_get_returns_the_namespaces(http: httpx.AsyncClient, thread: str) -> None:
    async with follow(http, thread, ["lifecycle"]) as following:
        first = await start(http, thread, "nested", input={"text": "x"})
        await start(http, thread, "boom")
        await following.ended(2)
    tree = (await command(http, thread, "agent.getTree", run_id=first))["tree"]
    [child] = tree.pop("children")
    assert tree == {"namespace": [], "status": "completed", "graph_name": "nested"}
    [segment] = child.pop("namespace")
    assert segment.startswith("child:")
    assert child == {"status": "completed", "graph_name": "child"}
    newest = (await command(http, thread, "agent.getTree"))["tree"]
    assert newest == {"namespace": [], "status": "failed", "graph_name": "boom"}
    waits = (
        await http.post(
            f"/threads/{thread}/runs", json={"assistant_id": "steps", "after_seconds": 99}
        )
    ).json()
    assert (await command(http, thread, "agent.getTree"))["tree"]["status"] == "started"
    await http.post(f"/threads/{thread}/runs/{waits['run_id']}/cancel")
    for position, params in ((thread, {"run_id": UNKNOWN_ID}), (UNKNOWN_ID, {})):
        reply = await send(http, position, {"id": 3, "method": "agent.getTree", "params": params})
        assert (reply["type"], reply["error"]) == ("error", "no_such_run")


# ── Envelopes ───────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "body",
    [
        {"method": "run.start"}, {"id": 1}, {"id": "a", "method": "run.start"}, {"id": True, "method": "x"},
        {"id": -1, "method": "x"}, {"id": 1, "method": 7}, {"id": 1, "method": "x", "params": []}, [], "x",
        {"id": 1.5, "method": "x"},
    ],
)  # fmt: skip
async def test_an_invalid_command_is_rejected(
    http: httpx.AsyncClient, thread: str, body: Any
) -> None:
    reply = await send(http, thread, body, 400)
    assert reply == {
        "type": "error",
        "id": body.get("id") if isinstance(body, dict) else None,
        "error": "invalid_argument",
        "message": "Protocol commands must include an integer id and string method.",
    }


async def test_unknown_and_unsupported_commands_are_rejected(
    http: httpx.AsyncClient, thread: str
) -> None:
    for method, code in (
        ("nope", "unknown_command"), ("run.cancel", "unknown_command"), ("", "unknown_command"),
        ("subscription.subscribe", "unknown_command"),
        ("state.get", "not_supported"), ("state.fork", "not_supported"),
        ("state.listCheckpoints", "not_supported"), ("input.inject", "not_supported"),
    ):  # fmt: skip
        reply = await send(http, thread, {"id": 9, "method": method, "params": {}})
        assert (reply["type"], reply["id"], reply["error"]) == ("error", 9, code)
        assert method in reply["message"]


async def test_a_body_that_is_no_json_and_an_invalid_thread_are_rejected(
    http: httpx.AsyncClient,
) -> None:
    response = await http.post(f"/threads/{UNKNOWN_ID}/commands", content=b"{")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Invalid JSON body")
    response = await http.post("/threads/zzz/commands", json={"id": 1, "method": "run.start"})
    assert response.status_code == 422


def test_every_field_is_tested() -> None:
    for model in (ProtocolCommand, GetTree):
        assert COVERED_FIELDS[model] == set(model.model_fields), model
