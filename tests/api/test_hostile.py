"""Any request is rejected with the field's name or its values are preserved; none is a server error."""

import json
from typing import Any

import httpx
import pytest

from api.requests import MODELS, STEPS, UNKNOWN_ID, detail
from golden.normalise import parse_sse

# ── Wrong types ─────────────────────────────────────────────────────────────────────────────

KINDS: dict[str, Any] = {
    "string": "nonsense",
    "number": -12.5,
    "list": [[7]],
    "object": {"no such key": [7]},
    "boolean": True,
}
ACCEPTS = {  # field → the kinds above that it accepts; the others are 422
    "input": {"string", "number", "list", "object", "boolean"},
    "config": {"object"},
    "context": {"object"},
    "stream": {"boolean"},
    "stream_subgraphs": {"boolean"},
    "stream_resumable": {"boolean"},
    "checkpoint_during": {"boolean"},
    "strict_resume": {"boolean"},
    "langsmith_tracer": {"object"},
    "checkpoint": {"object"},
    "checkpoint_id": {"string"},
    "graph_id": {"string"},
    "name": {"string"},
}
TYPED = [(path, field) for path, model in MODELS.items() for field in model.model_fields]


@pytest.mark.parametrize(("path", "field"), TYPED)
async def test_a_wrong_type_is_422(
    http: httpx.AsyncClient, thread: str, path: str, field: str
) -> None:
    accepts = ACCEPTS.get(field, set())
    if field == "metadata" and not path.endswith("runs"):
        accepts = {"object"}
    if path == "/runs" and field == "checkpoint_id":
        accepts = set()  # a stateless run has none; an empty `checkpoint` is ignored
    for kind, value in KINDS.items():
        body = dict(STEPS) if path.endswith("runs") else {}
        if field == "command":
            del body["input"]
        response = await http.post(path.replace("{thread}", thread), json={**body, field: value})
        if kind in accepts:
            assert response.status_code == 200, (kind, response.text)
        else:
            assert response.status_code == 422, (kind, response.text)
            assert field in detail(response), kind


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("after_seconds", -0.001), ("after_seconds", 1e300), ("after_seconds", 2**80),
        ("config.recursion_limit", 0), ("config.recursion_limit", 2.5),
        ("config.recursion_limit", True), ("config.tags", "x"), ("config.tags", [1]),
        ("config.max_concurrency", -1), ("config.max_concurrency", "2"), ("config.run_name", ""),
        ("config.run_name", 1), ("config.callbacks", ["x"]), ("config.callbacks", {"x": 1}),
        ("config.run_id", "x"), ("command.graph", "__parent__"),
        ("config.configurable", []), ("config.metadata", "x"),
        ("command.goto", {"input": 1}), ("command.goto", 7), ("command.goto", [["step"]]),
        ("command.update", "x"), ("command.update", [["items"]]),
        ("command.update", [["items", [], 1]]), ("command.update", [[1, []]]),
        ("stream_mode", ["values", "bogus"]), ("stream_mode", ["values", 1]),
        ("interrupt_before", [1]), ("interrupt_after", ["a", None]), ("feedback_keys", [1]),
        ("checkpoint.checkpoint_id", 1), ("checkpoint.checkpoint_map", "x"),
        ("langsmith_tracer.project_name", 1), ("assistant_id", ""), ("assistant_id", "\0"),
    ],
)  # fmt: skip
async def test_an_invalid_value_is_named(
    http: httpx.AsyncClient, thread: str, field: str, value: Any
) -> None:
    outer, _, inner = field.partition(".")
    body: dict[str, Any] = {"assistant_id": "steps", outer: {inner: value} if inner else value}
    response = await http.post(f"/threads/{thread}/runs", json=body)
    assert response.status_code == 422
    assert detail(response).startswith(field)


# ── JSON that is invalid or unusual ──────────────────────────────────────────────────────────

RUN_PATHS = ("/runs", "/runs/stream", "/runs/wait")
NOT_JSON: dict[str, bytes] = {
    "nothing": b"",
    "white space": b" \n",
    "cut off": b'{"assistant_id":"steps",',
    "NaN": b'{"assistant_id":"steps","input":{"items":[NaN]}}',
    "Infinity": b'{"assistant_id":"steps","input":{"items":[Infinity]}}',
    "minus Infinity": b'{"assistant_id":"steps","input":-Infinity}',
    "1e400": b'{"assistant_id":"steps","input":{"items":[1e400]}}',
    "1e400 in a number field": b'{"assistant_id":"steps","after_seconds":1e400}',
    "lone high surrogate": b'{"assistant_id":"steps","input":{"items":["\\ud800"]}}',
    "lone low surrogate": b'{"assistant_id":"steps","input":{"items":["\\udc00x"]}}',
    "lone surrogate in a key": b'{"assistant_id":"steps","input":{"\\ud800":1}}',
    "lone surrogate in a name": b'{"assistant_id":"\\ud800"}',
    "surrogates the wrong way round": b'{"assistant_id":"steps","input":["\\udc00\\ud800"]}',
    "not UTF-8": b'{"assistant_id":"steps","input":{"items":["\xff"]}}',
    "not UTF-8, in a key": b'{"assistant_id":"steps","\xc3\x28":1}',
    "a surrogate in UTF-8": b'{"assistant_id":"steps","input":{"items":["\xed\xa0\x80"]}}',
    "UTF-16": '{"assistant_id":"steps"}'.encode("utf-16"),
    "raw control character": b'{"assistant_id":"steps","input":["\n"]}',
    "single quotes": b"{'assistant_id':'steps'}",
    "comma at the end": b'{"assistant_id":"steps",}',
    "two values": b'{"assistant_id":"steps"}{}',
    "leading zero": b'{"assistant_id":"steps","after_seconds":01}',
    "100,000 lists": b'{"assistant_id":"steps","input":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "100,000 objects": b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    "100,000 opened": b"[" * 100_000,
}


