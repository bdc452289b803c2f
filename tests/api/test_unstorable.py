"""A value that no checkpoint can hold is rejected in each request, with the name of its field."""

from typing import Any

import httpx
import pytest

DEEP = "[" * 300 + "]" * 300

# the value → the error after the field's name
VALUES = {
    "1" + "0" * 21: ": whole numbers beyond 64 bits can't be kept exactly",
    '"a\\ud800b"': ": a text holds half of a surrogate pair, which UTF-8 can't carry",
    "NaN": ": NaN, Infinity and numbers out of range are no JSON",
    "1e400": ": NaN, Infinity and numbers out of range are no JSON",
    DEEP: "…: nested too deep; 250 levels are the most",
}

# method, path, the body around the value, the value's field
POSITIONS = [
    ("POST", "/threads/{thread}/runs", '"input": {"items": [{"k": %s}]}', "input.items.0.k"),
    ("POST", "/threads/{thread}/runs/wait", '"command": {"resume": {"k": %s}}', "command.resume.k"),
    (
        "POST",
        "/threads/{thread}/runs/stream",
        '"command": {"update": {"k": %s}}',
        "command.update.k",
    ),
    (
        "POST",
        "/threads/{thread}/runs",
        '"command": {"goto": [{"node": "step", "input": {"k": %s}}]}',
        "command.goto.0.input.k",
    ),
    ("POST", "/threads/{thread}/runs", '"context": {"k": %s}', "context.k"),
    ("POST", "/threads/{thread}/state", '"values": {"k": %s}', "values.k"),
    (
        "POST",
        "/threads",
        '"graph_id": "steps", "supersteps": [{"updates": [{"values": {"k": %s}, "as_node": "step"}]}]',
        "supersteps.0.updates.0.values.k",
    ),
    ("PUT", "/store/items", '"namespace": ["a"], "key": "k", "value": {"k": %s}', "value.k"),
    ("POST", "/runs/crons", '"schedule": "0 0 1 1 *", "input": {"k": %s}', "input.k"),
]


@pytest.mark.parametrize(("method", "path", "around", "field"), POSITIONS)
@pytest.mark.parametrize("value", VALUES, ids=lambda value: value[:12])
async def test_an_unstorable_value_is_named(
    http: httpx.AsyncClient,
    stepped: str,
    method: str,
    path: str,
    around: str,
    field: str,
    value: str,
) -> None:
    body = '{"assistant_id": "steps", ' + around % value + "}"
    at = path.replace("{thread}", stepped)
    answer = await http.request(method, at, content=body.encode())
    assert answer.status_code == 422, answer.text
    said = answer.json()["detail"].removeprefix("Invalid JSON in request body: ")
    path_named = (
        ".".join([*field.split("."), "0", "0", "0", "0", "0"][:6]) if value == DEEP else field
    )
    assert said == path_named + VALUES[value]
    state = (await http.get(f"/threads/{stepped}/state")).json()
    assert state["values"] == {"items": [0, 1, 2]}


async def test_a_value_at_the_depth_limit_is_stored(http: httpx.AsyncClient, thread: str) -> None:
    deep: Any = 1
    for _ in range(245):
        deep = [deep]
    body = {"assistant_id": "steps", "input": {"items": [deep]}}
    answer = (await http.post(f"/threads/{thread}/runs/wait", json=body)).json()
    assert answer["items"] == [deep, 1, 2]
    assert (await http.get(f"/threads/{thread}/state")).json()["values"]["items"][0] == deep
