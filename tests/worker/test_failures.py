"""Errors of failed runs, for clients and in the log: one row for each kind of failure."""

import json
import re
from typing import Any

import httpx
import pytest
from langgraph.checkpoint.memory import InMemorySaver

from golden.normalise import parse_sse
from graphs.failing import UNSTORABLE, keeps
from harness.processes import Process
from harness.redis_modules import require_modules
from harness.waiting import until
from millstream.worker.checkpoints.external import ShieldedSaver
from millstream.worker.checkpoints.unstorable import UnstorableError

LINE = r"line \d+ of failing\.py"
AT = rf"\(node 'bad', {LINE}\)"

# how → the error's type and message (a full match)
RAISED = {
    "plain": ("ValueError", "broken"),
    "empty": ("ValueError", rf"ValueError was raised without a message {AT}"),
    "key": ("KeyError", rf"there is no key 'x' {AT}"),
    "key_sentence": ("KeyError", "user not found"),
    "assertion": ("AssertionError", rf"AssertionError was raised without a message {AT}"),
    "timeout": ("TimeoutError", rf"TimeoutError was raised without a message {AT}"),
    "speechless": ("Speechless", rf"Speechless was raised, and its message can't be read {AT}"),
    "huge": ("ValueError", r"x{100000}… \(3000000 characters\)"),
    "controls": ("ValueError", r"\\x1b\[31mred\\x00\\x07"),
    "surrogate": ("ValueError", "a\ufffdb"),
    "group": ("ValueError", "401 Unauthorized"),
    "groups": ("ValueError", r"401 Unauthorized \(and another error: TypeError: b\)"),
    "same_twice": ("ValueError", "same"),
    "chained": ("RuntimeError", "the plan was not saved"),
    "pydantic": (
        "ValidationError",
        r"2 validation errors for Person\nname\n  Field required [^\n]*\nage\n  Input should be [^\n]*",
    ),
    "particular": ("Particular", r"Error code: 401 - \{'error': \{'message': 'bad key'\}\}"),
    "recursion": ("RecursionError", rf"maximum recursion depth exceeded.* {AT}"),
    "memory": ("MemoryError", rf"MemoryError was raised without a message {AT}"),
    "thread": ("ValueError", "from a thread"),
    "exit": ("SystemExit", r"sys\.exit\(3\) was called \(.*failing\.py\)"),
}


async def run(
    http: httpx.AsyncClient, graph: str, graph_input: Any, **request: Any
) -> tuple[str, list[tuple[str, Any]]]:
    """Returns the thread of a run, and its events."""
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    body = {"assistant_id": graph, "input": graph_input, **request}
    answer = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert answer.status_code == 200, answer.text
    return thread, parse_sse(answer.text)


def errors(events: list[tuple[str, Any]]) -> list[dict[str, str]]:
    return [data for name, data in events if name == "error"]


@pytest.mark.parametrize("how", RAISED)
async def test_an_exception_in_a_node_is_an_error_event(
    failing: httpx.AsyncClient, how: str
) -> None:
    kind, message = RAISED[how]
    thread, events = await run(failing, "raises", {"how": how})
    [failure] = errors(events)
    assert failure.keys() == {"error", "message"}
    assert failure["error"] == kind
    assert re.fullmatch(message, failure["message"]), failure["message"][:500]
    record = (await failing.get(f"/threads/{thread}")).json()
    assert record["status"] == "error"
    assert record["error"] == failure
    state = await failing.get(f"/threads/{thread}/state")
    assert state.status_code == 200
    assert state.json()["next"] == ["bad"]


async def test_wait_returns_the_same_error(failing: httpx.AsyncClient) -> None:
    body = {"assistant_id": "raises", "input": {"how": "groups"}}
    answer = (await failing.post("/runs/wait", json=body)).json()
    message = "401 Unauthorized (and another error: TypeError: b)"
    assert answer == {"__error__": {"error": "ValueError", "message": message}}


async def test_a_node_of_a_subgraph_is_named_with_its_graph(failing: httpx.AsyncClient) -> None:
    _, events = await run(failing, "raises_inside", {"how": "empty"})
    assert "(node 'bad' of subgraph 'inner', line " in errors(events)[0]["message"]


