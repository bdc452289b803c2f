"""Searches, counts and patches of threads over HTTP."""

import asyncio
import uuid
from typing import Any

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, detail
from api.run_fields import busy
from api.thread_state import COVERED_FIELDS, covers
from millstream.api.threads.schemas import ThreadFilter, ThreadPatch, ThreadSearch

FIELDS = {
    "thread_id", "created_at", "updated_at", "state_updated_at", "metadata", "config", "status",
    "values", "interrupts", "error",
}  # fmt: skip


@pytest.fixture
def mine() -> dict[str, str]:
    """Metadata of the threads of this test only."""
    return {"test": str(uuid.uuid4())}


async def create(http: httpx.AsyncClient, **metadata: Any) -> str:
    response = await http.post("/threads", json={"metadata": metadata})
    return str(response.json()["thread_id"])


async def search(http: httpx.AsyncClient, **body: Any) -> list[dict[str, Any]]:
    response = await http.post("/threads/search", json=body)
    assert response.status_code == 200, response.text
    matches = response.json()
    assert isinstance(matches, list)
    return matches


async def ids(http: httpx.AsyncClient, **body: Any) -> list[str]:
    return [thread["thread_id"] for thread in await search(http, **body)]


async def count(http: httpx.AsyncClient, **body: Any) -> int:
    response = await http.post("/threads/count", json=body)
    assert response.status_code == 200, response.text
    return int(response.text)


@covers(ThreadSearch, "metadata", "limit", "offset")
@covers(ThreadFilter, "metadata")
async def test_threads_are_listed_in_pages(http: httpx.AsyncClient, mine: dict[str, str]) -> None:
    created = [await create(http, **mine, n={"half": n % 2}) for n in range(5)][::-1]
    assert await ids(http, metadata=mine) == created
    assert await count(http, metadata=mine) == 5
    assert await count(http, metadata={**mine, "n": {"half": 0}}) == 3
    seen, offset = [], 0
    while True:
        body = {"metadata": mine, "limit": 2, "offset": offset}
        page = await http.post("/threads/search", json=body)
        assert page.headers["x-pagination-total"] == "5"
        seen += page.json()
        if (following := page.headers.get("x-pagination-next")) is None:
            break
        assert int(following) == offset + 2
        offset += 2
    assert seen == await search(http, metadata=mine)
    past = await http.post("/threads/search", json={"metadata": mine, "offset": 2**53})
    assert (past.json(), past.headers["x-pagination-total"]) == ([], "5")
    assert len(await search(http)) <= 10
    assert await count(http) >= 5


@covers(ThreadSearch, "sort_by", "sort_order", "status", "values", "ids")
@covers(ThreadFilter, "status", "values")
async def test_threads_are_found_by_the_effects_of_runs(
    http: httpx.AsyncClient, mine: dict[str, str]
) -> None:
    first, second, third = [await create(http, **mine) for _ in range(3)]
    await http.post(f"/threads/{first}/runs/wait", json=STEPS)
    run = await busy(http, third)
    everywhere = {"metadata": mine}
    assert await ids(http, **everywhere, sort_by="created_at") == [third, second, first]
    assert await ids(http, **everywhere, sort_by="updated_at", sort_order="asc") == [
        second, first, third,
    ]  # fmt: skip
    assert (await ids(http, **everywhere, sort_by="state_updated_at"))[0] == first
    for order in ("asc", "desc"):
        matches = await ids(http, **everywhere, sort_by="thread_id", sort_order=order)
        assert matches == sorted([first, second, third], reverse=order == "desc")
    assert (await ids(http, **everywhere, sort_by="status", sort_order="asc"))[0] == third
    assert await ids(http, **everywhere, status="busy") == [third]
    assert await ids(http, **everywhere, status="idle") == [second, first]
    assert await count(http, **everywhere, status="idle") == 2
    assert await ids(http, metadata={**mine, "graph_id": "steps"}) == [first]
    assert await ids(http, **everywhere, values={"items": [2, 0]}) == [first]
    assert await count(http, **everywhere, values={"items": [3]}) == 0
    assert await count(http, **everywhere, values={"items": []}) == 1
    assert await ids(http, ids=[first, UNKNOWN_ID, third.upper()]) == [third, first]
    assert await ids(http, ids=[first, third], status="idle") == [first]
    assert await ids(http, ids=[]) == []
    [match] = await search(http, ids=[first])
    assert match == (await http.get(f"/threads/{first}")).json()
    await http.post(f"/threads/{third}/runs/{run}/cancel", params={"wait": 1})
    assert await ids(http, **everywhere, status="busy") == []
    await http.delete(f"/threads/{first}")
    assert await ids(http, **everywhere) == [third, second]


