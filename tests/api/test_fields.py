"""Every field of a run request has an effect: on the graph that runs, and on its events.

The fields for the life of a run are in test_fields_life.py, those for its events in
test_fields_stream.py. A test here checks that no field is missing.
"""

import importlib
import json
import uuid
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID
from api.run_fields import COVERED_FIELDS, covers, events
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.shared.assistants import default_assistant_id


async def probe(web: httpx.AsyncClient, thread: str, **fields: Any) -> dict[str, Any]:
    """Runs the graph `probe`. Returns the arguments that its node got."""
    response = await web.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": "probe", "input": {}, **fields}
    )
    seen = response.json()["seen"]
    assert isinstance(seen, dict)
    return seen


# ── What runs ───────────────────────────────────────────────────────────────────────────────


@covers("assistant_id")
async def test_assistant_id_is_a_name_or_an_id(http: httpx.AsyncClient) -> None:
    steps = default_assistant_id("steps")
    for name in ("steps", steps, steps.upper(), steps.replace("-", "")):
        body = {"assistant_id": name, "input": {"items": []}}
        assert (await http.post("/runs/wait", json=body)).json() == {"items": [0, 1, 2]}
        assert (await http.post("/runs", json=body)).json()["assistant_id"] == steps
    body = {"assistant_id": "custom", "input": {"items": []}}
    assert (await http.post("/runs/wait", json=body)).json() == {"items": ["emitted"]}


@covers("input")
async def test_input_reaches_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    for value in ({"question": {"deep": [1, None, "x"]}}, {"question": False}):
        body: dict[str, Any] = {"assistant_id": "probe", "input": value}
        answer = (await web.post(f"/threads/{thread}/runs/wait", json=body)).json()
        assert answer["question"] == value["question"]
    body = {"assistant_id": "steps", "input": ["no", "dict"]}
    answer = (await web.post("/runs/wait", json=body)).json()
    assert answer["__error__"]["error"] == "InvalidUpdateError"


@covers("input")
@pytest.mark.parametrize("body", [{}, {"input": None}])
async def test_without_an_input_the_thread_continues(
    web: httpx.AsyncClient, thread: str, body: dict[str, None]
) -> None:
    path = f"/threads/{thread}/runs/wait"
    stopped = {"assistant_id": "chain", "input": {"path": ["in"]}, "interrupt_after": ["a"]}
    assert (await web.post(path, json=stopped)).json()["path"] == ["in", "a"]
    answer = (await web.post(path, json={"assistant_id": "chain", **body})).json()
    assert answer["path"] == ["in", "a", "b", "c"]


@covers("command")
@pytest.mark.parametrize("answer", ["yes", False, 0, "", [], {"a": [1]}, 1.5])
async def test_command_resume_resumes(http: httpx.AsyncClient, thread: str, answer: Any) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [interrupt] = (await http.post(path, json=body)).json()["__interrupt__"]
    assert interrupt["value"] == {"question": "approve t?"}
    body = {"assistant_id": "approval", "command": {"resume": answer}}
    done = (await http.post(path, json=body)).json()
    assert done == {"topic": "t", "answer": answer, "log": ["before", "ask", "after"]}
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"


