"""Every field of a run request does something that can be seen: what runs, and what it tells.

The fields of a run's life are in test_fields_life.py; that none is missing is checked here.
"""

import importlib
import json
import uuid
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID
from api.run_fields import SHOWN_BY, events, kinds, shows
from golden.normalise import parse_sse
from millstream.api.runs.schemas import RunCreateStateful, RunCreateStateless
from millstream.shared.assistants import default_assistant_id
from millstream.shared.events.protocol import COMMAND_MODES


async def probe(web: httpx.AsyncClient, thread: str, **fields: Any) -> dict[str, Any]:
    """Runs the graph `probe` and returns what its node saw."""
    response = await web.post(
        f"/threads/{thread}/runs/wait", json={"assistant_id": "probe", "input": {}, **fields}
    )
    seen = response.json()["seen"]
    assert isinstance(seen, dict)
    return seen


# ── What runs ───────────────────────────────────────────────────────────────────────────────


@shows("assistant_id")
async def test_an_assistant_by_name_and_by_id(http: httpx.AsyncClient) -> None:
    steps = default_assistant_id("steps")
    for name in ("steps", steps, steps.upper(), steps.replace("-", "")):
        body = {"assistant_id": name, "input": {"items": []}}
        assert (await http.post("/runs/wait", json=body)).json() == {"items": [0, 1, 2]}
        assert (await http.post("/runs", json=body)).json()["assistant_id"] == steps
    body = {"assistant_id": "custom", "input": {"items": []}}
    assert (await http.post("/runs/wait", json=body)).json() == {"items": ["emitted"]}


@shows("input")
async def test_the_input_reaches_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    for value in ({"question": {"deep": [1, None, "x"]}}, {"question": False}):
        body: dict[str, Any] = {"assistant_id": "probe", "input": value}
        answer = (await web.post(f"/threads/{thread}/runs/wait", json=body)).json()
        assert answer["question"] == value["question"]
    body = {"assistant_id": "steps", "input": ["no", "dict"]}
    answer = (await web.post("/runs/wait", json=body)).json()
    assert answer["__error__"]["error"] == "InvalidUpdateError"


@shows("input")
@pytest.mark.parametrize("body", [{}, {"input": None}])
async def test_without_an_input_the_thread_goes_on(
    web: httpx.AsyncClient, thread: str, body: dict[str, None]
) -> None:
    path = f"/threads/{thread}/runs/wait"
    stopped = {"assistant_id": "chain", "input": {"path": ["in"]}, "interrupt_after": ["a"]}
    assert (await web.post(path, json=stopped)).json()["path"] == ["in", "a"]
    answer = (await web.post(path, json={"assistant_id": "chain", **body})).json()
    assert answer["path"] == ["in", "a", "b", "c"]


@shows("command")
@pytest.mark.parametrize("answer", ["yes", False, 0, "", [], {"a": [1]}, 1.5])
async def test_resume(http: httpx.AsyncClient, thread: str, answer: Any) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [asked] = (await http.post(path, json=body)).json()["__interrupt__"]
    assert asked["value"] == {"question": "approve t?"}
    body = {"assistant_id": "approval", "command": {"resume": answer}}
    done = (await http.post(path, json=body)).json()
    assert done == {"topic": "t", "answer": answer, "log": ["before", "ask", "after"]}
    assert (await http.get(f"/threads/{thread}")).json()["status"] == "idle"


