"""The authenticated user reaches the graph of its run, and nothing else shows it."""

import json
import uuid
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from api.requests import STEPS, System, start
from api.user_api import HEADER, SECRET, fields_of, serve_users
from harness.event_stream import command, follow
from millstream.shared import runs
from millstream.shared.redis import Client, connect
from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.shared.runs.access import token_of
from millstream.shared.wire import RunSpec

pytestmark = pytest.mark.usefixtures("fields_worker")
ALICE, BOB = ({HEADER: name} for name in ("alice", "bob"))
MODES = ["values", "updates", "messages", "debug", "tasks", "checkpoints", "custom", "events"]


@pytest.fixture
async def users(system: System) -> AsyncIterator[httpx.AsyncClient]:
    """A client of an API whose requests need a user."""
    async with serve_users(system.fleet.redis_url) as client:
        yield client


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    client = connect(system.fleet.redis_url)
    yield client
    await client.aclose()


async def wait(users: httpx.AsyncClient, graph: str, **headers: str) -> dict[str, Any]:
    """Executes a run of the graph; returns its output."""
    body = {"assistant_id": graph, "input": {}}
    response = await users.post("/runs/wait", json=body, headers=headers)
    assert response.status_code == 200, response.text
    return dict(response.json())


# ── In the graph ────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("graph", ["user_echo", "user_apart"])
async def test_nodes_subgraphs_threads_and_other_processes_read_the_user(
    users: httpx.AsyncClient, graph: str
) -> None:
    output = await wait(users, graph, **ALICE)
    alice = fields_of("alice")
    for location in (output["seen"]["user"], output["inside"], output["aside"]):
        assert location["fields"] == alice
        assert location["attributes"] == ["alice", "Alice", True, ["read", "write"], "blue"]
        assert location["entries"] == ["alice", "blue", True]
        assert (location["id"], location["permissions"]) == ("alice", ["read", "write"])
        assert location["server"][1:] == [graph, alice]
        assert uuid.UUID(location["server"][0])


async def test_a_run_without_authentication_has_no_user(http: httpx.AsyncClient) -> None:
    output = await wait(http, "user_echo")
    seen = output["seen"]
    assert [seen["user"][name] for name in ("fields", "id", "permissions")] == [None] * 3
    assert seen["user"]["server"][1:] == ["user_echo", None]
    assert not [name for name in seen["configurable"] if name.startswith("langgraph_auth")]


async def test_factories_get_the_user_of_the_run_or_of_the_request(
    users: httpx.AsyncClient,
) -> None:
    drawn = (await users.get("/assistants/made_for/graph", headers=ALICE)).json()
    assert "alice_assistants_read" in [node["id"] for node in drawn["nodes"]]
    body = {
        "metadata": {"graph_id": "made_for"},
        "supersteps": [{"updates": [{"values": {}, "as_node": "alice_threads_update"}]}],
    }
    response = await users.post("/threads", json=body, headers=ALICE)
    assert response.status_code == 200, response.text
    thread = response.json()["thread_id"]
    run = {"assistant_id": "made_for", "input": {}, "stream_mode": "updates"}
    path = f"/threads/{thread}"
    streamed = await users.post(f"{path}/runs/stream", json=run, headers=ALICE)
    assert '"alice_threads_create_run"' in streamed.text
    update = {"values": {}, "as_node": "alice_threads_update"}
    assert (await users.post(f"{path}/state", json=update, headers=BOB)).status_code == 400
    assert (await users.post(f"{path}/state", json=update, headers=ALICE)).status_code == 200
    run["config"] = {"configurable": {"fails": True}}  # later reads get the config of the last run
    await users.post(f"{path}/runs/wait", json=run, headers=ALICE)
    for headers, name in ((ALICE, "alice"), (BOB, "bob")):
        for response in (
            await users.get(f"{path}/state", headers=headers),
            await users.post(f"{path}/history", json={}, headers=headers),
        ):
            assert f"{name}_threads_read" in response.text


# ── Nowhere else ────────────────────────────────────────────────────────────────────────────


