"""Assistants over HTTP: each field, each refusal, and what their graphs look like."""

import uuid
from collections.abc import AsyncIterator
from functools import reduce
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID, System, detail
from api.thread_state import SHOWN_BY, shows
from millstream.api.assistants.schemas import (
    AssistantCreate,
    AssistantDelete,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
    DrawQuery,
    SubgraphsQuery,
    VersionChoice,
    VersionSearch,
)
from millstream.shared.assistants import default_assistant_id
from millstream.shared.assistants import records as assistant_records
from millstream.shared.redis import connect

DEEP: dict[str, Any] = reduce(lambda inner, _: {"a": inner}, range(40), {})
STEPS_ID = default_assistant_id("steps")
FIELDS = {
    "assistant_id", "graph_id", "config", "context", "metadata", "name", "created_at",
    "updated_at", "version", "description",
}  # fmt: skip


@pytest.fixture
def mark() -> dict[str, str]:
    """Metadata that only the assistants of this test have."""
    return {"test": str(uuid.uuid4())}


@pytest.fixture(autouse=True)
async def nothing_left(http: httpx.AsyncClient, mark: dict[str, str]) -> AsyncIterator[None]:
    yield
    for each in await search(http, metadata=mark, limit=1000):
        await http.delete(f"/assistants/{each['assistant_id']}")