@pytest.mark.parametrize("name", NOT_JSON)
async def test_a_body_that_is_no_json_is_422(
    http: httpx.AsyncClient, thread: str, name: str
) -> None:
    for path in (*RUN_PATHS, *(f"/threads/{thread}{path}" for path in RUN_PATHS)):
        response = await http.post(path, content=NOT_JSON[name])
        assert response.status_code == 422, path
        assert detail(response).startswith("Invalid JSON in request body")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize("body", [b"[]", b"null", b'"x"', b"1", b"true", b"[{}]"])
async def test_a_body_that_is_no_object_is_422(http: httpx.AsyncClient, body: bytes) -> None:
    for path in (*RUN_PATHS, "/threads", "/assistants/search"):
        response = await http.post(path, content=body)
        assert response.status_code == 422, path
        assert detail(response) == "body: Input should be an object"


ITEMS: dict[str, Any] = {
    "NUL": "a\0b",
    "every control character": "".join(map(chr, range(32))) + "\x7f\x80\x85\u2028\u2029",
    "beyond 16 bits": "🦊\U00020000",
    "not a character": "\uffff\ufffe\U0010ffff",
    "64 bits": [2**63 - 1, -(2**63), 2**64 - 1],
    "small and large": [5e-324, 1.7976931348623157e308, -0.0, 0.1],
    "odd keys": {"": 1, "__proto__": 2, "$ref": 3, "lc": 4, "a.b": 5, "\0": 6},
    "like a serialised object": {"lc": 2, "type": "constructor", "id": ["os", "system"]},
}


@pytest.mark.parametrize("name", ITEMS)
async def test_values_are_returned_unchanged(
    http: httpx.AsyncClient, thread: str, name: str
) -> None:
    sent = [ITEMS[name], 1, 2]
    body = {"assistant_id": "steps", "input": {"items": sent}, "config": {"configurable": {"n": 3}}}
    response = await http.post(f"/threads/{thread}/runs/wait", json=body)
    assert response.json()["items"][:3] == sent
    assert (await http.get(f"/threads/{thread}")).json()["values"]["items"][:3] == sent
    state = (await http.get(f"/threads/{thread}/state")).json()
    assert state["values"]["items"][:3] == sent
    [run] = (await http.get(f"/threads/{thread}/runs")).json()
    assert run["kwargs"]["input"]["items"] == sent


BEYOND_64_BITS = pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 2**200], ids=["2^64", "-2^63-1", "2^200"]
)


@BEYOND_64_BITS
@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"input": {"items": [0, {"x": ...}]}}, "input.items.1.x"),
        ({"config": {"configurable": {"big": ...}}}, "config.configurable.big"),
        ({"metadata": {"big": ...}}, "metadata.big"),
        ({"context": {"big": ...}}, "context.big"),
        ({"command": {"resume": ...}}, "command.resume"),
    ],
    ids=["input", "config", "metadata", "context", "command"],
)
async def test_integers_beyond_64_bits_are_rejected_by_field(
    http: httpx.AsyncClient, thread: str, number: int, fields: dict[str, Any], field: str
) -> None:
    """LangGraph's serializer supports 64 bits, so a checkpoint could not store them."""
    body = json.dumps({"assistant_id": "steps", **fields}, default=lambda _: number)
    response = await http.post(f"/threads/{thread}/runs/wait", content=body)
    assert response.status_code == 422
    assert detail(response).startswith(f"{field}: whole numbers beyond 64 bits")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize("depth", [100, 300, 600, 900, 960, 990, 1000, 5000])
@pytest.mark.parametrize("number", [1, 2**80])
async def test_deep_values_are_rejected_or_executed(
    http: httpx.AsyncClient, thread: str, depth: int, number: int
) -> None:
    for opening, closing in (("[", "]"), ('{"a":', "}")):
        deep = opening * depth + str(number) + closing * depth
        for template in ('"context":{"x":%s}', '"input":{"items":[0,1,2],"x":%s}', '"metadata":%s'):
            content = '{"assistant_id":"steps",' + template % deep + "}"
            response = await http.post(f"/threads/{thread}/runs/wait", content=content)
            assert response.status_code in (200, 422), template
            if response.status_code == 422:
                detail(response)
            else:
                response.json()  # the run's state, or its error