async def test_nothing_shows_the_user(users: httpx.AsyncClient, http: httpx.AsyncClient) -> None:
    identity = f"user-{uuid.uuid4()}"
    users.headers[HEADER] = identity
    thread = (await users.post("/threads", json={})).json()["thread_id"]
    request = {**STEPS, "stream_mode": MODES, "stream_subgraphs": True, "metadata": {"a": 1}}
    stream = await users.post(f"/threads/{thread}/runs/stream", json=request)
    assert '"type":"checkpoint"' in stream.text
    run_id = stream.headers["content-location"].split("/")[4]
    update = await users.post(f"/threads/{thread}/state", json={"values": {"items": [9]}})
    copied = (await users.post(f"/threads/{thread}/copy")).json()["thread_id"]
    texts = [stream.text, update.text]
    async with follow(http, thread) as following:  # the system's own API, which has no users
        await command(users, thread, "run.start", **STEPS)
        await following.ended()
        assert following.data_of("checkpoints")
        texts.append(json.dumps(following.events))
    for path in (
        f"/threads/{thread}/runs", f"/threads/{thread}/runs/{run_id}", f"/threads/{thread}",
        f"/threads/{thread}/runs/{run_id}/stream", f"/threads/{thread}/state?subgraphs=true",
        f"/threads/{thread}/history", f"/threads/{copied}", f"/threads/{copied}/history",
    ):  # fmt: skip
        response = await users.get(path)
        assert response.status_code == 200
        texts.append(response.text)
    matches = await users.post("/threads/search", json={"ids": [thread, copied]})
    assert len(matches.json()) == 2
    for text in (*texts, matches.text):
        for hidden in (identity, SECRET, "langgraph_auth", "__millstream"):
            assert hidden not in text


# ── Requests of the graph to the API ────────────────────────────────────────────────────────


async def spec_of(redis: Client, path: str) -> RunSpec:
    _, _, thread, _, run = path.split("/")
    return (await runs.get_run(redis, thread, run)).spec


async def test_the_token_of_a_run_acts_as_its_user_while_it_is_executed(
    users: httpx.AsyncClient, redis: Client
) -> None:
    users.headers.update(ALICE)
    thread, other = [(await users.post("/threads", json={})).json()["thread_id"] for _ in "ab"]
    path = await start(users, thread)
    token = token_of(await spec_of(redis, path))
    del users.headers[HEADER]
    assert (await users.get(f"/threads/{thread}")).status_code == 401
    output = await wait(users, "user_echo", **{RUN_HEADER: token})
    assert output["seen"]["user"]["fields"] == fields_of("alice")
    # Not the user of other credentials, and no graph reads the token.
    output = await wait(users, "user_echo", **{RUN_HEADER: token, **BOB})
    assert output["seen"]["user"]["id"] == "alice"
    assert token not in str(output)
    secret = token.rpartition(".")[2]
    idle = await users.post(
        f"/threads/{other}/runs", json={**STEPS, "after_seconds": 99}, headers=ALICE
    )
    pending = token_of(await spec_of(redis, idle.headers["content-location"]))
    forged = [
        "", ".", "..", "x", secret, token[:-1], f"{token}x", f"{thread}.{thread}.{secret}",
        f"{token.rpartition('.')[0]}.", token.upper(), f"{{{thread}}}.{path.split('/')[4]}.{secret}",
        "é", "x" * 5000, pending, f"{pending.rpartition('.')[0]}.{secret}",
    ]  # fmt: skip
    for wrong in forged:
        response = await users.get(
            f"/threads/{thread}", headers=[(RUN_HEADER.encode(), wrong.encode())]
        )
        assert response.status_code == 401, wrong
        assert RUN_HEADER in response.json()["detail"]
    assert (await users.get(f"/threads/{thread}", headers={RUN_HEADER: token})).status_code == 200
    await users.post(f"{path}/cancel?wait=true", headers=ALICE)
    assert (await users.get(f"/threads/{thread}", headers={RUN_HEADER: token})).status_code == 401
    await users.post(f"{idle.headers['content-location']}/cancel", headers=ALICE)


async def test_a_run_without_a_user_has_no_token(http: httpx.AsyncClient, redis: Client) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    run = await http.post(f"/threads/{thread}/runs", json=STEPS)
    spec = await spec_of(redis, run.headers["content-location"])
    assert (spec.access_secret, token_of(spec)) == ("", "")
    await http.get(f"{run.headers['content-location']}/join")
