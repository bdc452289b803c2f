"""The commands of the event streaming protocol: what each does, and how it is refused."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID
from api.thread_state import SHOWN_BY, shows, state
from harness.event_stream import command, follow, send, start
from millstream.api.protocol.schemas import Answer, GetTree, InputRespond, ProtocolCommand
from millstream.shared.wire import UNMERGED

FORK = (
    "1ef00000-0000-6000-8000-000000000000"  # a checkpoint that is nowhere: a run begins anew there
)
ASKS = {"input": {"topic": "deploy"}}


async def paused(http: httpx.AsyncClient, thread: str, **params: Any) -> str:
    """Has `approval` run until it asks; returns the interrupt's id."""
    async with follow(http, thread, ["lifecycle", "input"]) as following:
        await start(http, thread, "approval", **ASKS, **params)
        await following.ended()
        assert following.lifecycle[-1] == "interrupted"
        [asked] = following.data_of("input.requested")[-1:]
    assert asked == {
        "interrupt_id": asked["interrupt_id"],
        "payload": {"question": "approve deploy?"},
        "value": {"question": "approve deploy?"},
    }
    return str(asked["interrupt_id"])


async def goes_on(http: httpx.AsyncClient, thread: str, **params: Any) -> dict[str, Any]:
    """Answers, and waits for the end; returns the thread's values."""
    run = (await command(http, thread, "input.respond", **params))["run_id"]
    await http.get(f"/threads/{thread}/runs/{run}/join")
    return dict((await state(http, thread))["values"])


# ── run.start ───────────────────────────────────────────────────────────────────────────────


@shows(ProtocolCommand, "id", "method", "params")
async def test_a_run_on_a_thread_that_is_made_for_it(http: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    run = await start(http, thread, "steps", config={"configurable": {"n": 1}}, metadata={"a": 1})
    assert (await http.get(f"/threads/{thread}/runs/{run}/join")).json() == {"items": [0]}
    shown = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    assert shown["metadata"]["a"] == 1
    assert shown["kwargs"]["stream_mode"] == [
        "values", "updates", "messages", "tools", "lifecycle", "custom", "tasks", "checkpoints",
    ]  # fmt: skip
    assert (shown["kwargs"]["subgraphs"], shown["kwargs"]["resumable"]) == (True, True)


async def test_a_run_on_a_busy_thread_waits_or_does_as_it_is_told(
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
    ]  # in the order of their turns
    ends = [told for told in following.data_of("lifecycle") if told["event"] == "interrupted"]
    assert all("error" not in told for told in ends)


async def test_an_answer_is_taken_while_a_run_is_due_later(
    http: httpx.AsyncClient, thread: str
) -> None:
    """A new run that asks to be alone is refused then; an answer takes nothing from the other."""
    interrupt_id = await paused(http, thread, config={"run_name": "paused"})
    later = await start(http, thread, "approval", after_seconds=600, config={"run_name": "later"})
    refused = {"assistant_id": "steps", "multitask_strategy": "reject"}
    reply = await send(http, thread, {"id": 1, "method": "run.start", "params": refused})
    assert "already running" in reply["message"]
    values = await goes_on(http, thread, interrupt_id=interrupt_id, response="yes")
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
async def test_a_param_that_is_not_known_is_named(
    http: httpx.AsyncClient, thread: str, method: str, params: dict[str, Any]
) -> None:
    for name in ("nonsense", "Input", "", "stream_mode", "streamMode", "on_disconnect"):
        body = {"id": 2, "method": method, "params": {**params, name: "x"}}
        reply = await send(http, thread, body)
        assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
        assert reply["message"].startswith(f"{name}: unknown param; known are ")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize(
    ("params", "shown"),
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
async def test_a_param_in_the_spelling_of_the_npm_sdk(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], shown: dict[str, Any]
) -> None:
    run = await start(http, thread, "steps", **params)
    record = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    kwargs = record["kwargs"]
    found = {**kwargs, **kwargs["config"]["configurable"], **record}
    assert {name: found[name] for name in shown} == shown
    await http.get(f"/threads/{thread}/runs/{run}/join")


@pytest.mark.parametrize(
    ("params", "word"),
    [
        ({"multitask_strategy": "reject", "multitaskStrategy": "enqueue"}, "multitask_strategy, multitaskStrategy"),
        ({"multitaskStrategy": "nonsense"}, "multitask_strategy"),
        ({"forkFrom": 7}, "fork_from"),
        ({"forkFrom": {}}, "fork_from"),
        ({"forkFrom": ""}, "fork_from"),
    ],
)  # fmt: skip
async def test_spellings_that_disagree_and_values_that_are_none(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], word: str
) -> None:
    body = {"id": 2, "method": "run.start", "params": {"assistant_id": "steps", **params}}
    reply = await send(http, thread, body)
    assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
    assert word in reply["message"]


