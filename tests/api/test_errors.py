"""Errors: status and detail of each, and no request is a server error."""

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.requests import MODELS, STEPS, UNKNOWN_ID, detail
from api.run_fields import events
from golden.normalise import parse_sse

ROWS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parents[1] / "golden/errors.json").read_text()
)


def failure(response: httpx.Response) -> dict[str, str]:
    """Returns the error of a failed run, from its stream or from its final output."""
    if "event-stream" in response.headers["content-type"]:
        [error] = [data for name, data in parse_sse(response.text) if name == "error"]
    else:
        error = response.json()["__error__"]
    assert isinstance(error, dict)
    return error


# ── The reference's rows ────────────────────────────────────────────────────────────────────


def names(row: dict[str, Any]) -> tuple[str, ...]:
    """Returns the names that the detail of a row must contain."""
    kind, _, rest = row["detail_kind"].partition(":")
    match kind:
        case "schema":
            return (rest.partition(":")[2] or "body",)
        case "uuid_malformed":
            return (rest, "UUID")
        case "invalid_json":
            return ("Invalid JSON in request body",)
        case "thread_exists":
            return ("already exists",)
        case "thread_not_found" | "thread_or_assistant_not_found":
            return ("not found",)
        case "assistant_name_unknown":
            return ("assistant", "nope")
        case "run_not_found":
            return ("Run", "not found")
        case _:
            return ()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row["name"]))
async def test_errors_equal_those_of_the_reference(
    http: httpx.AsyncClient, row: dict[str, Any]
) -> None:
    thread, empty = [
        (await http.post("/threads", json={})).json()["thread_id"] for _ in ("with a run", "empty")
    ]
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    if "resume" in row["body"]:  # the state of the reference's thread
        await http.post(f"/threads/{thread}/runs/wait", json={**STEPS, "input": "str"})

    def fill(text: str) -> str:
        return text.replace("{thread}", thread).replace("{empty_thread}", empty)

    response = await http.request(
        row["method"], fill(row["path"]), content=fill(row["body"]), headers=row.get("headers")
    )
    assert response.status_code == row.get("ours", row["status"]), response.text
    if response.status_code >= 400:
        text = detail(response)
        assert [name_part for name_part in names(row) if name_part not in text] == [], text
    elif row["detail_kind"].startswith("run_failed:"):
        assert failure(response)["error"] == row["detail_kind"].partition(":")[2]


# ── Where we differ on purpose ──────────────────────────────────────────────────────────────

GOOD_METADATA: dict[str, dict[str, Any]] = {
    "empty": {},
    "32 keys": {f"k{n}": n for n in range(32)},
    "every kind of value": {"s": "x", "i": 1, "f": 1.5, "b": True},
    "longest key": {"k" * 64: 1},
    "every kind of character": {"aZ09_-": 1},
    "longest text": {"k": "x" * 512},
    "longest text, of characters beyond 16 bits": {"k": "🦊" * 512},
    "empty text": {"k": ""},
}
BAD_METADATA: dict[str, Any] = {
    "33 keys": {f"k{n}": n for n in range(33)},
    "key too long": {"k" * 65: 1},
    "empty key": {"": 1},
    "space in a key": {"a b": 1},
    "dot in a key": {"a.b": 1},
    "letter beyond ASCII in a key": {"ä": 1},
    "digit beyond ASCII in a key": {"٣": 1},
    "newline at the end of a key": {"a\n": 1},
    "NUL in a key": {"a\0": 1},
    "text too long": {"k": "x" * 513},
    "null": {"k": None},
    "list": {"k": []},
    "object": {"k": {}},
    "the second of two": {"a": 1, "k": []},
    "a list in place of the object": [1],
    "a text in place of the object": "x",
}


@pytest.mark.parametrize("name", GOOD_METADATA)
async def test_metadata_within_the_limits_is_accepted(http: httpx.AsyncClient, name: str) -> None:
    run = (await http.post("/runs", json={**STEPS, "metadata": GOOD_METADATA[name]})).json()
    accepted = {k: v for k, v in run["metadata"].items() if k in GOOD_METADATA[name]}
    assert accepted == GOOD_METADATA[name]


