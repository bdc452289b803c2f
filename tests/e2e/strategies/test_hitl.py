"""Human in the loop: interrupts, resumes, commands and breakpoints."""

from typing import Any

import pytest

from e2e.strategies.client import Client


async def open_questions(client: Client, thread: str) -> dict[str, Any]:
    """Returns the open interrupts in the thread's record: id → question."""
    record = await client.thread_record(thread)
    assert record["status"] == "interrupted"
    listed = [i for of_task in record["interrupts"].values() for i in of_task]
    state = await client.state(thread)
    assert {i["id"] for i in state["interrupts"]} == {i["id"] for i in listed}
    return {i["id"]: i["value"]["question"] for i in listed}


async def test_two_interrupts_are_resumed_one_by_one(client: Client) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "questions", stream_mode=["values", "updates"])
    assert await run.ended() == "success"
    questions = await open_questions(client, thread)
    assert sorted(questions.values()) == ["one", "two"]

    [first, second] = questions
    answer = await client.wait(thread, "questions", command={"resume": {first: "A"}})
    assert [i["id"] for i in answer["__interrupt__"]] == [second]
    assert list(await open_questions(client, thread)) == [second]

    answer = await client.wait(thread, "questions", command={"resume": {second: "B"}})
    expected = sorted(f"{questions[i]}={reply}" for i, reply in ((first, "A"), (second, "B")))
    assert sorted(answer["items"][:2]) == expected
    assert answer["items"][2:] == ["slowly"]
    record = await client.thread_record(thread)
    assert (record["status"], record["interrupts"]) == ("idle", {})
    listed = (await client.http.get(f"/threads/{thread}/runs")).json()
    assert {r["status"] for r in listed} == {"success"}


async def test_two_interrupts_are_resumed_together(client: Client) -> None:
    thread = await client.thread()
    await client.wait(thread, "questions")
    answers = {
        i: question.upper() for i, question in (await open_questions(client, thread)).items()
    }
    answer = await client.wait(thread, "questions", command={"resume": answers})
    assert answer["items"] == ["one=ONE", "two=TWO", "slowly"]


async def test_an_interrupt_in_a_subgraph_is_resumed(client: Client) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "inside", stream_subgraphs=True)
    assert await run.ended() == "success"
    assert list((await open_questions(client, thread)).values()) == ["inside"]
    state = await client.state(thread)
    [task] = state["tasks"]
    assert task["name"] == "inner"
    assert task["state"]["next"] == ["ask"]
    answer = await client.wait(thread, "inside", command={"resume": "yes"})
    assert answer["items"][-3:] == ["inside=yes", "slowly", "after"]
    assert (await client.thread_record(thread))["status"] == "idle"


async def test_a_new_input_restarts_an_interrupted_graph(client: Client) -> None:
    thread = await client.thread()
    await client.wait(thread, "questions")
    old = await open_questions(client, thread)
    await client.wait(thread, "questions", left=5)
    new = await open_questions(client, thread)
    assert set(new).isdisjoint(old) or sorted(new.values()) == ["one", "two"]
    assert (await client.state(thread))["values"]["left"] == 5


@pytest.mark.parametrize(
    ("command", "items"),
    [
        ({"goto": "red"}, {"red1"}),
        ({"goto": ["red", "blue"]}, {"red1", "blue1"}),
        ({"goto": {"node": "blue", "input": {"left": 7}}}, {"blue7"}),
        ({"goto": ["red", {"node": "blue", "input": {"left": 7}}]}, {"red1", "blue7"}),
        ({"goto": "red", "update": {"left": 4}}, {"red4"}),
        ({"goto": "red", "update": [["left", 5]]}, {"red5"}),
        ({"goto": "red", "resume": None, "update": None}, {"red1"}),
    ],
)
async def test_goto_continues_at_the_named_nodes(
    client: Client, command: dict[str, Any], items: set[str]
) -> None:
    thread = await client.thread()
    await client.wait(thread, "rooms", left=1)
    answer = await client.wait(thread, "rooms", command=command)
    assert answer["items"][0] == "hall1"
    assert set(answer["items"][1:]) == items


async def test_a_command_resumes_and_updates_together(client: Client) -> None:
    thread = await client.thread()
    await client.wait(thread, "questions", left=1)
    resume = dict.fromkeys(await open_questions(client, thread), "yes")
    command = {"resume": resume, "update": {"left": 9}}
    answer = await client.wait(thread, "questions", command=command)
    assert (answer["left"], answer["items"]) == (9, ["one=yes", "two=yes", "slowly"])


@pytest.mark.parametrize(
    ("command", "status"),
    [({}, 200), ({"resume": "x", "input": {}}, 200), ({"resumes": "x"}, 422), ({"input": {}}, 422)],
)
async def test_an_empty_command_is_allowed_and_unknown_fields_are_422(
    client: Client, command: dict[str, Any], status: int
) -> None:
    thread = await client.thread()
    body = {"assistant_id": "rooms", "command": command}
    answer = await client.http.post(f"/threads/{thread}/runs/wait", json=body)
    assert answer.status_code == status


@pytest.mark.parametrize("where", ["interrupt_before", "interrupt_after"])
async def test_a_breakpoint_pauses_and_null_input_continues(client: Client, where: str) -> None:
    thread = await client.thread()
    run = await client.stream(thread, "nested", **{where: ["inner"]})
    assert await run.ended() == "success"
    record = await client.thread_record(thread)
    assert (record["status"], record["interrupts"]) == ("interrupted", {})
    expected = ["inner"] if where == "interrupt_before" else ["after"]
    assert (await client.state(thread))["next"] == expected
    answer = await client.wait(thread, "nested", input=None)
    assert answer["items"] == ["before", "before", "1", "after"]
    assert (await client.thread_record(thread))["status"] == "idle"


async def test_a_breakpoint_at_every_node_pauses_before_each(client: Client) -> None:
    """`*` pauses before each node; a null input continues to the next."""
    thread = await client.thread()
    await client.wait(thread, "nested", interrupt_before="*")
    seen = []
    while (state := await client.state(thread))["next"]:
        seen.append(state["next"])
        assert (await client.thread_record(thread))["status"] == "interrupted"
        await client.wait(thread, "nested", input=None, interrupt_before="*")
        assert len(seen) < 20
    assert [names for names in seen if names != ["inner"]] == [["before"], ["after"]]
    assert (await client.thread_record(thread))["status"] == "idle"
