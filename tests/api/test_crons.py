"""Crons over HTTP: every field has an effect, errors name the field, and crons fire."""

import uuid
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from api.crons import YEARLY, create
from api.requests import UNKNOWN_ID, System, detail
from harness.waiting import until
from millstream.api.crons.schemas import PAYLOAD, CronCreateStateless
from millstream.shared import keys
from millstream.shared.assistants import default_assistant_id
from millstream.shared.redis import Client, connect
from millstream.shared.wire import UNMERGED

pytestmark = pytest.mark.usefixtures("no_crons_left")

PROBE: dict[str, Any] = {"assistant_id": "probe", "schedule": YEARLY, "input": {}}


@pytest.fixture
async def redis(system: System) -> AsyncIterator[Client]:
    client = connect(system.fleet.redis_url)
    yield client
    await client.aclose()


async def fire(redis: Client, cron: dict[str, Any]) -> None:
    """Makes the cron due."""
    await redis.zadd(keys.crons(), {cron["cron_id"]: 1.0}, xx=True)


async def the_run(http: httpx.AsyncClient, thread: str) -> dict[str, Any]:
    """Returns the only run of a thread, once it has ended."""

    async def ended() -> Any:
        rows = (await http.get(f"/threads/{thread}/runs")).json()
        return rows and rows[0]["status"] not in ("pending", "running") and rows

    [run] = await until(ended, what="the end of the cron's run")
    return dict(run)


async def patch(http: httpx.AsyncClient, cron: dict[str, Any], **body: Any) -> dict[str, Any]:
    response = await http.patch(f"/runs/crons/{cron['cron_id']}", json=body)
    assert response.status_code == 200, response.text
    return dict(response.json())


def in_an_hour() -> str:
    return (datetime.now(UTC) + timedelta(hours=1)).isoformat()


# ── Create ──────────────────────────────────────────────────────────────────────────────────


async def test_a_cron_has_the_references_fields(http: httpx.AsyncClient) -> None:
    cron = await create(http)
    year = datetime.now(UTC).year + 1
    steps = default_assistant_id("steps")
    assert cron == {
        "cron_id": str(uuid.UUID(cron["cron_id"])),
        "assistant_id": steps,
        "thread_id": None,
        "on_run_completed": "delete",
        "end_time": None,
        "schedule": YEARLY,
        "timezone": None,
        "created_at": cron["created_at"],
        "updated_at": cron["created_at"],
        "user_id": "",
        "payload": {
            "assistant_id": steps,
            "schedule": YEARLY,
            "input": {"items": []},
            "config": {"configurable": {"cron_id": cron["cron_id"]}},
        },
        "next_run_date": f"{year}-01-01T00:00:00.000000+00:00",
        "metadata": {},
        "enabled": True,
    }
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cron


async def test_a_cron_stores_its_fields(http: httpx.AsyncClient, thread: str) -> None:
    cron = await create(
        http, thread, timezone="America/New_York", metadata={"a": {"b": [1]}}, enabled=False
    )
    assert (cron["thread_id"], cron["on_run_completed"]) == (thread, None)
    assert (cron["timezone"], cron["metadata"]) == ("America/New_York", {"a": {"b": [1]}})
    assert (cron["enabled"], cron["next_run_date"]) == (False, None)
    cron = await create(http, timezone="America/New_York", on_run_completed="keep")
    assert cron["next_run_date"].endswith("-01-01T05:00:00.000000+00:00")
    assert cron["on_run_completed"] == "keep"
    cron = await create(http, end_time="2999-01-01T01:00:00+01:00", thread_id=UNKNOWN_ID)
    assert cron["end_time"] == "2999-01-01T00:00:00.000000+00:00"
    assert (await create(http, end_time="2999-01-01T00:00:00"))["end_time"] == cron["end_time"]
    cron = await create(http, end_time=in_an_hour())
    assert (cron["enabled"], cron["next_run_date"]) == (True, None)
    null = dict.fromkeys(CronCreateStateless.model_fields)
    for name in ("assistant_id", "schedule", "input"):
        del null[name]
    assert (await create(http, **null))["payload"].keys() == {
        "assistant_id", "schedule", "input", "config",
    }  # fmt: skip