# ── Paths and queries ───────────────────────────────────────────────────────────────────────

ODD_IDS = [
    "%00", "zzz", "%20", "..%2f..", "%2F", "%ff%fe", "%e2%80%a8", "%F0%9F%A6%8A", "null", "-1",
    "0" * 33, "x" * 5000, UNKNOWN_ID + "0", f"{UNKNOWN_ID}%00", f"{UNKNOWN_ID}%0a", "%7B%7D", "*", "ms:%7Bx%7D",
]  # fmt: skip


@pytest.mark.parametrize("odd", ODD_IDS, ids=range(len(ODD_IDS)))
async def test_invalid_ids_are_rejected(http: httpx.AsyncClient, thread: str, odd: str) -> None:
    for method, path in [
        ("GET", f"/threads/{odd}"),
        ("GET", f"/threads/{odd}/state"),
        ("GET", f"/threads/{odd}/runs"),
        ("POST", f"/threads/{odd}/runs"),
        ("POST", f"/threads/{odd}/runs/stream"),
        ("POST", f"/threads/{odd}/runs/wait"),
        ("GET", f"/threads/{thread}/runs/{odd}"),
        ("GET", f"/threads/{thread}/runs/{odd}/join"),
        ("GET", f"/threads/{thread}/runs/{odd}/stream"),
        ("POST", f"/threads/{thread}/runs/{odd}/cancel"),
        ("DELETE", f"/threads/{thread}/runs/{odd}"),
        ("GET", f"/runs/{odd}/stream"),
        ("GET", f"/assistants/{odd}"),
    ]:
        response = await http.request(method, path, json=STEPS if method == "POST" else None)
        if response.status_code == 307:  # an extra slash
            continue
        assert response.status_code in (400, 404, 422), path
        detail(response)


@pytest.mark.parametrize("spelt", ["{id}", "{ID}", "{hex}", "urn:uuid:{id}"])
async def test_an_id_may_have_any_uuid_notation(
    http: httpx.AsyncClient, thread: str, spelt: str
) -> None:
    text = spelt.format(id=thread, ID=thread.upper(), hex=thread.replace("-", ""))
    assert (await http.get(f"/threads/{text}")).json()["thread_id"] == thread
    run = (await http.post(f"/threads/{text}/runs", json=STEPS)).json()
    assert run["thread_id"] == thread


@pytest.mark.parametrize(
    ("query", "name"),
    [
        *((f"{name}={value}", name)
          for name in ("limit", "offset")
          for value in ("-1", "x", "", "NaN", "1e3", "1.5", "9" * 400, str(2**63), "%00")),
        ("limit=0", "limit"), ("limit=1001", "limit"), ("limit=1&limit=2", "limit"),
        ("status=bogus", "status"), ("status=", "status"), ("status=error&status=success", "status"),
        ("select=bogus", "select"), ("select=run_id,bogus", "select"),
    ],
)  # fmt: skip
async def test_invalid_queries_of_a_list_are_rejected(
    http: httpx.AsyncClient, thread: str, query: str, name: str
) -> None:
    response = await http.get(f"/threads/{thread}/runs?{query}")
    assert response.status_code == 422
    assert detail(response).startswith(name)


@pytest.mark.parametrize(
    ("tail", "name"),
    [
        ("join?cancel_on_disconnect=maybe", "cancel_on_disconnect"),
        ("stream?cancel_on_disconnect=2", "cancel_on_disconnect"),
        ("stream?last_event_id=x", "last_event_id"),
        ("stream?last_event_id=\u0663-0", "last_event_id"),
        ("stream?last_event_id=1-1&last_event_id=1-2", "last_event_id"),
        ("stream?stream_mode=bogus", "stream_mode"),
        ("stream?stream_mode=values,bogus", "stream_mode"),
    ],
)
async def test_invalid_queries_of_a_run_are_rejected(
    http: httpx.AsyncClient, thread: str, tail: str, name: str
) -> None:
    run = (await http.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    response = await http.get(f"/threads/{thread}/runs/{run}/{tail}")
    assert response.status_code == 422
    assert detail(response).startswith(name)
    for query in ("wait=maybe", "wait=1&wait=0"):
        response = await http.post(f"/threads/{thread}/runs/{run}/cancel?{query}")
        assert response.status_code == 422
        assert detail(response).startswith("wait")
    response = await http.get(f"/threads/{thread}/state?subgraphs=maybe")
    assert response.status_code == 422
    assert detail(response).startswith("subgraphs")


@pytest.mark.parametrize(
    "last", ["x", "1", "-", "--1", "0-x", "9" * 30 + "-0", "1-" + "9" * 30, "", "-2", "%00"]
)
async def test_invalid_event_ids_start_with_the_next_event(
    http: httpx.AsyncClient, thread: str, last: str
) -> None:
    run = (await http.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    await http.get(f"/threads/{thread}/runs/{run}/join")
    response = await http.get(
        f"/threads/{thread}/runs/{run}/stream", headers={"last-event-id": last}
    )
    assert response.status_code == 200
    assert parse_sse(response.text)[-1] == ("end", {"status": "success"})
