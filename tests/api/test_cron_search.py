"""Crons are searched and counted over HTTP."""

from typing import Any

import httpx
import pytest

from api.crons import create
from api.requests import UNKNOWN_ID, detail
from millstream.shared.assistants import default_assistant_id

pytestmark = pytest.mark.usefixtures("no_crons_left")


async def test_crons_are_searched_and_counted(http: httpx.AsyncClient, thread: str) -> None:
    one = await create(http, schedule="0 0 1 6 *", metadata={"team": "a"})
    two = await create(http, thread, assistant_id="custom", end_time="2999-01-01T00:00:00Z")
    three = await create(http, schedule="0 0 1 7 *", enabled=False, metadata={"team": "b"})
    crons = {"one": one, "two": two, "three": three}

    async def names_of(**query: Any) -> list[str]:
        response = await http.post("/runs/crons/search", json=query)
        assert response.status_code == 200, response.text
        names = {cron["cron_id"]: name for name, cron in crons.items()}
        listed = response.json()
        assert all(cron == crons[names[cron["cron_id"]]] for cron in listed)
        filters = {k: v for k, v in query.items() if not k.startswith("sort")}
        counted = await http.post("/runs/crons/count", json=filters)
        assert counted.json() == len(listed) == int(response.headers["x-pagination-total"])
        assert "x-pagination-next" not in response.headers
        return [names[cron["cron_id"]] for cron in listed]

    assert await names_of() == ["three", "two", "one"]
    assert await names_of(sort_order="asc") == ["one", "two", "three"]
    steps = default_assistant_id("steps")
    for name in ("steps", steps, steps.upper()):
        assert await names_of(assistant_id=name) == ["three", "one"]
    assert await names_of(assistant_id="nope") == await names_of(assistant_id=UNKNOWN_ID) == []
    assert await names_of(thread_id=thread) == await names_of(thread_id=thread.upper()) == ["two"]
    assert await names_of(thread_id=UNKNOWN_ID) == []
    assert await names_of(enabled=False) == ["three"]
    assert await names_of(enabled=True, assistant_id="steps") == ["one"]
    assert await names_of(metadata={"team": "a"}) == ["one"]
    assert await names_of(metadata={"team": None}) == []
    # Crons without a value come last.
    assert await names_of(sort_by="next_run_date") in (
        ["two", "one", "three"],
        ["one", "two", "three"],
    )
    assert (await names_of(sort_by="thread_id"))[0] == "two"
    assert (await names_of(sort_by="thread_id", sort_order="asc"))[0] == "two"
    assert (await names_of(sort_by="end_time"))[0] == "two"
    by_id = sorted(crons, key=lambda name: str(crons[name]["cron_id"]))
    assert await names_of(sort_by="cron_id", sort_order="asc") == by_id
    assert await names_of(sort_by="updated_at") == ["three", "two", "one"]
    assert len(await names_of(sort_by="assistant_id")) == 3

    page = await http.post("/runs/crons/search", json={"limit": 2, "offset": 0})
    assert [len(page.json()), page.headers["x-pagination-next"]] == [2, "2"]
    page = await http.post("/runs/crons/search", json={"limit": 2, "offset": 2})
    assert page.json() == [one]
    assert page.headers["x-pagination-total"] == "3"
    assert "x-pagination-next" not in page.headers
    query: dict[str, Any] = {"select": ["cron_id", "payload", "now"], "limit": 1}
    [row] = (await http.post("/runs/crons/search", json=query)).json()
    assert (row["cron_id"], row["payload"]) == (three["cron_id"], three["payload"])
    assert row.keys() == {"cron_id", "payload", "now"}
    assert row["now"] > three["created_at"]
    query = {"select": ["schedule"], "limit": 1}
    assert (await http.post("/runs/crons/search", json=query)).json() == [{"schedule": "0 0 1 7 *"}]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("limit", 0), ("limit", 1001), ("offset", -1), ("sort_by", "luck"), ("sort_order", "up"),
        ("select", ["secrets"]), ("metadata", "x"), ("enabled", 1), ("thread_id", "x"),
        ("assistant_id", 1),
    ],
)  # fmt: skip
async def test_an_invalid_search_is_422(http: httpx.AsyncClient, field: str, value: Any) -> None:
    response = await http.post("/runs/crons/search", json={field: value})
    assert response.status_code == 422
    assert detail(response).startswith(field)
