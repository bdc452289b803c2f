"""`GET …/explain`: why a run does not move, what to do, and its attempts."""

from pathlib import Path

import httpx
import pytest

from api.requests import STEPS, UNKNOWN_ID, detail
from millstream.shared.runs.reasons import TEXTS

DOC = Path(__file__).parents[2] / "docs" / "operations.md"


async def test_a_run_is_explained_by_thread_and_by_itself(http: httpx.AsyncClient) -> None:
    thread = (await http.post("/threads", json={})).json()["thread_id"]
    run = (await http.post(f"/threads/{thread}/runs", json=STEPS)).json()["run_id"]
    await http.get(f"/threads/{thread}/runs/{run}/join")
    response = await http.get(f"/threads/{thread}/runs/{run}/explain")
    assert response.status_code == 200
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["run_id"], body["thread_id"], body["status"]) == (run, thread, "success")
    assert (body["reason"], body["fields"]["cause"]) == ("ended", "succeeded")
    assert body["message"].startswith("It ended as success at 2")
    [attempt] = body["attempts"]
    assert (attempt["attempt"], attempt["outcome"]) == (1, "succeeded")
    assert attempt["claimed_at"] <= attempt["ended_at"] == body["fields"]["ended_at"]
    workers = (await http.get("/ops/workers")).json()
    assert attempt["worker_id"] in [each["worker_id"] for each in workers]

    later = (await http.post("/runs", json={**STEPS, "after_seconds": 600})).json()["run_id"]
    body = (await http.get(f"/runs/{later}/explain")).json()
    assert (body["reason"], body["attempts"]) == ("deferred", [])
    assert 590 < body["fields"]["seconds"] <= 600
    await http.post(f"/runs/{later}/cancel")
    assert (await http.get(f"/runs/{later}/explain")).json()["fields"]["cause"] == "cancelled"


@pytest.mark.parametrize(
    "path", [f"/threads/{UNKNOWN_ID}/runs/{UNKNOWN_ID}", f"/runs/{UNKNOWN_ID}"]
)
async def test_an_unknown_run_is_not_found(http: httpx.AsyncClient, path: str) -> None:
    response = await http.get(f"{path}/explain")
    assert response.status_code == 404
    assert UNKNOWN_ID in detail(response)


async def test_an_invalid_id_is_refused(http: httpx.AsyncClient) -> None:
    assert (await http.get("/runs/x/explain")).status_code == 422


def test_the_table_in_the_documents_is_that_of_the_code() -> None:
    rows = [f"| `{reason}` | {text.message} | {text.next_step} |" for reason, text in TEXTS.items()]
    assert "\n".join(rows) in DOC.read_text()
