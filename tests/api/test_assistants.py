"""Assistants over HTTP: each field, each error, and the schemas and drawings of their graphs."""

import uuid
from collections.abc import AsyncIterator
from functools import reduce
from typing import Any

import httpx
import pytest

from api.requests import UNKNOWN_ID, System, detail
from api.thread_state import COVERED_FIELDS, covers
from millstream.api.assistants.schemas import (
    AssistantCreate,
    AssistantDelete,
    AssistantFilter,
    AssistantPatch,
    AssistantSearch,
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
    """Metadata of the assistants of this test only."""
    return {"test": str(uuid.uuid4())}


@pytest.fixture(autouse=True)
async def nothing_left(http: httpx.AsyncClient, mark: dict[str, str]) -> AsyncIterator[None]:
    yield
    for each in await search(http, metadata=mark, limit=1000):
        await http.delete(f"/assistants/{each['assistant_id']}")


async def create(http: httpx.AsyncClient, **body: Any) -> dict[str, Any]:
    response = await http.post("/assistants", json={"graph_id": "steps", **body})
    assert response.status_code == 200, response.text
    assistant: dict[str, Any] = response.json()
    return assistant


async def search(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    response = await http.post("/assistants/search", json=body)
    assert response.status_code == 200, response.text
    matches: list[dict[str, Any]] = response.json()
    return matches


async def items(http: httpx.AsyncClient, assistant_id: str, **body: Any) -> list[int]:
    """Returns the items of a run of the assistant."""
    response = await http.post(
        "/runs/wait", json={"assistant_id": assistant_id, "input": {}, **body}
    )
    assert response.status_code == 200, response.text
    counted: list[int] = response.json()["items"]
    return counted


def knobs(**values: Any) -> dict[str, Any]:
    return {"configurable": values}


# ── Create and change ───────────────────────────────────────────────────────────────────────


@covers(
    AssistantCreate,
    "graph_id", "assistant_id", "config", "context", "metadata", "if_exists", "name", "description",
)  # fmt: skip
async def test_an_assistant_is_created(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
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
    fields = {
        "config": config,
        "context": {"n": 2},
        "metadata": mark,
        "name": "N",
        "description": "D",
    }
    assistant = await create(http, assistant_id=chosen, **fields)
    assert assistant.items() >= {**fields, "assistant_id": chosen}.items()
    assert (await http.get(f"/assistants/{chosen}")).json() == assistant
    again = {"graph_id": "steps", "assistant_id": chosen}
    response = await http.post("/assistants", json=again)
    assert (response.status_code, chosen in detail(response)) == (409, True)
    assert (
        await create(http, assistant_id=chosen, if_exists="do_nothing", name="other") == assistant
    )
    assert await items(http, chosen) == [0, 1]
    assert await items(http, chosen, config=knobs(n=1)) == [0]
    taken = await http.post("/assistants", json={**again, "assistant_id": STEPS_ID})
    assert taken.status_code == 409


async def test_runs_have_the_id_of_their_assistant(
    http: httpx.AsyncClient, thread: str, mark: dict[str, str]
) -> None:
    assistant = (await create(http, metadata=mark, config=knobs(n=1)))["assistant_id"]
    path = f"/threads/{thread}/runs"
    await http.post(f"{path}/wait", json={"assistant_id": assistant, "input": {}})
    [run] = (await http.get(path)).json()
    assert run["assistant_id"] == assistant
    assert run["metadata"] == {**mark, "graph_id": "steps", "assistant_id": assistant}
    assert (
        run["kwargs"]["config"]["configurable"].items()
        >= {"n": 1, "assistant_id": assistant}.items()
    )
    run_metadata = (await http.get(f"/threads/{thread}")).json()["metadata"]
    assert (run_metadata["assistant_id"], run_metadata["graph_id"]) == (assistant, "steps")


@covers(AssistantPatch, "graph_id", "config", "context", "metadata", "name", "description")
async def test_an_assistant_is_updated(http: httpx.AsyncClient, mark: dict[str, str]) -> None:
    assistant = await create(http, metadata=mark, name="first", config=knobs(n=1))
    path = f"/assistants/{assistant['assistant_id']}"
    changes: list[dict[str, Any]] = [
        {"name": "second"},
        {"description": "D"},
        {"config": knobs(n=2)},
        {"context": {"n": 3}},
        {"graph_id": "chat"},
    ]
    expected = assistant
    for number, change in enumerate(changes, start=2):
        patched = (await http.patch(path, json=change)).json()
        expected = {**expected, **change, "version": number}
        assert patched == {**expected, "updated_at": patched["updated_at"]}
        assert patched["updated_at"] > assistant["updated_at"]
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
    answer = await http.post("/runs/wait", json={"assistant_id": "custom", "input": {}})
    assert answer.status_code == 200
    [matches] = await search(http, graph_id="custom")
    assert matches == patched
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


@covers(VersionSearch, "metadata", "limit", "offset")
@covers(VersionChoice, "version")
async def test_versions_are_listed_and_chosen(
    http: httpx.AsyncClient, mark: dict[str, str]
) -> None:
    assistant = await create(http, metadata=mark, name="1", config=knobs(n=1))
    path = f"/assistants/{assistant['assistant_id']}"
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
    assert {**assistant, "updated_at": ""} == {**chosen, "updated_at": ""}
    assert await items(http, assistant["assistant_id"]) == [0]
    assert (await http.patch(path, json={"name": "4"})).json()["version"] == 4
    for version in (9, 0, "1", None):
        response = await http.post(f"{path}/latest", json={"version": version})
        assert response.status_code == (404 if version == 9 else 422)
        assert "version" in detail(response)
    only = (await http.post(f"/assistants/{STEPS_ID}/versions", json={})).json()
    assert [(each["version"], each["name"]) for each in only] == [(1, "steps")]


@covers(AssistantDelete, "delete_threads")
@pytest.mark.parametrize("threads_too", [False, True])
async def test_an_assistant_is_deleted(
    http: httpx.AsyncClient, mark: dict[str, str], threads_too: bool
) -> None:
    assistant = (await create(http, metadata=mark))["assistant_id"]
    threads = [(await http.post("/threads", json={})).json()["thread_id"] for _ in range(3)]
    for thread in threads[:2]:
        body = {"assistant_id": assistant, "input": {}}
        await http.post(f"/threads/{thread}/runs/wait", json=body)
    slow = {"assistant_id": "slow", "input": {}}
    await http.post(f"/threads/{threads[2]}/runs", json=slow)
    cron = {"assistant_id": assistant, "schedule": "0 0 1 1 *"}
    cron_id = (await http.post("/runs/crons", json=cron)).json()["cron_id"]
    query = {"delete_threads": str(threads_too).lower()}
    response = await http.delete(f"/assistants/{assistant}", params=query)
    assert (response.status_code, response.content) == (204, b"")
    assert (await http.get(f"/assistants/{assistant}")).status_code == 404
    assert (await http.get(f"/runs/crons/{cron_id}")).status_code == 404
    left = [(await http.get(f"/threads/{thread}")).status_code for thread in threads]
    assert left == ([404, 404, 200] if threads_too else [200] * 3)
    assert (await http.post("/runs/wait", json={"assistant_id": assistant})).status_code == 404
    assert (await http.delete(f"/assistants/{assistant}")).status_code == 404
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
async def test_an_invalid_field_is_named(
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
async def test_an_invalid_update_changes_nothing(
    http: httpx.AsyncClient, mark: dict[str, str], body: dict[str, Any], field: str
) -> None:
    assistant = await create(http, metadata=mark)
    path = f"/assistants/{assistant['assistant_id']}"
    response = await http.patch(path, json=body)
    assert (response.status_code, detail(response)[: len(field)]) == (422, field)
    assert (await http.get(path)).json() == assistant


async def test_an_unknown_assistant_is_404(http: httpx.AsyncClient) -> None:
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


# ── Found ───────────────────────────────────────────────────────────────────────────────────


@covers(AssistantFilter, "metadata", "graph_id", "name")
@covers(
    AssistantSearch,
    "metadata", "graph_id", "name", "limit", "offset", "sort_by", "sort_order", "select",
)  # fmt: skip
async def test_assistants_are_searched_and_counted(
    http: httpx.AsyncClient, mark: dict[str, str]
) -> None:
    metadata = {**mark, "deep": {"er": [1, {"a": 2}]}}
    one = await create(http, metadata=metadata, name="Alpha one")
    two = await create(http, metadata={**mark, "n": 2}, name="beta TWO")
    three = await create(http, metadata=mark, name="gamma", graph_id="chat")

    async def names(**body: Any) -> list[str]:
        body.setdefault("metadata", mark)
        matches = [each["name"] for each in await search(http, **body)]
        if not body.keys() & {"limit", "offset"}:
            fields = {k: v for k, v in body.items() if k in ("metadata", "graph_id", "name")}
            counted = await http.post("/assistants/count", json=fields)
            assert counted.json() == len(matches)
        return matches

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


def test_every_field_is_tested() -> None:
    for model in (
        AssistantCreate, AssistantPatch, AssistantDelete, AssistantFilter, AssistantSearch,
        VersionSearch, VersionChoice,
    ):  # fmt: skip
        assert COVERED_FIELDS[model] == set(model.model_fields), model