@pytest.mark.parametrize(
    ("where", "message"),
    [("edge", "the edge is broken"), ("reducer", "the reducer is broken"), ("send", "broken")],
)
async def test_an_exception_outside_of_nodes_is_an_error_event(
    failing: httpx.AsyncClient, where: str, message: str
) -> None:
    _, events = await run(failing, "wide", {"where": where, "reduced": "as it was"})
    assert errors(events) == [{"error": "ValueError", "message": message}]


async def test_the_recursion_error_names_the_field_of_the_limit(
    failing: httpx.AsyncClient,
) -> None:
    _, events = await run(failing, "endless", {}, config={"recursion_limit": 5})
    [failure] = errors(events)
    assert failure["error"] == "GraphRecursionError"
    assert "limit of 5 reached" in failure["message"]
    assert "config.recursion_limit" in failure["message"]


async def test_a_failing_factory_is_reported_with_its_line(failing: httpx.AsyncClient) -> None:
    _, events = await run(failing, "unmade", {})
    [failure] = errors(events)
    assert re.fullmatch(rf"there is no key 'model' \({LINE}\)", failure["message"])


@pytest.mark.parametrize(
    "mode",
    ["values", "updates", "messages-tuple", "custom", "tasks", "debug", "checkpoints", "events"],
)
async def test_a_retried_node_is_no_error(failing: httpx.AsyncClient, mode: str) -> None:
    _, events = await run(failing, "tried", {}, stream_mode=[mode])
    assert errors(events) == []
    assert events[-1] == ("end", {"status": "success"})
    assert "not yet" not in str(events) or mode == "events"  # which has an event for each try


# ── What a checkpoint can't hold ────────────────────────────────────────────────────────────

# what → its path, and its description
UNSTORABLE_ERRORS = {
    "integer": ("v.balance (channel 'v', node 'bad')", "is an integer beyond 64 bits"),
    "bare_integer": ("v (node 'bad')", "is an integer beyond 64 bits"),
    "lambda": ("v.f[0] (channel 'v', node 'bad')", "is a function, which has no serialised form"),
    "lock": ("v (node 'bad')", "is a _thread.lock, which has no serialised form"),
    "generator": ("v.g (channel 'v', node 'bad')", "is a generator"),
    "socket": ("v (node 'bad')", "is a socket.socket"),
    "circular": ("v[0].again (channel 'v', node 'bad')", "contains itself"),
    "deep": ("v.k.k.k", "is nested too deep"),
    "key": ("v.keys (channel 'v', node 'bad')", "has a key that can't be stored"),
    "object_key": ("v (node 'bad')", "has a key that can't be stored"),
    "surrogate_key": ("v (node 'bad')", "has a key that can't be stored"),
    "class": ("v.c (channel 'v', node 'bad')", "is a class"),
    "in_a_model": ("v.age (channel 'v', node 'bad')", "is an integer beyond 64 bits"),
    "in_a_set": ("v{…} (channel 'v', node 'bad')", "is an integer beyond 64 bits"),
}


async def check_stored_error(http: httpx.AsyncClient, thread: str, failure: dict[str, str]) -> None:
    """Fails unless the thread has the state of its last checkpoint, and can run again."""
    record = (await http.get(f"/threads/{thread}")).json()
    assert (record["status"], record["error"]) == ("error", failure)
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["next"] == ["bad"], state
    assert state["values"]["log"] == ["good"]
    assert "v" not in state["values"]
    assert (await http.get(f"/threads/{thread}/history")).status_code == 200


def test_each_unstorable_type_is_named() -> None:
    assert UNSTORABLE_ERRORS.keys() == UNSTORABLE.keys()


@pytest.mark.parametrize("what", UNSTORABLE_ERRORS)
async def test_an_unstorable_value_is_named_with_its_path(
    failing: httpx.AsyncClient, what: str
) -> None:
    position, kind = UNSTORABLE_ERRORS[what]
    thread, events = await run(failing, "keeps", {"what": what})
    [failure] = errors(events)
    assert failure["error"] == "UnstorableError"
    assert failure["message"].startswith(f"A checkpoint can't hold {position}")
    assert kind in failure["message"]
    await check_stored_error(failing, thread, failure)


