"""Sends the requests of a case to one server, and returns the responses line by line."""

from typing import Any

import httpx

from differential.cases import Case
from differential.compare import Line
from golden.normalise import normalise, parse_sse


async def stream(
    case: Case, modes: list[str], http: httpx.AsyncClient, *, subgraphs: bool
) -> list[Line]:
    """Returns the events of each run, and after each the thread's record, state and history."""
    thread_id = (await http.post("/threads", json={})).json()["thread_id"]
    lines: list[Line] = []
    for run_fields in case.runs:
        body = {
            "assistant_id": case.graph,
            "stream_mode": modes,
            "stream_subgraphs": subgraphs,
            **run_fields,
        }
        answer = await http.post(f"/threads/{thread_id}/runs/stream", json=body)
        if answer.status_code != 200:
            lines.append(("refusal", [answer.status_code, answer.json()]))
            continue
        lines += [
            (f"event {name}", data)
            for name, data in (normalise(*event) for event in parse_sse(answer.text))
            if name != "end"
        ]
    return lines + await _thread_lines(http, thread_id)


async def wait(case: Case, http: httpx.AsyncClient) -> list[Line]:
    """Returns the responses of wait and join, the run's status and the thread."""
    thread_id = (await http.post("/threads", json={})).json()["thread_id"]
    lines: list[Line] = []
    for run_fields in case.runs:
        body = {"assistant_id": case.graph, **run_fields}
        answer = await http.post(f"/threads/{thread_id}/runs/wait", json=body)
        lines.append(_line("wait", answer))
        [run, *_] = (await http.get(f"/threads/{thread_id}/runs")).json()
        lines.append(("run", normalise("", {"status": run["status"]})[1]))
        join = await http.get(f"/threads/{thread_id}/runs/{run['run_id']}/join")
        lines.append(_line("join", join))
    return lines + await _thread_lines(http, thread_id)


async def _thread_lines(http: httpx.AsyncClient, thread_id: str) -> list[Line]:
    """Returns the thread's record, state and history."""
    return [
        _line("thread", await http.get(f"/threads/{thread_id}")),
        _line("state", await http.get(f"/threads/{thread_id}/state")),
        _line(
            "state with subgraphs",
            await http.get(f"/threads/{thread_id}/state", params={"subgraphs": True}),
        ),
        _line("history", await http.post(f"/threads/{thread_id}/history", json={"limit": 20})),
    ]


async def describe(graph: str, http: httpx.AsyncClient) -> list[Line]:
    """Returns the schemas and the drawing of the graph's default assistant."""
    [assistant] = (await http.post("/assistants/search", json={"graph_id": graph})).json()
    path = f"/assistants/{assistant['assistant_id']}"
    return [
        _line("schemas", await http.get(f"{path}/schemas")),
        _line("graph", await http.get(f"{path}/graph")),
        _line("subgraphs", await http.get(f"{path}/subgraphs", params={"recurse": True})),
    ]


def _line(name: str, answer: httpx.Response) -> Line:
    data: Any = answer.json() if answer.content.strip() else None
    if answer.status_code != 200:
        return name, [answer.status_code, data]
    return name, normalise("", data)[1]