@pytest.mark.parametrize("name", BAD_METADATA)
async def test_metadata_beyond_the_limits_is_rejected(
    http: httpx.AsyncClient, thread: str, name: str
) -> None:
    body = {**STEPS, "metadata": BAD_METADATA[name]}
    for path in ("/runs", "/runs/stream", "/runs/wait"):
        for route in (path, f"/threads/{thread}{path}"):
            response = await http.post(route, json=body)
            assert response.status_code == 422, route
            assert detail(response).startswith("metadata: ")
    assert (await http.get(f"/threads/{thread}/runs")).json() == []


@pytest.mark.parametrize("metadata", [{"deep": {"er": [None, 1.5]}}, {"a b": "x" * 1000}])
async def test_thread_metadata_has_no_such_limits(
    http: httpx.AsyncClient, metadata: dict[str, Any]
) -> None:
    created = await http.post("/threads", json={"metadata": metadata})
    assert created.json()["metadata"] == metadata


@pytest.mark.parametrize("value", [{}, [], "", 0, False, {"items": ["ignored"]}, None])
async def test_a_command_wins_over_the_input_beside_it(
    http: httpx.AsyncClient, thread: str, value: Any
) -> None:
    command = {"update": {"items": ["given"]}, "goto": "step"}
    body = {"assistant_id": "steps", "command": command}
    output = (await http.post("/runs/wait", json=body)).json()
    assert output["items"][0] == "given"
    body["input"] = value
    prefix = f"/threads/{thread}/runs"
    response = await http.post(f"{prefix}/wait", json=body)
    assert response.json() == output
    run = (await http.post(prefix, json=body)).json()
    assert run["kwargs"]["input"] is None
    assert (await http.get(f"{prefix}/{run['run_id']}/join")).status_code == 200
    [of_a_batch] = (await http.post("/runs/batch", json=[body])).json()
    assert (await http.get(f"/runs/{of_a_batch['run_id']}/join")).json() == output
    response = await http.post("/runs/stream", json=body)
    assert events(response, "values")[-1] == output
    assert (await http.post("/runs/wait", json=body)).json() == output


@pytest.mark.parametrize("tail", ["join", "stream", ""])
@pytest.mark.parametrize("stateless", [False, True])
async def test_an_unknown_run_is_404(
    http: httpx.AsyncClient, thread: str, tail: str, stateless: bool
) -> None:
    prefix = "" if stateless else f"/threads/{thread}"
    response = await http.get(f"{prefix}/runs/{UNKNOWN_ID}/{tail}".rstrip("/"))
    assert response.status_code == 404
    assert detail(response) == f"Run with ID {UNKNOWN_ID} not found"