@covers("command")
async def test_command_resume_accepts_interrupt_ids(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [interrupt] = (await http.post(path, json=body)).json()["__interrupt__"]
    body = {"assistant_id": "approval", "command": {"resume": {interrupt["id"]: "mine"}}}
    assert (await http.post(path, json=body)).json()["answer"] == "mine"


@covers("strict_resume")
async def test_strict_resume_resumes_open_interrupts_or_changes_nothing(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [interrupt] = (await http.post(path, json=body)).json()["__interrupt__"]
    before = (await http.get(f"/threads/{thread}")).json()
    body = {"assistant_id": "approval", "command": {"resume": {"f" * 32: "yes"}}}
    strict = {**body, "strict_resume": True}
    refused = (await http.post(path, json=strict)).json()
    assert refused["__error__"]["error"] == "UnknownInterruptError"
    after = (await http.get(f"/threads/{thread}")).json()
    assert {**after, "updated_at": ""} == {**before, "updated_at": ""}
    assert (await http.post(path, json=body)).json()["__interrupt__"] == [interrupt]  # ignored
    strict["command"] = {"resume": {interrupt["id"]: "yes"}}
    assert (await http.post(path, json=strict)).json()["answer"] == "yes"


@covers("command")
@pytest.mark.parametrize(
    "update", [{"path": ["u"]}, [["path", ["u"]]], [["path", []], ["path", ["u"]]]]
)
async def test_command_update_updates_the_state(
    web: httpx.AsyncClient, thread: str, update: Any
) -> None:
    body = {"assistant_id": "chain", "command": {"update": update, "goto": "c"}}
    response = await web.post(f"/threads/{thread}/runs/wait", json=body)
    path = response.json()["path"]
    assert "u" in path
    assert "c" in path


@covers("command")
@pytest.mark.parametrize(
    ("goto", "nodes"),
    [
        ("c", ["c"]),
        ("b", ["b", "c"]),
        (["b", "c"], ["b", "c", "c"]),
        ({"node": "c"}, ["c"]),
        ({"node": "b", "input": {"sent": "sent"}}, ["sent", "c"]),
        ([{"node": "b", "input": {"sent": "one"}}, {"node": "b", "input": {"sent": "two"}}],
         ["one", "two", "c"]),
        (["c", {"node": "b", "input": {"sent": "sent"}}], ["c", "c", "sent"]),
    ],
)  # fmt: skip
async def test_command_goto_continues_at_the_nodes(
    web: httpx.AsyncClient, thread: str, goto: Any, nodes: list[str]
) -> None:
    path = f"/threads/{thread}/runs/wait"
    await web.post(path, json={"assistant_id": "chain", "input": {"path": ["0"]}})
    body = {"assistant_id": "chain", "command": {"goto": goto}}
    after = (await web.post(path, json=body)).json()["path"]
    assert after[:4] == ["0", "a", "b", "c"]
    assert sorted(after[4:]) == sorted(nodes)


# ── What it is called with ──────────────────────────────────────────────────────────────────


@covers("config")
async def test_configurable_and_tags_reach_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    seen = await probe(
        web,
        thread,
        config={
            "tags": ["t1", "t2"],
            "recursion_limit": 77,
            "configurable": {"mine": [1, {"x": None}]},
            "metadata": {"from": "config"},
        },
    )
    assert {"t1", "t2"} <= set(seen["tags"])
    assert seen["recursion_limit"] == 77
    assert seen["configurable"]["mine"] == [1, {"x": None}]
    assert seen["metadata"]["from"] == "config"


@covers("config")
async def test_the_servers_ids_override_the_clients(web: httpx.AsyncClient, thread: str) -> None:
    other = str(uuid.uuid4())
    keys = ("thread_id", "run_id", "assistant_id", "graph_id")
    seen = await probe(web, thread, config={"configurable": dict.fromkeys(keys, other)})
    [run] = (await web.get(f"/threads/{thread}/runs")).json()
    ids = {key: seen["configurable"][key] for key in keys}
    assert ids == {
        "thread_id": thread,
        "run_id": run["run_id"],
        "assistant_id": default_assistant_id("probe"),
        "graph_id": "probe",
    }


@covers("config")
async def test_reserved_configurable_entries_are_dropped(
    web: httpx.AsyncClient, thread: str
) -> None:
    reserved = {"__pregel_checkpointer": "x", "__pregel_store": 1, "__pregel_task_id": "y"}
    seen = await probe(web, thread, config={"configurable": {**reserved, "mine": 1}})
    assert seen["configurable"]["mine"] == 1


@covers("config")
async def test_recursion_limit_limits_the_steps(http: httpx.AsyncClient, thread: str) -> None:
    config = {"recursion_limit": 3, "configurable": {"n": 10}}
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "config": config}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    [error] = events(response, "error")
    assert error["error"] == "GraphRecursionError"
    assert "3" in error["message"]
    config["recursion_limit"] = 20
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert events(response, "error") == []


@covers("context")
async def test_context_reaches_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    seen = await probe(web, thread, context={"user": "ada", "level": 3})
    assert (seen["user"], seen["level"]) == ("ada", 3)
    # Each mirrors the other if only one is sent; fields that are not in the schema are omitted.
    assert seen["configurable"]["user"] == "ada"
    seen = await probe(web, thread, config={"configurable": {"user": "eve", "unknown": 1}})
    assert (seen["user"], seen["level"]) == ("eve", 0)
    seen = await probe(web, thread)
    assert (seen["user"], seen["level"]) == ("nobody", 0)


@covers("metadata")
async def test_metadata_is_on_the_run_and_in_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    values = {"s": "text", "i": 7, "f": 0.5, "b": True}
    seen = await probe(web, thread, metadata=values)
    assert values.items() <= seen["metadata"].items()
    [run] = (await web.get(f"/threads/{thread}/runs")).json()
    assert values.items() <= run["metadata"].items()


@covers("metadata")
async def test_metadata_is_in_the_checkpoints(web: httpx.AsyncClient, thread: str) -> None:
    await probe(web, thread, metadata={"mine": "text"})
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert state["metadata"]["mine"] == "text"


@covers("checkpoint", "checkpoint_id")
async def test_checkpoint_starts_a_run_from_an_earlier_checkpoint(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs"
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "stream_mode": "checkpoints",
    }
    checkpoints = {
        json.dumps(data["values"].get("items")): data["config"]["configurable"]["checkpoint_id"]
        for data in events(await http.post(f"{path}/stream", json=body), "checkpoints")
    }
    one, two = checkpoints["[0]"], checkpoints["[0, 1]"]
    longer = {"configurable": {"n": 5}}
    for position in (
        {"checkpoint_id": two},
        {"checkpoint": {"checkpoint_id": two}},
        {"checkpoint": {"checkpoint_id": two, "checkpoint_ns": "", "thread_id": thread}},
        {"checkpoint": {"checkpoint_id": two}, "checkpoint_id": one},
    ):
        request = {"assistant_id": "steps", "config": longer, **position}
        answer = (await http.post(f"{path}/wait", json=request)).json()
        assert answer == {"items": [0, 1, 2, 3, 4]}, position
    request = {"assistant_id": "steps", "input": {"items": ["fork"]}, "checkpoint_id": one}
    answer = (await http.post(f"{path}/wait", json=request)).json()
    assert answer == {"items": [0, "fork", 2]}
    assert (await http.get(f"/threads/{thread}/state")).json()["values"] == answer


@covers("checkpoint", "checkpoint_id")
async def test_a_stateless_run_rejects_a_checkpoint(http: httpx.AsyncClient) -> None:
    for field, value in (("checkpoint", {"checkpoint_id": "x"}), ("checkpoint_id", "x")):
        response = await http.post("/runs", json={"assistant_id": "steps", field: value})
        assert response.status_code == 422
        assert field in response.json()["detail"]


# ── What is streamed ────────────────────────────────────────────────────────────────────────


@covers("interrupt_before", "interrupt_after")
@pytest.mark.parametrize(
    ("fields", "first"),
    [
        ({"interrupt_before": ["b"]}, ["a"]),
        ({"interrupt_after": ["b"]}, ["a", "b"]),
        ({"interrupt_before": "*"}, None),
        ({"interrupt_after": "*"}, ["a"]),
        ({"interrupt_before": ["c"], "interrupt_after": ["a"]}, ["a"]),
        ({"interrupt_before": []}, ["a", "b", "c"]),
        ({"interrupt_before": ["nobody"]}, ["a", "b", "c"]),
    ],
)
async def test_interrupt_before_and_after_pause_the_run(
    web: httpx.AsyncClient, thread: str, fields: dict[str, Any], first: list[str] | None
) -> None:
    body = {"assistant_id": "chain", "input": {"path": []}, **fields}
    answer = (await web.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert answer.get("path") == (first or [])
    stopped = answer.get("path") != ["a", "b", "c"]
    record = (await web.get(f"/threads/{thread}")).json()
    assert record["status"] == ("interrupted" if stopped else "idle")
    assert ("__interrupt__" in answer) is stopped
    [run] = (await web.get(f"/threads/{thread}/runs")).json()
    assert run["status"] == "success"
    assert {name: run["kwargs"][name] for name in fields} == fields


# ── For services that this version does not call ────────────────────────────────────────────


@covers("feedback_keys")
async def test_feedback_keys_are_recorded(http: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "feedback_keys": ["a", "b"],
    }
    run = (await http.post("/runs", json=body)).json()
    assert run["kwargs"]["feedback_keys"] == ["a", "b"]


@covers("langsmith_tracer")
async def test_langsmith_tracer_is_checked(http: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}}
    body["langsmith_tracer"] = {"project_name": "p", "example_id": UNKNOWN_ID, "later": 1}
    assert (await http.post("/runs/wait", json=body)).json() == {"items": [0, 1, 2]}
    run = (await http.post("/runs", json=body)).json()
    assert run["kwargs"]["langsmith_tracer"] == {"project_name": "p", "example_id": UNKNOWN_ID}
    assert run["langsmith_session_name"] == "p"
    body["langsmith_tracer"] = {"example_id": "e"}
    response = await http.post("/runs/wait", json=body)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("langsmith_tracer.example_id: ")
    body["langsmith_tracer"] = {"project_name": 1}
    response = await http.post("/runs/wait", json=body)
    assert response.status_code == 422
    assert response.json()["detail"].startswith("langsmith_tracer.project_name: ")


def test_every_field_is_tested() -> None:
    importlib.import_module("api.test_fields_life")
    importlib.import_module("api.test_fields_stream")
    importlib.import_module("e2e.test_webhooks")
    assert set(COVERED_FIELDS) == {
        *RunCreateStateful.model_fields,
        *RunCreateStateless.model_fields,
    }