async def test_a_thread_that_is_not_there_may_be_refused(http: httpx.AsyncClient) -> None:
    thread = str(uuid.uuid4())
    params = {"assistant_id": "steps", "ifNotExists": "reject"}
    reply = await send(http, thread, {"id": 2, "method": "run.start", "params": params})
    assert (reply["type"], reply["error"]) == ("error", "unknown_error")
    assert "not found" in reply["message"]


@pytest.mark.parametrize("answer", ["yes", 0, False, "", ["a"], {"decision": "approve"}])
async def test_the_input_of_a_run_answers_the_one_question_that_waits(
    http: httpx.AsyncClient, thread: str, answer: Any
) -> None:
    await paused(http, thread)
    run = await start(http, thread, "approval", input=answer)
    await http.get(f"/threads/{thread}/runs/{run}/join")
    values = (await state(http, thread))["values"]
    assert (values["answer"], values["log"]) == (answer, ["before", "ask", "after"])


async def test_the_input_of_a_run_answers_by_ids(http: httpx.AsyncClient, thread: str) -> None:
    asked = await paused(http, thread)
    run = await start(http, thread, "approval", input={asked: {"a": 1}})
    await http.get(f"/threads/{thread}/runs/{run}/join")
    assert (await state(http, thread))["values"]["answer"] == {"a": 1}


async def test_an_input_without_a_question_or_at_a_checkpoint_is_an_input(
    http: httpx.AsyncClient, thread: str
) -> None:
    await paused(http, thread)
    history = (await http.get(f"/threads/{thread}/history")).json()
    first = history[-1]["checkpoint"]["checkpoint_id"]
    for place in ({"forkFrom": first}, {"config": {"configurable": {"checkpoint_id": first}}}):
        run = await start(http, thread, "approval", input={"topic": "other"}, **place)
        await http.get(f"/threads/{thread}/runs/{run}/join")
        shown = (await http.get(f"/threads/{thread}/runs/{run}")).json()
        assert shown["kwargs"]["command"] is None
        assert (await state(http, thread))["values"]["topic"] == "other"


async def test_one_answer_for_several_questions_is_refused(
    web: httpx.AsyncClient, thread: str
) -> None:
    async with follow(web, thread, ["lifecycle", "input"]) as following:
        await start(web, thread, "questions", input={})
        await following.ended()
        asked = [each["interrupt_id"] for each in following.data_of("input.requested")]
    assert len(asked) > 1
    for value in ("yes", {"answer": 1}, {asked[0]: 1, "x": 2}):
        params = {"assistant_id": "questions", "input": value}
        reply = await send(web, thread, {"id": 2, "method": "run.start", "params": params})
        assert (reply["type"], reply["error"]) == ("error", "invalid_argument")
        assert f"waits for {len(asked)} answers" in reply["message"]
    params = {"assistant_id": "questions", "input": {"0" * 32: 1}}
    reply = await send(web, thread, {"id": 2, "method": "run.start", "params": params})
    assert (reply["type"], reply["error"]) == ("error", "no_such_interrupt")
    run = await start(web, thread, "questions", input={each: n for n, each in enumerate(asked)})
    await web.get(f"/threads/{thread}/runs/{run}/join")
    assert (await web.get(f"/threads/{thread}")).json()["status"] == "idle"


async def test_of_50_inputs_that_answer_one_counts(http: httpx.AsyncClient, thread: str) -> None:
    asked = await paused(http, thread)
    replies = await asyncio.gather(
        *(
            send(http, thread, {"id": 1, "method": "run.start", "params": {
                "assistant_id": "approval", "input": {asked: number}}})
            for number in range(50)
        )
    )  # fmt: skip
    [won] = [reply for reply in replies if reply["type"] == "success"]
    assert {reply["error"] for reply in replies if reply is not won} == {"no_such_interrupt"}
    await http.get(f"/threads/{thread}/runs/{won['result']['run_id']}/join")
    assert (await state(http, thread))["values"]["answer"] == replies.index(won)