RUN_FIELDS: dict[str, Any] = {
    "input": {"question": "cron"},
    "config": {
        "tags": ["t"],
        "recursion_limit": 7,
        "max_concurrency": 2,
        "run_name": "n",
        "configurable": {"key": "v"},
    },
    "context": {"user": "me"},
    "interrupt_before": ["nowhere"],
    "interrupt_after": "*",
    "stream_mode": ["updates", "custom"],
    "stream_subgraphs": True,
    "stream_resumable": True,
    "durability": "exit",
    "feedback_keys": ["liked"],
    "langsmith_tracer": {"project_name": "p"},
    "strict_resume": True,
    "multitask_strategy": "reject",
}


async def test_every_field_reaches_the_run(
    web: httpx.AsyncClient, thread: str, redis: Client
) -> None:
    assert RUN_FIELDS.keys() == PAYLOAD - {"webhook", "checkpoint_during"}
    metadata = {"plain": "yes", "deep": {"er": 1}}
    body = {**PROBE, **RUN_FIELDS, "metadata": metadata}
    cron = await create(web, thread, **body)
    cron_id = cron["cron_id"]
    config = {
        **RUN_FIELDS["config"],
        "configurable": {"key": "v", "cron_id": cron_id},
    }
    assert cron["payload"] == {
        **RUN_FIELDS,
        "config": config,
        "assistant_id": cron["assistant_id"],
        "schedule": YEARLY,
    }
    await fire(redis, cron)
    run = await the_run(web, thread)
    assert run["status"] == "success"
    assert run["assistant_id"] == cron["assistant_id"] == default_assistant_id("probe")
    assert run["multitask_strategy"] == "reject"
    ids = {"graph_id": "probe", "assistant_id": run["assistant_id"]}
    metadata_of_run = {"created_by": "system", **ids, "cron_id": cron_id, "plain": "yes"}
    assert run["metadata"] == metadata_of_run
    kwargs = run["kwargs"]
    assert kwargs["config"] == {
        **{name: RUN_FIELDS["config"][name] for name in UNMERGED},
        "configurable": {
            "key": "v", "cron_id": cron_id, "run_id": run["run_id"], "thread_id": thread, **ids,
        },
        "metadata": metadata_of_run,
    }  # fmt: skip
    expected_values = {
        "input": "input", "context": "context", "interrupt_before": "interrupt_before",
        "interrupt_after": "interrupt_after", "stream_mode": "stream_mode",
        "stream_subgraphs": "subgraphs", "stream_resumable": "resumable", "durability": "durability",
        "feedback_keys": "feedback_keys", "langsmith_tracer": "langsmith_tracer",
        "strict_resume": "strict_resume",
    }  # fmt: skip
    for field_name, actual in expected_values.items():
        assert kwargs[actual] == RUN_FIELDS[field_name], field_name
    assert kwargs["checkpoint_during"] is False
    assert (await web.get(f"/runs/crons/{cron_id}")).json() == cron  # the next time is next year


async def test_checkpoint_during_sets_the_durability(
    http: httpx.AsyncClient, thread: str, redis: Client
) -> None:
    cron = await create(http, thread, checkpoint_during=False)
    await fire(redis, cron)
    assert (await the_run(http, thread))["kwargs"]["durability"] == "exit"


async def test_on_run_completed_decides_whether_the_thread_stays(
    http: httpx.AsyncClient, redis: Client
) -> None:
    crons = [await create(http, on_run_completed=what) for what in ("keep", "delete")]
    rows: dict[str, str] = {}  # cron → the key of its run

    async def all_fired() -> bool:
        async for key in redis.scan_iter("ms:{*}:run:*", count=5000):
            spec = b"" if key.endswith(b":events") else await redis.hget(key, "spec")  # type: ignore[misc]
            rows.update(
                {
                    c["cron_id"]: key.decode()
                    for c in crons
                    if c["cron_id"].encode() in (spec or b"")
                }
            )
        return len(rows) == len(crons)

    for cron in crons:
        await fire(redis, cron)
    await until(all_fired)
    for cron in crons:
        thread, run_id = (
            keys.thread_id_of(rows[cron["cron_id"]]),
            rows[cron["cron_id"]].rpartition(":")[2],
        )
        assert (await http.get(f"/runs/{run_id}/join")).json() == {"items": [0, 1, 2]}
        exists = (await http.get(f"/threads/{thread}")).status_code == 200
        assert exists == (cron["on_run_completed"] == "keep")
        if exists:
            assert (await http.delete(f"/threads/{thread}")).status_code == 204