async def create(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post("/assistants", json={"graph_id": "steps", **body})
    assert response.status_code == 200, response.text
    made: dict[str, Any] = response.json()
    return made


async def search(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    response = await http.post("/assistants/search", json=body)
    assert response.status_code == 200, response.text
    found: list[dict[str, Any]] = response.json()
    return found


async def items(http: httpx.AsyncClient, assistant_id: str, **body: Any) -> list[int]:
    """Returns what a run of the assistant counts."""
    response = await http.post(
        "/runs/wait", json={"assistant_id": assistant_id, "input": {}, **body}
    )
    assert response.status_code == 200, response.text
    counted: list[int] = response.json()["items"]
    return counted


def knobs(**values: Any) -> dict[str, Any]:
    return {"configurable": values}


# ── Create and change ───────────────────────────────────────────────────────────────────────


@shows(
    AssistantCreate,
    "graph_id", "assistant_id", "config", "context", "metadata", "if_exists", "name", "description",
)  # fmt: skip
async def test_create(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    plain = await create(http, metadata=mark)
    assert plain == {
        "assistant_id": plain["assistant_id"],
        "graph_id": "steps",
        "config": {},
        "context": {},
        "metadata": mark,
        "name": "Untitled",
        "description": None,
        "version": 1,
        "created_at": plain["created_at"],
        "updated_at": plain["created_at"],
    }
    chosen = str(uuid.uuid4())
    config = {"tags": ["t"], "recursion_limit": 9, **knobs(n=2)}
    given = {
        "config": config,
        "context": {"n": 2},
        "metadata": mark,
        "name": "N",
        "description": "D",
    }
    made = await create(http, assistant_id=chosen, **given)
    assert made.items() >= {**given, "assistant_id": chosen}.items()
    assert (await http.get(f"/assistants/{chosen}")).json() == made
    again = {"graph_id": "steps", "assistant_id": chosen}
    response = await http.post("/assistants", json=again)
    assert (response.status_code, chosen in detail(response)) == (409, True)
    assert await create(http, assistant_id=chosen, if_exists="do_nothing", name="other") == made
    assert await items(http, chosen) == [0, 1]
    assert await items(http, chosen, config=knobs(n=1)) == [0]
    taken = await http.post("/assistants", json={**again, "assistant_id": STEPS_ID})
    assert taken.status_code == 409


async def test_its_runs_say_whose_they_are(
    http: httpx.AsyncClient, thread: str, mark: dict[str, str]
) -> None:
    made = (await create(http, metadata=mark, config=knobs(n=1)))["assistant_id"]
    path = f"/threads/{thread}/runs"
    await http.post(f"{path}/wait", json={"assistant_id": made, "input": {}})
    [run] = (await http.get(path)).json()
    assert run["assistant_id"] == made
    assert run["metadata"] == {**mark, "graph_id": "steps", "assistant_id": made}
    assert run["kwargs"]["config"]["configurable"].items() >= {"n": 1, "assistant_id": made}.items()
    shown = (await http.get(f"/threads/{thread}")).json()["metadata"]
    assert (shown["assistant_id"], shown["graph_id"]) == (made, "steps")


@shows(AssistantPatch, "graph_id", "config", "context", "metadata", "name", "description")
async def test_patch(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    made = await create(http, metadata=mark, name="first", config=knobs(n=1))
    path = f"/assistants/{made['assistant_id']}"
    changes: list[dict[str, Any]] = [
        {"name": "second"},
        {"description": "D"},
        {"config": knobs(n=2)},
        {"context": {"n": 3}},
        {"graph_id": "chat"},
    ]
    expected = made
    for number, change in enumerate(changes, start=2):
        patched = (await http.patch(path, json=change)).json()
        expected = {**expected, **change, "version": number}
        assert patched == {**expected, "updated_at": patched["updated_at"]}
        assert patched["updated_at"] > made["updated_at"]
    merged = (await http.patch(path, json={"metadata": {"more": [1]}, "name": None})).json()
    assert (merged["metadata"], merged["name"]) == ({**mark, "more": [1]}, "second")


async def test_a_default_assistant_is_changed_but_not_deleted(
    http: httpx.AsyncClient, system: System
) -> None:
    path = f"/assistants/{default_assistant_id('custom')}"
    before = (await http.get(path)).json()
    patched = (await http.patch(path, json={"config": knobs(n=1), "metadata": {"x": 1}})).json()
    assert (patched["version"], patched["created_at"]) == (2, before["created_at"])
    assert patched["metadata"] == {"created_by": "system", "x": 1}
    told = await http.post("/runs/wait", json={"assistant_id": "custom", "input": {}})
    assert told.status_code == 200
    [found] = await search(http, graph_id="custom")
    assert found == patched
    refused = await http.patch(path, json={"graph_id": "chat"})
    assert (refused.status_code, detail(refused)[:8]) == (422, "graph_id")
    for query in ("", "?delete_threads=true"):
        refused = await http.delete(f"{path}{query}")
        assert (refused.status_code, "default" in detail(refused)) == (409, True)
    back = await http.post(f"{path}/latest", json={"version": 1})
    assert {**back.json(), "updated_at": ""} == {**before, "updated_at": ""}
    redis = connect(system.fleet.redis_url)
    await assistant_records.delete(redis, before["assistant_id"])  # for the other tests
    await redis.aclose()


@shows(VersionSearch, "metadata", "limit", "offset")
@shows(VersionChoice, "version")
async def test_versions(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    made = await create(http, metadata=mark, name="1", config=knobs(n=1))
    path = f"/assistants/{made['assistant_id']}"
    for number in (2, 3):
        body = {"name": str(number), "metadata": {"number": number}, "config": knobs(n=number)}
        await http.patch(path, json=body)

    async def names(**body: Any) -> list[str]:
        response = await http.post(f"{path}/versions", json=body)
        assert all(set(each) == FIELDS - {"updated_at"} for each in response.json())
        return [each["name"] for each in response.json()]

    assert await names() == ["3", "2", "1"]
    assert await names(limit=1, offset=1) == ["2"]
    assert await names(metadata={"number": 2}) == ["2"]
    chosen = (await http.post(f"{path}/latest", json={"version": 1})).json()
    assert {**made, "updated_at": ""} == {**chosen, "updated_at": ""}
    assert await items(http, made["assistant_id"]) == [0]
    assert (await http.patch(path, json={"name": "4"})).json()["version"] == 4
    for version in (9, 0, "1", None):
        response = await http.post(f"{path}/latest", json={"version": version})
        assert response.status_code == (404 if version == 9 else 422)
        assert "version" in detail(response)
    only = (await http.post(f"/assistants/{STEPS_ID}/versions", json={})).json()
    assert [(each["version"], each["name"]) for each in only] == [(1, "steps")]


@shows(AssistantDelete, "delete_threads")
@pytest.mark.parametrize("threads_too", [False, True])
async def test_delete(http: httpx.AsyncClient, mark: dict[str, str], threads_too: bool) -> None:
    made = (await create(http, metadata=mark))["assistant_id"]
    threads = [(await http.post("/threads", json={})).json()["thread_id"] for _ in range(3)]
    for thread in threads[:2]:
        body = {"assistant_id": made, "input": {}}
        await http.post(f"/threads/{thread}/runs/wait", json=body)
    slow = {"assistant_id": "slow", "input": {}}
    await http.post(f"/threads/{threads[2]}/runs", json=slow)
    cron = {"assistant_id": made, "schedule": "0 0 1 1 *"}
    cron_id = (await http.post("/runs/crons", json=cron)).json()["cron_id"]
    query = {"delete_threads": str(threads_too).lower()}
    response = await http.delete(f"/assistants/{made}", params=query)
    assert (response.status_code, response.content) == (204, b"")
    assert (await http.get(f"/assistants/{made}")).status_code == 404
    assert (await http.get(f"/runs/crons/{cron_id}")).status_code == 404
    left = [(await http.get(f"/threads/{thread}")).status_code for thread in threads]
    assert left == ([404, 404, 200] if threads_too else [200] * 3)
    assert (await http.post("/runs/wait", json={"assistant_id": made})).status_code == 404
    assert (await http.delete(f"/assistants/{made}")).status_code == 404
    for thread in threads:
        await http.delete(f"/threads/{thread}")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "graph_id"),
        ({"graph_id": "nope"}, "graph_id"),
        ({"graph_id": STEPS_ID}, "graph_id"),
        ({"graph_id": "steps", "assistant_id": "x"}, "assistant_id"),
        ({"graph_id": "steps", "if_exists": "maybe"}, "if_exists"),
        ({"graph_id": "steps", "config": []}, "config"),
        ({"graph_id": "steps", "config": {"recursion_limit": 0}}, "config.recursion_limit"),
        ({"graph_id": "steps", "context": "x"}, "context"),
        ({"graph_id": "steps", "metadata": DEEP}, "metadata"),
        ({"graph_id": "steps", "name": ""}, "name"),
        ({"graph_id": "steps", "name": 5}, "name"),
        ({"graph_id": "steps", "description": 5}, "description"),
        ({"graph_id": "steps", "context": {"a": "x" * 300_000}}, "config, context, metadata"),
    ],
)
async def test_what_is_refused_is_named(
    http: httpx.AsyncClient, body: dict[str, Any], field: str
) -> None:
    response = await http.post("/assistants", json=body)
    assert (response.status_code, detail(response)[: len(field)]) == (422, field)


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"graph_id": "nope"}, "graph_id"),
        ({"config": {"tags": "t"}}, "config.tags"),
        ({"context": DEEP}, "context"),
        ({"metadata": 1}, "metadata"),
        ({"name": ""}, "name"),
        ({"description": []}, "description"),
        ({"metadata": {"a": "x" * 300_000}}, "config, context, metadata"),
    ],
)
async def test_what_is_refused_of_a_patch_changes_nothing(
    http: httpx.AsyncClient, mark: dict[str, str], body: dict[str, Any], field: str
) -> None:
    made = await create(http, metadata=mark)
    path = f"/assistants/{made['assistant_id']}"
    response = await http.patch(path, json=body)
    assert (response.status_code, detail(response)[: len(field)]) == (422, field)
    assert (await http.get(path)).json() == made