@shows("command")
async def test_resume_by_the_interrupts_id(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [asked] = (await http.post(path, json=body)).json()["__interrupt__"]
    body = {"assistant_id": "approval", "command": {"resume": {asked["id"]: "mine"}}}
    assert (await http.post(path, json=body)).json()["answer"] == "mine"


@shows("strict_resume")
async def test_a_strict_resume_answers_what_waits_or_changes_nothing(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs/wait"
    body: dict[str, Any] = {"assistant_id": "approval", "input": {"topic": "t"}}
    [asked] = (await http.post(path, json=body)).json()["__interrupt__"]
    before = (await http.get(f"/threads/{thread}")).json()
    body = {"assistant_id": "approval", "command": {"resume": {"f" * 32: "yes"}}}
    strict = {**body, "strict_resume": True}
    refused = (await http.post(path, json=strict)).json()
    assert refused["__error__"]["error"] == "UnknownInterruptError"
    after = (await http.get(f"/threads/{thread}")).json()
    assert {**after, "updated_at": ""} == {**before, "updated_at": ""}
    assert (await http.post(path, json=body)).json()["__interrupt__"] == [asked]  # ignored
    strict["command"] = {"resume": {asked["id"]: "yes"}}
    assert (await http.post(path, json=strict)).json()["answer"] == "yes"


@shows("command")
@pytest.mark.parametrize(
    "update", [{"path": ["u"]}, [["path", ["u"]]], [["path", []], ["path", ["u"]]]]
)
async def test_update(web: httpx.AsyncClient, thread: str, update: Any) -> None:
    body = {"assistant_id": "chain", "command": {"update": update, "goto": "c"}}
    response = await web.post(f"/threads/{thread}/runs/wait", json=body)
    path = response.json()["path"]
    assert "u" in path
    assert "c" in path


@shows("command")
@pytest.mark.parametrize(
    ("goto", "ran"),
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
async def test_goto(web: httpx.AsyncClient, thread: str, goto: Any, ran: list[str]) -> None:
    path = f"/threads/{thread}/runs/wait"
    await web.post(path, json={"assistant_id": "chain", "input": {"path": ["0"]}})
    body = {"assistant_id": "chain", "command": {"goto": goto}}
    after = (await web.post(path, json=body)).json()["path"]
    assert after[:4] == ["0", "a", "b", "c"]
    assert sorted(after[4:]) == sorted(ran)


# ── What it is called with ──────────────────────────────────────────────────────────────────


@shows("config")
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


@shows("config")
async def test_ids_win_over_the_clients(web: httpx.AsyncClient, thread: str) -> None:
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


@shows("config")
async def test_langgraphs_own_entries_are_not_the_clients(
    web: httpx.AsyncClient, thread: str
) -> None:
    own = {"__pregel_checkpointer": "x", "__pregel_store": 1, "__pregel_task_id": "y"}
    seen = await probe(web, thread, config={"configurable": {**own, "mine": 1}})
    assert seen["configurable"]["mine"] == 1


@shows("config")
async def test_the_recursion_limit(http: httpx.AsyncClient, thread: str) -> None:
    config = {"recursion_limit": 3, "configurable": {"n": 10}}
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "config": config}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    [error] = events(response, "error")
    assert error["error"] == "GraphRecursionError"
    assert "3" in error["message"]
    config["recursion_limit"] = 20
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert events(response, "error") == []


@shows("context")
async def test_the_context_reaches_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    seen = await probe(web, thread, context={"user": "ada", "level": 3})
    assert (seen["user"], seen["level"]) == ("ada", 3)
    # Each mirrors the other where only one is given; what the schema does not know stays out.
    assert seen["configurable"]["user"] == "ada"
    seen = await probe(web, thread, config={"configurable": {"user": "eve", "unknown": 1}})
    assert (seen["user"], seen["level"]) == ("eve", 0)
    seen = await probe(web, thread)
    assert (seen["user"], seen["level"]) == ("nobody", 0)


@shows("metadata")
async def test_metadata_is_on_the_run_and_in_the_graph(web: httpx.AsyncClient, thread: str) -> None:
    given = {"s": "text", "i": 7, "f": 0.5, "b": True}
    seen = await probe(web, thread, metadata=given)
    assert given.items() <= seen["metadata"].items()
    [run] = (await web.get(f"/threads/{thread}/runs")).json()
    assert given.items() <= run["metadata"].items()


@shows("metadata")
async def test_metadata_is_in_the_checkpoints(web: httpx.AsyncClient, thread: str) -> None:
    await probe(web, thread, metadata={"mine": "text"})
    state = (await web.get(f"/threads/{thread}/state")).json()
    assert state["metadata"]["mine"] == "text"


@shows("checkpoint", "checkpoint_id")
async def test_a_run_from_an_earlier_checkpoint(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "stream_mode": "checkpoints",
    }
    places = {
        json.dumps(data["values"].get("items")): data["config"]["configurable"]["checkpoint_id"]
        for data in events(await http.post(f"{path}/stream", json=body), "checkpoints")
    }
    one, two = places["[0]"], places["[0, 1]"]
    longer = {"configurable": {"n": 5}}
    for place in (
        {"checkpoint_id": two},
        {"checkpoint": {"checkpoint_id": two}},
        {"checkpoint": {"checkpoint_id": two, "checkpoint_ns": "", "thread_id": thread}},
        {"checkpoint": {"checkpoint_id": two}, "checkpoint_id": one},
    ):
        request = {"assistant_id": "steps", "config": longer, **place}
        answer = (await http.post(f"{path}/wait", json=request)).json()
        assert answer == {"items": [0, 1, 2, 3, 4]}, place
    request = {"assistant_id": "steps", "input": {"items": ["fork"]}, "checkpoint_id": one}
    answer = (await http.post(f"{path}/wait", json=request)).json()
    assert answer == {"items": [0, "fork", 2]}
    assert (await http.get(f"/threads/{thread}/state")).json()["values"] == answer


@shows("checkpoint", "checkpoint_id")
async def test_a_stateless_run_has_no_checkpoint(http: httpx.AsyncClient) -> None:
    for field, value in (("checkpoint", {"checkpoint_id": "x"}), ("checkpoint_id", "x")):
        response = await http.post("/runs", json={"assistant_id": "steps", field: value})
        assert response.status_code == 422
        assert field in response.json()["detail"]


# ── What is streamed ────────────────────────────────────────────────────────────────────────


@shows("stream")
async def test_a_background_run_that_streams(http: httpx.AsyncClient, thread: str) -> None:
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "stream": True}
    for path in ("/runs", f"/threads/{thread}/runs"):
        response = await http.post(path, json=body)
        assert response.headers["content-type"].startswith("text/event-stream")
        assert events(response, "end") == [{"status": "success"}]
        response = await http.post(path, json={**body, "stream": False})
        assert response.json()["status"] == "pending"


@shows("stream_mode")
@pytest.mark.parametrize(
    ("mode", "names"),
    [
        ("values", {"values"}),
        ("updates", {"updates"}),
        (["updates", "custom", "updates", "custom"], {"updates", "custom"}),
        ([], {"values"}),
        (None, {"values"}),
        (["tasks", "debug"], {"tasks", "debug"}),
        ("events", {"events"}),
    ],
)
async def test_stream_modes(
    http: httpx.AsyncClient, thread: str, mode: Any, names: set[str]
) -> None:
    body: dict[str, Any] = {"assistant_id": "custom", "input": {"items": []}, "stream_mode": mode}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert kinds(response) == names
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    shown = run["kwargs"]["stream_mode"]
    assert set(shown) == names
    assert len(shown) == len(names)
    if "updates" in names:
        assert len(events(response, "updates")) == 1


@shows("stream_mode")
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_tools_and_lifecycle(web: httpx.AsyncClient, thread: str, subgraphs: bool) -> None:
    body = {
        "assistant_id": "tooled_within", "input": {"messages": []}, "stream_subgraphs": subgraphs,
        "stream_mode": ["tools", "lifecycle", "updates"],
    }  # fmt: skip
    response = await web.post(f"/threads/{thread}/runs/stream", json=body)
    streamed: list[tuple[str, Any]] = parse_sse(response.text)
    named = [(name.partition(":")[0], data) for name, data in streamed if "|" in name]
    tools = ["updates|agent", "tools|agent", "tools|agent", "updates|agent"] if subgraphs else []
    assert [n for n, _ in named] == ["lifecycle|agent", *tools, "lifecycle|agent"]
    assert [d["event"] for n, d in named if n == "lifecycle|agent"] == ["started", "completed"]
    path = response.headers["content-location"]
    for mode in ("tools", "lifecycle"):
        joined = await web.get(
            f"{path}/stream", params={"stream_mode": mode, "last_event_id": "-1"}
        )
        found = {n.partition("|")[0] for n, _ in parse_sse(joined.text)} - {"metadata", "end"}
        assert found == ({mode} if subgraphs or mode == "lifecycle" else set())
    shown = (await web.get(path)).json()["kwargs"]
    assert "event_streaming" not in shown
    flat = {**body, "assistant_id": "tooled", "stream_mode": "tools"}
    told = events(await web.post("/runs/stream", json=flat), "tools")
    assert [(each["event"], each["name"]) for each in told] == [
        ("on_tool_start", "double"), ("on_tool_end", "double"),
    ]  # fmt: skip


async def test_the_modes_of_a_command_make_no_command_of_a_run(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "steps", "input": {"items": []}, "stream_mode": list(COMMAND_MODES)}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert kinds(response) == {"values", "updates", "tasks", "checkpoints"}
    assert events(response, "updates")[0] == {"step": {"items": [0]}}


@shows("stream_subgraphs")
async def test_subgraphs(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "nested", "input": {"text": ""}, "stream_mode": "updates"}
    for given, deep in ((True, True), (False, False), (None, False)):
        response = await http.post("/runs/stream", json={**body, "stream_subgraphs": given})
        assert any(name.startswith("updates|child:") for name in kinds(response)) is deep


@shows("stream_resumable")
async def test_resumable_is_accepted_and_every_stream_can_be_resumed(
    http: httpx.AsyncClient, thread: str
) -> None:
    for given in (True, False):
        body: dict[str, Any] = {
            "assistant_id": "steps",
            "input": {"items": []},
            "stream_resumable": given,
        }
        response = await http.post(f"/threads/{thread}/runs/stream", json=body)
        again = await http.get(response.headers["location"], headers={"last-event-id": "-1"})
        assert again.text == response.text
        run = (await http.get(response.headers["content-location"])).json()
        assert run["kwargs"]["resumable"] is given


@shows("interrupt_before", "interrupt_after")
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
async def test_breakpoints(
    web: httpx.AsyncClient, thread: str, fields: dict[str, Any], first: list[str] | None
) -> None:
    body = {"assistant_id": "chain", "input": {"path": []}, **fields}
    answer = (await web.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert answer.get("path") == (first or [])
    stopped = answer.get("path") != ["a", "b", "c"]
    shown = (await web.get(f"/threads/{thread}")).json()
    assert shown["status"] == ("interrupted" if stopped else "idle")
    assert ("__interrupt__" in answer) is stopped
    [run] = (await web.get(f"/threads/{thread}/runs")).json()
    assert run["status"] == "success"
    assert {name: run["kwargs"][name] for name in fields} == fields


# ── For services that this version does not call ────────────────────────────────────────────


@shows("feedback_keys")
async def test_feedback_keys_are_recorded(http: httpx.AsyncClient) -> None:
    body: dict[str, Any] = {
        "assistant_id": "steps",
        "input": {"items": []},
        "feedback_keys": ["a", "b"],
    }
    run = (await http.post("/runs", json=body)).json()
    assert run["kwargs"]["feedback_keys"] == ["a", "b"]


@shows("langsmith_tracer")
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


def test_every_field_has_a_test() -> None:
    importlib.import_module("api.test_fields_life")
    importlib.import_module("e2e.test_webhooks")
    assert set(SHOWN_BY) == {*RunCreateStateful.model_fields, *RunCreateStateless.model_fields}