async def test_a_cron_is_deleted_with_its_thread(http: httpx.AsyncClient, thread: str) -> None:
    cron = await create(http, thread)
    other = await create(http)
    await http.delete(f"/threads/{thread}")
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).status_code == 404
    rows = (await http.post("/runs/crons/search", json={})).json()
    assert [one["cron_id"] for one in rows] == [other["cron_id"]]


# ── Refused ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("schedule", None), ("schedule", 5), ("schedule", "* * * *"), ("schedule", "* * * * * *"),
        ("schedule", "99 * * * *"), ("schedule", "@hourly"), ("schedule", "0 0 30 2 *"),
        ("timezone", "Mars/Base"), ("timezone", ""), ("timezone", "../x"), ("timezone", 1),
        ("end_time", "2020-01-01T00:00:00Z"), ("end_time", "tomorrow"), ("end_time", 2e9),
        ("end_time", "0001-01-01T00:00:00+05:00"), ("end_time", True),
        ("enabled", "yes"), ("metadata", []), ("metadata", {"a": "x" * 20_000}),
        ("assistant_id", None), ("assistant_id", ""), ("assistant_id", "nope"),
        ("on_run_completed", "burn"), ("multitask_strategy", "fight"), ("stream_mode", "loud"),
        ("stream_subgraphs", 1), ("stream_resumable", "no"), ("durability", "maybe"),
        ("checkpoint_during", 1), ("interrupt_before", [1]), ("interrupt_after", {}),
        ("webhook", 1), ("config", []), ("config", {"recursion_limit": 0}),
        ("config", {"configurable": 1}), ("context", "x"), ("payload", "x" * 70_000),
    ],
)  # fmt: skip
async def test_an_invalid_field_is_named(http: httpx.AsyncClient, field: str, value: Any) -> None:
    body: dict[str, Any] = {"assistant_id": "steps", "schedule": YEARLY, field: value}
    if field == "payload":
        body = {**body, "input": value}
    response = await http.post("/runs/crons", json=body)
    assert response.status_code == 422, response.text
    assert detail(response).startswith(field)
    if field in ("payload", "assistant_id", "multitask_strategy") or value is None:
        return
    cron = await create(http)
    response = await http.patch(f"/runs/crons/{cron['cron_id']}", json={field: value})
    assert response.status_code == 422, response.text
    assert detail(response).startswith(field)
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == cron


async def test_an_unknown_cron_is_404(http: httpx.AsyncClient, thread: str) -> None:
    body = {"assistant_id": "steps", "schedule": YEARLY}
    assert (await http.post(f"/threads/{UNKNOWN_ID}/runs/crons", json=body)).status_code == 404
    assert (await http.post("/threads/x/runs/crons", json=body)).status_code == 422
    for path in ("/runs/crons", f"/threads/{thread}/runs/crons"):
        response = await http.post(path, json={**body, "assistant_id": UNKNOWN_ID})
        assert response.status_code == 404
    for cron_id, status in ((UNKNOWN_ID, 404), ("x", 422)):
        for method in ("GET", "PATCH", "DELETE"):
            response = await http.request(method, f"/runs/crons/{cron_id}", json={})
            assert response.status_code == status, method
            assert "cron" in detail(response).lower()
    response = await http.post("/runs/crons", content=b"[]")
    assert (response.status_code, detail(response)[:4]) == (422, "body")
    deep = b'{"assistant_id":"steps","schedule":"0 0 1 1 *","input":%s1%s}'
    response = await http.post("/runs/crons", content=deep % (b"[" * 30_000, b"]" * 30_000))
    assert response.status_code == 422
    assert (await http.post("/runs/crons/count", json={})).json() == 0