@covers(ThreadSearch, "select", "extract")
async def test_select_and_extract(http: httpx.AsyncClient, mine: dict[str, str]) -> None:
    thread = await create(http, **mine, deep={"list": [{"a b": 1}]})
    await http.post(f"/threads/{thread}/runs/wait", json=STEPS)
    [whole] = await search(http, metadata=mine, select=[])
    assert set(whole) == FIELDS
    for field in FIELDS:
        assert await search(http, metadata=mine, select=[field]) == [{field: whole[field]}]
    paths = {
        "last": "values.items[-1]", "first": "values.items[0]", "past": "values.items[9]",
        "all": "values", "deep": "metadata.deep.list[0].a b", "none": "values.items.name",
        "graph": "metadata.graph_id", "config": "config", "interrupts": "interrupts.x[0]",
    }  # fmt: skip
    expected = {
        "last": 2, "first": 0, "past": None, "all": {"items": [0, 1, 2]}, "deep": 1, "none": None,
        "graph": "steps", "config": whole["config"], "interrupts": None,
    }  # fmt: skip
    [match] = await search(http, metadata=mine, extract=paths)
    assert match == {**whole, "extracted": expected}
    [match] = await search(http, metadata=mine, extract=paths, select=["thread_id"])
    assert match == {"thread_id": thread, "extracted": expected}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0), ("limit", 1001), ("limit", "x"), ("offset", -1), ("offset", 2**60),
        ("status", "bogus"), ("status", 1), ("sort_by", "values"), ("sort_order", "up"),
        ("ids", ["x"]), ("ids", UNKNOWN_ID), ("ids", [UNKNOWN_ID] * 1001), ("metadata", []),
        ("values", "x"), ("select", ["bogus"]), ("select", "values"), ("extract", {"a": 1}),
        ("extract", {"a": "thread_id"}), ("extract", {"a": "values."}), ("extract", {"a": ""}),
        ("extract", {"a": "values[x]"}), ("extract", {"a": "values[0"}), ("extract", {"a": "values]"}),
        ("extract", {"a": "values" + ".a" * 600}), ("extract", {str(n): "values" for n in range(11)}),
    ],
)  # fmt: skip
async def test_an_invalid_search_names_the_field(
    http: httpx.AsyncClient, field: str, value: Any
) -> None:
    response = await http.post("/threads/search", json={field: value})
    assert response.status_code == 422, response.text
    assert detail(response).startswith(field)
    if field in ThreadFilter.model_fields:
        response = await http.post("/threads/count", json={field: value})
        assert response.status_code == 422
        assert detail(response).startswith(field)


async def test_unusual_filters_are_handled(http: httpx.AsyncClient, mine: dict[str, str]) -> None:
    thread = await create(http, **mine)
    empty = dict.fromkeys(ThreadSearch.model_fields) | {"metadata": mine}
    assert await ids(http, **empty) == [thread]
    assert (await http.post("/threads/search")).status_code == 200
    assert (await http.post("/threads/count", content=b"")).status_code == 200
    deep: Any = 1
    for _ in range(40):
        deep = {"a": [deep]}
    response = await http.post("/threads/search", json={"metadata": deep})
    assert response.status_code == 422
    assert detail(response).startswith("metadata: a filter must not be nested")
    held = await create(http, **mine, deep=deep)
    assert await ids(http, metadata={**mine, "deep": {"a": [{"a": []}]}}) == [held]
    many = {f"k{n}": n for n in range(10_000)}
    large = await create(http, **mine, **many)
    assert await ids(http, metadata={**mine, "k9999": 9999}) == [large]
    assert await count(http, metadata={**mine, "k9999": 1}) == 0


# ── Patch ───────────────────────────────────────────────────────────────────────────────────