async def test_a_run_of_another_thread_is_404(http: httpx.AsyncClient, thread: str) -> None:
    other = (await http.post("/threads", json={})).json()["thread_id"]
    run = (await http.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    assert (await http.get(f"/threads/{thread}/runs/{run}")).status_code == 200
    for path in (f"/threads/{other}/runs/{run}", f"/runs/{run}"):
        for method, tail in [
            ("GET", ""), ("GET", "/join"), ("GET", "/stream"), ("POST", "/cancel"), ("DELETE", ""),
        ]:  # fmt: skip
            assert (await http.request(method, path + tail)).status_code == 404, (method, tail)


async def test_an_unknown_cancel_action_is_rejected(http: httpx.AsyncClient, thread: str) -> None:
    for action in ("bogus", "", "INTERRUPT"):
        path = f"/threads/{thread}/runs/{UNKNOWN_ID}/cancel?action={action}"
        response = await http.post(path)
        assert response.status_code == 422
        assert detail(response).startswith("action: ")


@pytest.mark.parametrize(
    "value", ["", "x", "/path", "ftp://example.com", "http://127.0.0.1/", "http://localhost/", 5]
)
async def test_a_forbidden_webhook_url_is_rejected(
    http: httpx.AsyncClient, thread: str, value: Any
) -> None:
    for path in ("/runs", f"/threads/{thread}/runs/stream", f"/threads/{thread}/runs/wait"):
        response = await http.post(path, json={**STEPS, "webhook": value})
        assert response.status_code == 422
        assert detail(response).startswith("webhook: ")
    cron = {"assistant_id": "steps", "schedule": "0 0 1 1 *", "webhook": value}
    response = await http.post("/runs/crons", json=cron)
    assert (response.status_code, detail(response)[:8]) == (422, "webhook:")


@pytest.mark.parametrize("strategy", ["bogus", "", "ENQUEUE"])
async def test_an_unknown_strategy_is_rejected(
    http: httpx.AsyncClient, thread: str, strategy: str
) -> None:
    body = {**STEPS, "multitask_strategy": strategy}
    for path in ("/runs", f"/threads/{thread}/runs"):
        response = await http.post(path, json=body)
        assert response.status_code == 422
        text = detail(response)
        assert text.startswith("multitask_strategy: ")
        for known in ("reject", "enqueue", "interrupt", "rollback"):
            assert known in text


# ── null means not given ────────────────────────────────────────────────────────────────────

OPTIONAL = [
    (path, field)
    for path, model in MODELS.items()
    for field, info in model.model_fields.items()
    if not info.is_required()
]


def blank(value: Any) -> str:
    """Returns JSON without the values that differ between threads and runs."""
    drop = {"run_id", "thread_id", "created_at", "updated_at", "state_updated_at"}

    def clean(part: Any) -> Any:
        if isinstance(part, dict):
            return {k: clean(v) for k, v in part.items() if k not in drop}
        return [clean(item) for item in part] if isinstance(part, list) else part

    return json.dumps(clean(value), sort_keys=True)


@pytest.mark.parametrize(("path", "field"), OPTIONAL)
async def test_null_counts_as_absent(
    http: httpx.AsyncClient, thread: str, path: str, field: str
) -> None:
    body = STEPS if path.endswith("runs") else {}
    if field == "input":
        body = {"assistant_id": "steps"}
    route = path.replace("{thread}", thread)
    without, null = [await http.post(route, json=sent) for sent in (body, {**body, field: None})]
    assert null.status_code == without.status_code == 200, null.text
    assert blank(null.json()) == blank(without.json())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("config", {"tags": None, "recursion_limit": None, "configurable": None, "metadata": None}),
        ("checkpoint", {"thread_id": None, "checkpoint_ns": None, "checkpoint_id": None}),
        ("checkpoint", {"checkpoint_map": None}),
        ("langsmith_tracer", {"project_name": None, "example_id": None}),
    ],
)
async def test_null_inside_an_object_counts_as_absent(
    http: httpx.AsyncClient, thread: str, field: str, value: dict[str, None]
) -> None:
    body = {**STEPS, field: value}
    without, null = [
        (await http.post(f"/threads/{thread}/runs", json=sent)).json() for sent in (STEPS, body)
    ]
    assert blank(null) == blank(without)


async def test_null_inside_a_command_counts_as_absent(http: httpx.AsyncClient, thread: str) -> None:
    path = f"/threads/{thread}/runs"
    command = {"update": None, "resume": None, "goto": {"node": "step", "input": None}}
    response = await http.post(path, json={"assistant_id": "steps", "command": command})
    assert response.json()["kwargs"]["command"] == {"goto": {"node": "step"}}


@pytest.mark.parametrize("empty", [None, {}, {"update": None}, {"resume": None, "goto": None}])
async def test_an_empty_command_counts_as_absent(
    http: httpx.AsyncClient, thread: str, empty: Any
) -> None:
    response = await http.post("/runs/wait", json={**STEPS, "command": empty})
    assert response.json() == {"items": [0, 1, 2]}
    run = (await http.post(f"/threads/{thread}/runs", json={**STEPS, "command": empty})).json()
    assert (run["kwargs"]["command"], run["kwargs"]["input"]) == (None, STEPS["input"])


@pytest.mark.parametrize(
    "prefix",
    [
        {"checkpoint": None},
        {"checkpoint": {}},
        {"checkpoint": {"checkpoint_ns": ""}},
        {"checkpoint": {"checkpoint_id": None, "checkpoint_map": {}}},
        {"checkpoint": {"checkpoint_id": ""}, "checkpoint_id": None},
        {"checkpoint_id": ""},
    ],
)
async def test_an_empty_checkpoint_counts_as_absent(
    http: httpx.AsyncClient, thread: str, prefix: dict[str, Any]
) -> None:
    first = await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    second = await http.post(f"/threads/{thread}/runs/wait", json={**STEPS, **prefix})
    assert len(second.json()["items"]) > len(first.json()["items"]) > 0
    assert (await http.post("/runs/wait", json={**STEPS, **prefix})).json() == first.json()


async def test_null_for_a_required_field_is_422(http: httpx.AsyncClient) -> None:
    response = await http.post("/runs", json={**STEPS, "assistant_id": None})
    assert response.status_code == 422
    assert detail(response) == "assistant_id: Field required"