@pytest.mark.parametrize("durability", ["sync", "async", "exit"])
async def test_an_unstorable_field_is_named_for_each_durability(
    failing: httpx.AsyncClient, durability: str
) -> None:
    thread, events = await run(failing, "keeps", {"what": "integer"}, durability=durability)
    [failure] = errors(events)
    assert failure["message"].startswith("A checkpoint can't hold v.balance (channel 'v'")
    assert (await failing.get(f"/threads/{thread}/state")).status_code == 200


@pytest.mark.parametrize(
    ("where", "position"),
    [
        ("interrupt", "the value of interrupt(), ask.balance (node 'bad')"),
        ("send", "the argument of a Send to node 'after', task.balance (node 'bad')"),
        ("command", "v.balance (channel 'v', node 'bad')"),
    ],
)
async def test_an_unstorable_value_is_named_with_its_origin(
    failing: httpx.AsyncClient, where: str, position: str
) -> None:
    thread, events = await run(failing, "keeps", {"what": "integer", "where": where})
    [failure] = errors(events)
    assert failure["message"].startswith(
        f"A checkpoint can't hold {position}: 1000000000000000000000 is"
    )
    await check_stored_error(failing, thread, failure)


async def test_the_store_names_an_unstorable_value(failing: httpx.AsyncClient) -> None:
    require_modules()
    _, events = await run(failing, "keeps", {"what": "lambda", "where": "store"})
    [failure] = errors(events)
    assert failure["message"].startswith(
        "The store can't hold value.v.f[0] (item 'key' of namespace 'memories'): <function"
    )


@pytest.mark.parametrize("what", ["integer", "lambda", "circular"])
async def test_an_external_checkpointer_names_an_unstorable_value(what: str) -> None:
    shielded = ShieldedSaver(InMemorySaver())
    graph = keeps.copy(update={"checkpointer": shielded})
    with pytest.raises(UnstorableError) as raised:
        await graph.ainvoke({"what": what}, {"configurable": {"thread_id": "1"}})
    assert f"can't hold {UNSTORABLE_ERRORS[what][0]}" in str(raised.value)
    state = await graph.aget_state({"configurable": {"thread_id": "1"}})
    assert state.values["log"] == ["good"]


async def test_a_thread_is_usable_after_an_unstorable_value(failing: httpx.AsyncClient) -> None:
    thread, _ = await run(failing, "keeps", {"what": "integer"})
    body = {"assistant_id": "tried", "input": {}}
    answer = (await failing.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert answer["log"] == ["good", "try 3"]


# ── The log ─────────────────────────────────────────────────────────────────────────────────


async def test_the_log_has_the_ids_and_the_traceback_once(
    failing: httpx.AsyncClient, failing_worker: Process
) -> None:
    before = len(failing_worker.lines)
    thread, events = await run(failing, "raises_inside", {"how": "chained"})
    run_id = events[0][1]["run_id"]
    await until(lambda: any(run_id in line for line in failing_worker.lines[before:]))
    said = failing_worker.lines[before:]
    [line] = [line for line in said if run_id in line]
    assert json.loads(line)["level"] == "warning"
    for phrase in (
        thread,
        "graph 'raises_inside'",
        "attempt 1",
        "node 'bad' of subgraph 'inner'",
        "failing.py",
    ):
        assert phrase in line
    record = json.loads(line)
    text = f"{record['event']}\n{record['exception']}"
    assert said == [line]
    assert text.count("RuntimeError: the plan was not saved") == 2  # the line, and the traceback
    assert text.count("ConnectionError: the database is down") == 1
    assert "langgraph/pregel" not in text
    assert 'raise RuntimeError("the plan was not saved") from error' in text


async def test_the_log_of_an_unstorable_value_is_one_line(
    failing: httpx.AsyncClient, failing_worker: Process
) -> None:
    before = len(failing_worker.lines)
    _, events = await run(failing, "keeps", {"what": "integer"})
    run_id = events[0][1]["run_id"]
    await until(lambda: any(run_id in line for line in failing_worker.lines[before:]))
    [line] = failing_worker.lines[before:]
    assert "v.balance" in line
    assert "node 'bad'" in line