@covers(ThreadPatch, "metadata", "ttl")
async def test_a_patch_merges_metadata(http: httpx.AsyncClient, mine: dict[str, str]) -> None:
    thread = await create(http, **mine, a={"b": 1})
    path = f"/threads/{thread}"
    patched = await http.patch(path, json={"metadata": {"a": {"c": 2}, "d": [1]}})
    assert patched.json()["metadata"] == {**mine, "a": {"c": 2}, "d": [1]}
    assert patched.json() == (await http.get(path)).json()
    by_state = await http.patch(
        f"{path}/state", json={"metadata": {"d": [1]}}
    )  # the form of the npm SDK
    assert by_state.json()["metadata"] == patched.json()["metadata"]
    assert await ids(http, metadata={**mine, "a": {"b": 1}}) == []
    assert await ids(http, metadata={**mine, "a": {"c": 2}}) == [thread]
    for prefer in ("return=minimal", "respond-async, Return = Minimal; x=1"):
        response = await http.patch(path, json={"ttl": 5}, headers={"Prefer": prefer})
        assert (response.status_code, response.content) == (204, b"")
    ttl = (await http.get(path, params={"include": "ttl"})).json()["ttl"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("delete", 5)
    body = {"ttl": {"ttl": 7.5, "strategy": "keep_latest"}, "metadata": None}
    assert (await http.patch(path, json=body)).json()["metadata"] == patched.json()["metadata"]
    ttl = (await http.get(path, params={"include": "ttl"})).json()["ttl"]
    assert (ttl["strategy"], ttl["ttl_minutes"]) == ("keep_latest", 7.5)
    await http.post(f"{path}/runs/wait", json=STEPS)
    metadata = {"graph_id": "mine", "e": None}
    match = (await http.patch(path, json={"metadata": metadata})).json()["metadata"]
    assert (match["graph_id"], match["e"]) == ("steps", None)  # from its newest run


async def test_the_metadata_of_a_new_thread_is_limited(http: httpx.AsyncClient) -> None:
    large = {"a": "x" * 2**20}
    step = {"updates": [{"values": {"items": []}, "as_node": "step"}]}
    for more in ({}, {"supersteps": [step], "graph_id": "steps"}):
        response = await http.post("/threads", json={"metadata": large, **more})
        assert response.status_code == 413
        assert detail(response).startswith("metadata")


async def test_invalid_patches_are_rejected(http: httpx.AsyncClient, thread: str) -> None:
    assert (await http.patch(f"/threads/{UNKNOWN_ID}", json={"metadata": {}})).status_code == 404
    assert (await http.patch("/threads/x", json={"metadata": {}})).status_code == 422
    for field, value in (("metadata", []), ("ttl", 0), ("ttl", {"ttl": 1, "strategy": "x"})):
        response = await http.patch(f"/threads/{thread}", json={field: value})
        assert response.status_code == 422
        assert detail(response).startswith(field)
    response = await http.patch(f"/threads/{thread}", json={"metadata": {"a": "x" * 2**20}})
    assert response.status_code == 413
    assert detail(response).startswith("metadata")


# ── Runs of a thread, and many runs ─────────────────────────────────────────────────────────


async def test_the_runs_of_a_thread_are_listed_in_pages(
    http: httpx.AsyncClient, thread: str
) -> None:
    path = f"/threads/{thread}/runs"
    for _ in range(3):
        await http.post(f"{path}/wait", json=STEPS)
    run = await busy(http, thread)

    async def listed(**query: Any) -> list[str]:
        return [run["run_id"] for run in (await http.get(path, params=query)).json()]

    everything = await listed()
    assert len(everything) == 4
    assert everything[0] == run
    assert await listed(limit=2, offset=1) == everything[1:3]
    assert await listed(status="running") == [run]
    assert await listed(status="success") == everything[1:]
    assert await listed(status="success", limit=1, offset=1) == everything[2:3]
    assert await listed(status="error") == await listed(offset=9) == []
    for select in (["run_id", "status"], "run_id,status", '["run_id","status"]'):
        rows = (await http.get(path, params={"select": select, "limit": 1})).json()
        assert rows == [{"run_id": run, "status": "running"}]
    for select in ("[", "[1]", '["x"]', '[["status"]]', "[" * 5000):
        response = await http.get(path, params={"select": select})
        assert response.status_code == 422, select
        assert detail(response).startswith("select")
    await http.post(f"{path}/{run}/cancel", params={"wait": 1})


async def test_a_batch_creates_its_runs(http: httpx.AsyncClient) -> None:
    body = [{**STEPS, "on_completion": "keep", "metadata": {"n": n}} for n in range(3)]
    response = await http.post("/runs/batch", json=body)
    assert response.status_code == 200, response.text
    created = response.json()
    assert [run["metadata"]["n"] for run in created] == [0, 1, 2]
    assert len({run["thread_id"] for run in created}) == 3
    ended = await asyncio.gather(*(http.get(f"/runs/{run['run_id']}/join") for run in created))
    assert [answer.json() for answer in ended] == [{"items": [0, 1, 2]}] * 3
    assert (await http.get(f"/threads/{created[0]['thread_id']}")).json()["status"] == "idle"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ([], "body: "),
        ({}, "body: Input should be a list"),
        ([1], "0: "),
        ([STEPS, {}], "1.assistant_id: Field required"),
        ([STEPS, {**STEPS, "after_seconds": -1}], "1.after_seconds: "),
        ([STEPS, {**STEPS, "stream": True}], "1.stream: "),
        ([STEPS, {**STEPS, "command": {"goto": 1}}], "1.command.goto"),
        ([STEPS, {"assistant_id": "nobody"}], "1: "),
        ([STEPS] * 501, "body: "),
    ],
)
async def test_a_batch_is_admitted_completely_or_not_at_all(
    http: httpx.AsyncClient, body: Any, said: str
) -> None:
    if isinstance(body, list):
        mark = str(uuid.uuid4())
        body = [
            {**run, "config": {"tags": [mark]}} if isinstance(run, dict) else run for run in body
        ]
    response = await http.post("/runs/batch", json=body)
    assert response.status_code in (404, 422), response.text
    assert detail(response).startswith(said)


