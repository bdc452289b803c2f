"""Every field of a run request that selects events has an effect on the stream."""

from typing import Any

import httpx
import pytest

from api.run_fields import covers, events, kinds
from golden.normalise import parse_sse
from millstream.shared.events.protocol import COMMAND_MODES


@covers("stream")
async def test_a_background_run_streams_its_modes(http: httpx.AsyncClient, thread: str) -> None:
    body: dict[str, Any] = {"assistant_id": "steps", "input": {"items": []}, "stream": True}
    for path in ("/runs", f"/threads/{thread}/runs"):
        response = await http.post(path, json=body)
        assert response.headers["content-type"].startswith("text/event-stream")
        assert events(response, "end") == [{"status": "success"}]
        response = await http.post(path, json={**body, "stream": False})
        assert response.json()["status"] == "pending"


@covers("stream_mode")
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
async def test_stream_mode_selects_the_events(
    http: httpx.AsyncClient, thread: str, mode: Any, names: set[str]
) -> None:
    body: dict[str, Any] = {"assistant_id": "custom", "input": {"items": []}, "stream_mode": mode}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert kinds(response) == names
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    modes = run["kwargs"]["stream_mode"]
    assert set(modes) == names
    assert len(modes) == len(names)
    if "updates" in names:
        assert len(events(response, "updates")) == 1


@covers("stream_mode")
@pytest.mark.parametrize("subgraphs", [False, True])
async def test_stream_modes_tools_and_lifecycle_are_supported(
    web: httpx.AsyncClient, thread: str, subgraphs: bool
) -> None:
    body = {
        "assistant_id": "tooled_within", "input": {"messages": []}, "stream_subgraphs": subgraphs,
        "stream_mode": ["tools", "lifecycle", "updates"],
    }  # fmt: skip
    response = await web.post(f"/threads/{thread}/runs/stream", json=body)
    streamed: list[tuple[str, Any]] = parse_sse(response.text)
    tool_events = [(name.partition(":")[0], data) for name, data in streamed if "|" in name]
    tools = ["updates|agent", "tools|agent", "tools|agent", "updates|agent"] if subgraphs else []
    assert [n for n, _ in tool_events] == ["lifecycle|agent", *tools, "lifecycle|agent"]
    assert [d["event"] for n, d in tool_events if n == "lifecycle|agent"] == [
        "started",
        "completed",
    ]
    path = response.headers["content-location"]
    for mode in ("tools", "lifecycle"):
        joined = await web.get(
            f"{path}/stream", params={"stream_mode": mode, "last_event_id": "-1"}
        )
        joined_names = {n.partition("|")[0] for n, _ in parse_sse(joined.text)} - {
            "metadata",
            "end",
        }
        assert joined_names == ({mode} if subgraphs or mode == "lifecycle" else set())
    modes = (await web.get(path)).json()["kwargs"]
    assert "event_streaming" not in modes
    flat = {**body, "assistant_id": "tooled", "stream_mode": "tools"}
    tool_data = events(await web.post("/runs/stream", json=flat), "tools")
    assert [(each["event"], each["name"]) for each in tool_data] == [
        ("on_tool_start", "double"), ("on_tool_end", "double"),
    ]  # fmt: skip


async def test_a_runs_modes_do_not_make_it_a_protocol_run(
    http: httpx.AsyncClient, thread: str
) -> None:
    body = {"assistant_id": "steps", "input": {"items": []}, "stream_mode": list(COMMAND_MODES)}
    response = await http.post(f"/threads/{thread}/runs/stream", json=body)
    assert kinds(response) == {"values", "updates", "tasks", "checkpoints"}
    assert events(response, "updates")[0] == {"step": {"items": [0]}}


@covers("stream_subgraphs")
async def test_stream_subgraphs_adds_the_events_of_subgraphs(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "nested", "input": {"text": ""}, "stream_mode": "updates"}
    for option, deep in ((True, True), (False, False), (None, False)):
        response = await http.post("/runs/stream", json={**body, "stream_subgraphs": option})
        assert any(name.startswith("updates|child:") for name in kinds(response)) is deep


@covers("stream_resumable")
async def test_stream_resumable_is_accepted_and_every_stream_is_resumable(
    http: httpx.AsyncClient, thread: str
) -> None:
    for option in (True, False):
        body: dict[str, Any] = {
            "assistant_id": "steps",
            "input": {"items": []},
            "stream_resumable": option,
        }
        response = await http.post(f"/threads/{thread}/runs/stream", json=body)
        again = await http.get(response.headers["location"], headers={"last-event-id": "-1"})
        assert again.text == response.text
        run = (await http.get(response.headers["content-location"])).json()
        assert run["kwargs"]["resumable"] is option