@pytest.mark.parametrize(
    ("params", "code", "word"),
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
async def test_a_run_that_can_not_be_started(
    http: httpx.AsyncClient, params: dict[str, Any], code: str, word: str
) -> None:
    thread = str(uuid.uuid4())
    reply = await send(http, thread, {"id": 3, "method": "run.start", "params": params})
    assert (reply["type"], reply["id"], reply["error"]) == ("error", 3, code)
    assert word in reply["message"]
    assert (await http.get(f"/threads/{thread}")).status_code == 404


# ── input.respond ───────────────────────────────────────────────────────────────────────────


@shows(Answer, "interrupt_id", "response", "namespace")
async def test_an_answer_has_the_run_go_on(http: httpx.AsyncClient, thread: str) -> None:
    asked = await paused(http, thread)
    values = await goes_on(
        http, thread, interrupt_id=asked, namespace=[], response={"approved": True}
    )
    assert values["log"] == ["before", "ask", "after"]
    assert values["answer"] == {"approved": True}
    again = {"interrupt_id": asked, "response": 1, "namespace": []}
    reply = await send(http, thread, {"id": 1, "method": "input.respond", "params": again})
    assert reply == {
        "type": "error", "id": 1, "error": "no_such_interrupt",
        "message": f"Unknown or already-consumed interrupt: {asked}",
    }  # fmt: skip


@shows(InputRespond, "responses", "update", "goto", "config", "metadata", "strict_resume")
async def test_answers_with_what_to_do_beside(http: httpx.AsyncClient, thread: str) -> None:
    asked = await paused(http, thread)
    answers: list[Any] = [{"interrupt_id": asked, "namespace": [], "response": None}]
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
    shown = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    assert shown["metadata"]["m"] == 1
    assert shown["kwargs"]["config"]["tags"] == ["t"]
    assert shown["kwargs"]["command"]["goto"] == {"node": "after"}
    assert shown["kwargs"]["strict_resume"] is True


async def test_the_run_goes_on_as_it_was_configured(http: httpx.AsyncClient, thread: str) -> None:
    plain = {"tags": ["t"], "recursion_limit": 7, "max_concurrency": 2, "run_name": "named"}
    config = {"configurable": {"model": "x", "level": 1}, **plain}
    asked = await paused(http, thread, config=config, metadata={"first": True})
    run = (
        await command(
            http, thread, "input.respond",
            interrupt_id=asked, response=1, config={"configurable": {"level": 2}},
        )
    )["run_id"]  # fmt: skip
    shown = (await http.get(f"/threads/{thread}/runs/{run}")).json()
    configurable = shown["kwargs"]["config"]["configurable"]
    assert (configurable["model"], configurable["level"]) == ("x", 2)
    assert configurable["run_id"] == run
    assert {name: shown["kwargs"]["config"][name] for name in UNMERGED} == plain
    assert "first" not in shown["metadata"]


async def test_of_50_answers_one_counts(http: httpx.AsyncClient, thread: str) -> None:
    asked = await paused(http, thread)
    body = {"id": 1, "method": "input.respond"}
    replies = await asyncio.gather(
        *(
            send(http, thread, body | {"params": {"interrupt_id": asked, "response": number}})
            for number in range(50)
        )
    )
    [won] = [reply for reply in replies if reply["type"] == "success"]
    assert {reply["error"] for reply in replies if reply is not won} == {"no_such_interrupt"}
    await http.get(f"/threads/{thread}/runs/{won['result']['run_id']}/join")
    assert (await state(http, thread))["values"]["answer"] == replies.index(won)
    assert len((await http.get(f"/threads/{thread}/runs")).json()) == 2


@pytest.mark.parametrize(
    ("params", "code", "word"),
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
async def test_answers_that_are_none(
    http: httpx.AsyncClient, thread: str, params: dict[str, Any], code: str, word: str
) -> None:
    for place in (thread, str(uuid.uuid4())):
        reply = await send(http, place, {"id": 3, "method": "input.respond", "params": params})
        assert (reply["type"], reply["error"]) == ("error", code)
        assert word in reply["message"]


# ── agent.getTree ───────────────────────────────────────────────────────────────────────────


@shows(GetTree, "run_id")
async def test_the_graphs_of_a_run(http: httpx.AsyncClient, thread: str) -> None:
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
    for place, params in ((thread, {"run_id": UNKNOWN_ID}), (UNKNOWN_ID, {})):
        reply = await send(http, place, {"id": 3, "method": "agent.getTree", "params": params})
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
async def test_what_is_no_command(http: httpx.AsyncClient, thread: str, body: Any) -> None:
    reply = await send(http, thread, body, 400)
    assert reply == {
        "type": "error",
        "id": body.get("id") if isinstance(body, dict) else None,
        "error": "invalid_argument",
        "message": "Protocol commands must include an integer id and string method.",
    }


async def test_unknown_commands_and_those_that_are_not_supported(
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


async def test_a_body_that_is_no_json_and_a_thread_that_is_none(http: httpx.AsyncClient) -> None:
    response = await http.post(f"/threads/{UNKNOWN_ID}/commands", content=b"{")
    assert response.status_code == 400
    assert response.json()["detail"].startswith("Invalid JSON body")
    response = await http.post("/threads/zzz/commands", json={"id": 1, "method": "run.start"})
    assert response.status_code == 422


def test_every_field_is_shown() -> None:
    for model in (ProtocolCommand, Answer, InputRespond, GetTree):
        assert SHOWN_BY[model] == set(model.model_fields), model