async def test_what_is_not_there(http: httpx.AsyncClient) -> None:
    calls: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", "", {}), ("PATCH", "", {}), ("DELETE", "", {}), ("POST", "/versions", {}),
        ("POST", "/latest", {"version": 1}), ("GET", "/schemas", {}), ("GET", "/graph", {}),
        ("GET", "/subgraphs", {}), ("GET", "/subgraphs/child", {}),
    ]  # fmt: skip
    for name, status in ((UNKNOWN_ID, 404), ("nope", 422)):
        for method, tail, body in calls:
            response = await http.request(method, f"/assistants/{name}{tail}", json=body)
            assert (response.status_code, "assistant" in detail(response).lower()) == (status, True)
    for method, tail, body in calls[:5]:
        response = await http.request(method, f"/assistants/steps{tail}", json=body)
        assert (response.status_code, "assistant" in detail(response).lower()) == (422, True)


async def test_a_graph_is_drawn_by_its_name_too(http: httpx.AsyncClient) -> None:
    [nested] = (await http.post("/assistants/search", json={"graph_id": "nested"})).json()[:1]
    for tail in ("/schemas", "/graph?xray=1", "/subgraphs", "/subgraphs/child"):
        by_name, by_id = [
            await http.get(f"/assistants/{name}{tail}")
            for name in ("nested", nested["assistant_id"])
        ]
        assert by_name.status_code == 200
        assert by_name.json() == by_id.json()


# ── Found ───────────────────────────────────────────────────────────────────────────────────


