"""What clients get of the graphs in `graphs/state_schemas.py`: the answers of any server of the API, distilled.

    python -m golden.responses http://127.0.0.1:2024 > responses.json      (PYTHONPATH=tests)

Each case is one thread with some runs. It records the responses of `wait` and `join`, the streams in each mode, the
thread's record from `GET` and from a search, its state, and its history.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from typing import Any, Final

import httpx

from golden.normalise import normalise, parse_sse

HOWS: Final = ("wait", "join", "values", "updates")
NESTED: Final = ("values+subgraphs", "updates+subgraphs")  # of graphs in graphs
GRAPHS: Final = (
    "typed", "classy", "modelled", "plain", "private", "outer", "managed", "shadow",
)  # fmt: skip
KINDS: Final = (
    "str", "empty", "int", "zero", "list", "none", "dict", "dataclass", "pydantic", "interrupt-text",
)  # fmt: skip
Step = dict[str, Any]


def cases() -> Iterator[tuple[str, str, list[Step]]]:
    """Yields the name of each case, its graph, and the requests of its runs."""
    for graph in GRAPHS:
        yield f"{graph} answers", graph, [{"input": {"do": "answer"}}]
        yield f"{graph} fails", graph, [{"input": {"do": "raise"}}]
        yield f"{graph} asks", graph, [{"input": {"do": "ask"}}, {"command": {"resume": "yes"}}]
        yield f"{graph} again", graph, [{"input": {"do": "answer"}}] * 2
        yield f"{graph} after a failure", graph, [{"input": {"do": d}} for d in ("raise", "answer")]
    for graph in ("typed", "classy", "modelled", "plain"):
        last = "second" if graph == "plain" else "answer"
        stop = {"input": {"do": "answer"}, "interrupt_before": [last]}
        yield f"{graph} stops before", graph, [stop, {"input": None}]
        stop = {"input": {"do": "answer"}, "interrupt_after": "*"}
        yield f"{graph} stops after", graph, [stop, {"input": None}]
        for name, value in (("null", None), ("text", "no"), ("list", [1]), ("other", {"x": 1})):
            yield f"{graph} is given {name}", graph, [{"input": value}]
    yield (
        "noted_talk",
        "noted_talk",
        [{"input": {"messages": [{"type": "human", "content": "hi", "id": "h"}]}}],
    )
    ask = {"messages": [{"type": "human", "content": "ask", "id": "h"}]}
    yield "noted_talk asks", "noted_talk", [{"input": ask}, {"command": {"resume": "yes"}}]
    two = {"input": {"asks": ["a", "b"]}}
    mixed = {"input": {"asks": ["!answer", "b", "c"]}}
    yield "asking", "asking", [two]
    yield "asking, refused", "asking", [two, {"command": {"resume": "yes"}}]
    yield "asking, some done", "asking", [mixed]
    yield "asking, new input", "asking", [two, {"input": {"asks": ["c"]}}]
    yield "asking, none", "asking", [{"input": {"asks": []}}]
    for kind in KINDS:
        yield f"work returns {kind}", "work", [{"input": kind}]
    yield "work answers", "work", [{"input": {"do": "answer"}}]
    yield "work fails", "work", [{"input": {"do": "raise"}}]
    yield "work asks", "work", [{"input": {"do": "ask"}}, {"command": {"resume": "yes"}}]
    yield "work asks again", "work", [{"input": "str"}, {"input": {"do": "ask"}}]
    yield "saved", "saved", [{"input": "a"}, {"input": "b"}]
    yield "saved asks", "saved", [{"input": "ask"}, {"command": {"resume": "yes"}}]
    yield "rooted", "rooted", [{"input": ["answer"]}, {"input": ["b"]}]
    yield "rooted asks", "rooted", [{"input": ["ask"]}, {"command": {"resume": "yes"}}]
    for graph in ("data_context", "model_context"):
        for name, context in (
            ("fits", {"user": "ann"}),
            ("too much", {"user": "ann", "other": 1}),
            ("too little", {"level": 1}),
            ("wrong", {"user": "ann", "level": "high"}),
        ):
            yield f"{graph} {name}", graph, [{"input": {}, "context": context}]


async def respond(http: httpx.AsyncClient, graph: str, steps: list[Step], how: str) -> Any:
    """Returns the responses for one thread, whose last run is started as `how` says."""
    created = await http.post("/threads", json={})
    thread = f"/threads/{created.json()['thread_id']}"
    responses: dict[str, Any] = {}
    for number, step in enumerate(steps, 1):
        last = number == len(steps)
        request = {"assistant_id": graph, **step}
        if not last or how == "wait":
            answer = await http.post(f"{thread}/runs/wait", json=request)
            responses[f"wait {number}"] = answer.json()
        elif how == "join":
            run = (await http.post(f"{thread}/runs", json=request)).json()
            if "run_id" in run:
                run = (await http.get(f"{thread}/runs/{run['run_id']}/join")).json()
            responses["join"] = run
        else:
            mode, _, nested = how.partition("+")
            request |= {"stream_mode": [mode], "stream_subgraphs": bool(nested)}
            body = (await http.post(f"{thread}/runs/stream", json=request)).text
            responses["stream"] = [e for e in parse_sse(body) if e[0] not in ("end", "metadata")]
    if how == "wait":
        record = (await http.get(thread)).json()
        ids = {"ids": [record["thread_id"]]}
        matches = (await http.post("/threads/search", json=ids)).json()
        for name, view in (("thread", record), ("found", matches[0])):
            responses[name] = {k: view[k] or None for k in ("status", "values")}
            interrupts = view.get("interrupts") or {}
            responses[name]["interrupts"] = list(interrupts.values())  # by task, whose ids vary
        responses["thread"]["error"] = record.get("error")
        responses["state"] = (await http.get(f"{thread}/state")).json()
        history = (await http.get(f"{thread}/history", params={"limit": 20})).json()
        responses["history"] = [{k: s[k] for k in ("values", "next")} for s in history]
    return _without_error_texts(normalise("", responses)[1])


def _without_error_texts(value: Any) -> Any:
    """Returns the value with errors reduced to their type, because their texts are Millstream's own."""
    if isinstance(value, list):
        return [_without_error_texts(each) for each in value]
    if not isinstance(value, dict):
        return value
    if value.keys() == {"error", "message"}:
        return {"error": value["error"]}
    return {name: _without_error_texts(each) for name, each in value.items() if name != "thread_id"}


async def respond_to_all(http: httpx.AsyncClient) -> dict[str, Any]:
    """Returns the server's responses, by `case / how`."""
    responses: dict[str, Any] = {}
    at_once = asyncio.Semaphore(16)

    async def note(name: str, graph: str, steps: list[Step], how: str) -> None:
        async with at_once:
            responses[f"{name} / {how}"] = await respond(http, graph, steps, how)

    async with asyncio.TaskGroup() as group:
        for name, graph, steps in cases():
            for how in HOWS + NESTED * (graph == "outer"):
                group.create_task(note(name, graph, steps, how))
    return responses


async def main(url: str) -> None:
    """Writes the server's responses to standard output, a line each."""
    async with httpx.AsyncClient(base_url=url, timeout=120) as http:
        responses = await respond_to_all(http)
    lines = (
        f'{json.dumps(name)}: {{"reference": {json.dumps(response)}}}'
        for name, response in sorted(responses.items())
    )
    sys.stdout.write("{\n" + ",\n".join(lines) + "\n}\n")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