def test_every_field_is_tested() -> None:
    for model in (ThreadSearch, ThreadFilter, ThreadPatch):
        assert COVERED_FIELDS[model] == set(model.model_fields)


@covers(ThreadFilter, "exclude_metadata")
@covers(ThreadSearch, "exclude_metadata")
async def test_exclude_metadata_excludes_threads(
    http: httpx.AsyncClient, mine: dict[str, str]
) -> None:
    plain = await create(http, **mine)
    hidden = await create(http, **mine, hidden=True, tags=["a", "b"])
    deep = await create(http, **mine, owner={"name": "ann", "team": 1})

    async def left(exclude: Any, **more: Any) -> set[str]:
        matches = await ids(http, metadata=mine, exclude_metadata=exclude, **more)
        assert await count(http, metadata=mine, exclude_metadata=exclude) == len(matches)
        return set(matches)

    everything = {plain, hidden, deep}
    assert await left(None) == everything
    assert await left({"hidden": True}) == {plain, deep}
    assert await left({"hidden": False}) == everything  # threads without the key stay
    assert await left({"tags": ["b"]}) == {plain, deep}
    assert await left({"owner": {"name": "ann"}}) == {plain, hidden}
    assert await left({"owner": {"name": "bob"}}) == everything
    assert await left([{"hidden": True}, {"owner": {"team": 1}}]) == {plain}
    assert (
        await left([{"hidden": True, "tags": ["c"]}]) == everything
    )  # all entries of an object must match
    assert await left(mine) == set()
    for sort in ("status", "thread_id", "updated_at"):
        assert await left({"hidden": True}, sort_by=sort) == {plain, deep}
    assert await ids(http, ids=[plain, hidden], exclude_metadata={"hidden": True}) == [plain]
    page = {"metadata": mine, "exclude_metadata": {"hidden": True}, "limit": 1, "sort_order": "asc"}
    assert await ids(http, **page) == [plain]
    assert await ids(http, **page, offset=1) == [deep]
    assert await ids(http, **page, offset=2) == []


@pytest.mark.parametrize(
    "wrong", [{}, [], [{}], "hidden", [1], [{"a": 1}, "b"], 7, [{"a": 1}] * 21]
)
async def test_an_invalid_exclude_metadata_is_422(http: httpx.AsyncClient, wrong: Any) -> None:
    for path in ("/threads/search", "/threads/count"):
        response = await http.post(path, json={"exclude_metadata": wrong})
        assert response.status_code == 422
        assert "exclude_metadata" in detail(response)