# ── Change ──────────────────────────────────────────────────────────────────────────────────


async def test_absent_fields_of_an_update_are_unchanged(http: httpx.AsyncClient) -> None:
    end = "2999-01-01T00:00:00.000000+00:00"
    cron = await create(
        http, metadata={"a": 1, "b": 2}, timezone="Asia/Tokyo", end_time=end, stream_mode="custom"
    )
    same = await patch(http, cron)
    assert {**same, "updated_at": ""} == {**cron, "updated_at": ""}
    assert same["updated_at"] > cron["updated_at"]
    after = await patch(http, cron, metadata={"b": None, "c": {}}, schedule="0 12 * * *")
    assert after["metadata"] == {"a": 1, "b": None, "c": {}}
    assert after["schedule"] == after["payload"]["schedule"] == "0 12 * * *"
    assert after["next_run_date"][10:] == "T03:00:00.000000+00:00"
    assert (await patch(http, cron, timezone="UTC"))["next_run_date"][10:16] == "T12:00"
    assert (await patch(http, cron, end_time=None))["end_time"] is None
    assert (await patch(http, cron, end_time=end))["end_time"] == end
    after = await patch(http, cron, enabled=False)
    assert (after["enabled"], after["next_run_date"]) == (False, None)
    after = await patch(http, cron, enabled=True, end_time=in_an_hour(), schedule=YEARLY)
    assert (after["enabled"], after["next_run_date"]) == (True, None)
    after = await patch(http, cron, on_run_completed="keep", input=[1], config={"tags": ["t"]})
    assert after["on_run_completed"] == "keep"
    assert after["payload"]["input"] == [1]
    assert after["payload"]["config"] == {
        "tags": ["t"], "configurable": {"cron_id": cron["cron_id"]},
    }  # fmt: skip
    assert after["payload"]["stream_mode"] == ["custom"]
    assert (await http.get(f"/runs/crons/{cron['cron_id']}")).json() == after


async def test_runs_use_the_updated_fields(
    http: httpx.AsyncClient, thread: str, redis: Client
) -> None:
    cron = await create(http, thread, metadata={"n": 1}, stream_mode="custom")
    await patch(http, cron, input={"items": [5]}, metadata={"n": 2}, durability="sync")
    await fire(redis, cron)
    run = await the_run(http, thread)
    assert run["kwargs"]["input"] == {"items": [5]}
    assert (run["kwargs"]["durability"], run["kwargs"]["stream_mode"]) == ("sync", ["custom"])
    assert (run["metadata"]["n"], run["metadata"]["cron_id"]) == (2, cron["cron_id"])


async def test_a_cron_on_a_thread_has_no_thread_to_delete(
    http: httpx.AsyncClient, thread: str
) -> None:
    cron = await create(http, thread)
    response = await http.patch(f"/runs/crons/{cron['cron_id']}", json={"on_run_completed": "keep"})
    assert (response.status_code, detail(response)[:16]) == (422, "on_run_completed")


async def test_an_expired_cron_can_get_a_new_end_time(
    http: httpx.AsyncClient, redis: Client
) -> None:
    soon = datetime.now(UTC) + timedelta(seconds=0.3)
    cron = await create(http, end_time=soon.isoformat(), schedule="* * * * *")
    path = f"/runs/crons/{cron['cron_id']}"

    async def over() -> bool:
        return (await http.get(path)).json()["enabled"] is False

    await until(over)
    assert (await http.get(path)).json()["next_run_date"] is None
    response = await http.patch(path, json={"enabled": True})
    assert (response.status_code, detail(response)[:8]) == (422, "end_time")
    assert (await http.post("/runs/crons/count", json={"enabled": True})).json() == 0
    after = await patch(http, cron, end_time=None)
    assert (after["enabled"], after["next_run_date"] is None) == (True, False)