@shows(AssistantFilter, "metadata", "graph_id", "name")
@shows(
    AssistantSearch,
    "metadata", "graph_id", "name", "limit", "offset", "sort_by", "sort_order", "select",
)  # fmt: skip
async def test_search_and_count(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    metadata = {**mark, "deep": {"er": [1, {"a": 2}]}}
    one = await create(http, metadata=metadata, name="Alpha one")
    two = await create(http, metadata={**mark, "n": 2}, name="beta TWO")
    three = await create(http, metadata=mark, name="gamma", graph_id="chat")

    async def names(**body: Any) -> list[str]:
        body.setdefault("metadata", mark)
        found = [each["name"] for each in await search(http, **body)]
        if not body.keys() & {"limit", "offset"}:
            given = {k: v for k, v in body.items() if k in ("metadata", "graph_id", "name")}
            counted = await http.post("/assistants/count", json=given)
            assert counted.json() == len(found)
        return found

    assert await names() == ["gamma", "beta TWO", "Alpha one"]
    assert await names(graph_id="chat") == ["gamma"]
    assert await names(name="two") == ["beta TWO"]
    assert await names(metadata={**mark, "deep": {"er": [{"a": 2}]}}) == ["Alpha one"]
    assert await names(metadata={**mark, "n": 2.0}) == ["beta TWO"]
    for sort_by, order in {
        "name": ["Alpha one", "beta TWO", "gamma"],
        "created_at": ["Alpha one", "beta TWO", "gamma"],
        "updated_at": ["Alpha one", "beta TWO", "gamma"],
        "assistant_id": [
            each["name"] for each in sorted((one, two, three), key=lambda a: a["assistant_id"])
        ],
    }.items():
        assert await names(sort_by=sort_by, sort_order="asc") == order
        assert await names(sort_by=sort_by, sort_order="desc") == order[::-1]
    assert (await names(sort_by="graph_id", sort_order="asc"))[0] == "gamma"
    assert await names(limit=1, offset=1) == ["beta TWO"]
    page = await http.post("/assistants/search", json={"metadata": mark, "limit": 2})
    assert page.headers["x-pagination-total"] == "3"
    assert page.headers["x-pagination-next"] == "2"
    last = await http.post("/assistants/search", json={"metadata": mark, "limit": 2, "offset": 2})
    assert "x-pagination-next" not in last.headers
    chosen = await search(http, metadata=mark, select=["name", "version"], limit=1)
    assert chosen == [{"name": "gamma", "version": 1}]
    everything = await search(http, limit=1000)
    assert {each["assistant_id"] for each in everything} >= {STEPS_ID, one["assistant_id"]}
    assert all(set(each) == FIELDS for each in everything)


# ── Graphs ──────────────────────────────────────────────────────────────────────────────────


async def test_schemas(http: httpx.AsyncClient) -> None:
    shown = (await http.get(f"/assistants/{STEPS_ID}/schemas")).json()
    assert shown["graph_id"] == "steps"
    for name in ("input_schema", "output_schema", "state_schema"):
        assert shown[name]["properties"]["items"]["type"] == "array", name
    assert (shown["config_schema"], shown["context_schema"]) == ({}, None)


async def test_schemas_of_a_context(web: httpx.AsyncClient) -> None:
    shown = (await web.get(f"/assistants/{default_assistant_id('probe')}/schemas")).json()
    for name in ("config_schema", "context_schema"):
        assert shown[name]["properties"].keys() == {"user", "level", "extras"}
    odd = (await web.get(f"/assistants/{default_assistant_id('odd')}/schemas")).json()
    assert odd["state_schema"]["properties"].keys() == {"kept", "done"}


@shows(DrawQuery, "xray")
async def test_graph(http: httpx.AsyncClient) -> None:
    path = f"/assistants/{default_assistant_id('nested')}/graph"

    async def nodes(**query: Any) -> set[str]:
        response = await http.get(path, params=query)
        assert response.status_code == 200, response.text
        return {node["id"] for node in response.json()["nodes"]}

    flat = {"__start__", "pre", "child", "post", "__end__"}
    assert await nodes() == await nodes(xray="false") == flat
    deep = flat - {"child"} | {"child:c1", "child:c2"}
    assert await nodes(xray="true") == await nodes(xray=1) == await nodes(xray=5) == deep
    edges = (await http.get(path)).json()["edges"]
    assert {"source": "__start__", "target": "pre"} in edges
    for xray in ("much", -1, 1000):
        response = await http.get(path, params={"xray": xray})
        assert (response.status_code, "xray" in detail(response)) == (422, True)


@shows(SubgraphsQuery, "recurse")
async def test_subgraphs(http: httpx.AsyncClient) -> None:
    path = f"/assistants/{default_assistant_id('nested')}/subgraphs"
    for tail in ("", "/child", "?recurse=true", "/child?recurse=true"):
        shown = (await http.get(f"{path}{tail}")).json()
        assert list(shown) == ["child"]
        assert shown["child"]["state_schema"]["properties"]
    assert (await http.get(f"/assistants/{STEPS_ID}/subgraphs")).json() == {}
    response = await http.get(f"{path}/nobody")
    assert (response.status_code, detail(response)[:9]) == (422, "namespace")
    response = await http.get(path, params={"recurse": "deep"})
    assert (response.status_code, "recurse" in detail(response)) == (422, True)


def test_every_field_has_a_test() -> None:
    for model in (
        AssistantCreate, AssistantPatch, AssistantDelete, AssistantFilter, AssistantSearch,
        VersionSearch, VersionChoice, DrawQuery, SubgraphsQuery,
    ):  # fmt: skip
        assert SHOWN_BY[model] == set(model.model_fields), model
