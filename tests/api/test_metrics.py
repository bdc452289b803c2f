"""GET /metrics of an API and of a worker, while runs are created, streamed, refused and cancelled."""

import asyncio
import time
import uuid
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress

import httpx
import pytest

from api.requests import STEPS, System
from harness.processes import Fleet
from harness.scraping import Scrape, free_port
from harness.waiting import until
from millstream.shared.calls import VERBS
from millstream.shared.metrics.catalogue import CATALOGUE, of
from millstream.shared.metrics.platform_names import GAUGES
from millstream.worker.answers import VERBS as ANSWERED

LABELS = {"queue": "default", "graph": "steps"}


def added(before: Scrape, after: Scrape) -> Callable[..., float]:
    """Returns how much a series has grown."""
    return lambda name, **labels: after.value(name, **labels) - before.value(name, **labels)


async def both(system: System) -> tuple[Scrape, Scrape]:
    return await Scrape.of(system.url), await Scrape.of(system.worker_url)


async def test_each_process_exposes_exactly_the_metrics_of_its_role(system: System) -> None:
    api, worker = await both(system)
    for scrape, sources in ((api, ("redis", "api", "both")), (worker, ("worker", "both"))):
        exposed = {name.removesuffix("_total") for name in scrape.families}
        listed = {metric.name.removesuffix("_total") for metric in of(*sources)}
        assert {name for name in exposed if not name.startswith(("process_", "python_"))} == listed
        assert {"process_cpu_seconds", "process_resident_memory_bytes"} <= exposed
        for family in scrape.families.values():
            name = family.name + ("_total" if family.type == "counter" else "")
            if name in CATALOGUE:
                assert (family.type, family.documentation) == (
                    CATALOGUE[name].kind,
                    CATALOGUE[name].doc,
                )


async def test_each_series_exists_before_its_first_event(system: System) -> None:
    api, worker = await both(system)
    for status in ("success", "error", "timeout", "interrupted"):
        assert worker.value("millstream_runs_finished_total", status=status, **LABELS) >= 0
    for outcome in ("accepted", "rejected", "too_deep"):
        for scrape in (api, worker):
            assert scrape.value("millstream_runs_admitted_total", outcome=outcome, **LABELS) >= 0
    assert api.labels("millstream_calls_duration_seconds_count", "verb") == {*VERBS}
    assert worker.labels("millstream_fenced_writes_total", "kind") == {
        "events",
        "checkpoint",
        "status",
    }
    without_labels = [
        metric
        for metric in of("worker", "both")
        if metric.name not in ("http_server_request_duration_seconds",)
    ]
    for metric in without_labels:
        name = metric.name + ("_count" if metric.kind == "histogram" else "")
        assert worker.value(name) >= 0


def test_the_verbs_of_calls_are_those_that_a_worker_answers() -> None:
    assert {*VERBS} == {*ANSWERED}


async def test_a_streamed_run_is_counted_from_its_request_to_its_end(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    api, worker = await both(system)
    text = (await http.post(f"/threads/{thread}/runs/stream", json=STEPS)).text

    async def is_released() -> bool:
        now = await Scrape.of(system.worker_url)
        return now.value("millstream_worker_runs_in_flight") == 0

    await until(is_released)
    more, worked = added(api, await Scrape.of(system.url)), added(worker, (await both(system))[1])
    assert (
        more("millstream_runs_admitted_total", outcome="accepted", strategy="enqueue", **LABELS)
        == 1
    )
    assert more("millstream_stream_first_event_seconds_count") == 1
    assert more("millstream_stream_events_total") == text.count("event: ")
    assert more("millstream_stream_bytes_total") > 100
    assert more("millstream_streams_open", kind="run") == 0
    assert (await Scrape.of(system.url)).value(
        "http_server_request_duration_seconds_count",
        http_route="/threads/{thread_id}/runs/stream",
        http_request_method="POST",
        http_response_status_code="200",
    )
    assert worked("millstream_run_wait_seconds_count", queue="default", attempt="first") == 1
    assert worked("millstream_run_wait_seconds_count", queue="default", attempt="again") == 0
    assert worked("millstream_runs_finished_total", status="success", **LABELS) == 1
    assert worked("millstream_run_duration_seconds_count", status="success", **LABELS) == 1
    assert worked("millstream_events_published_total") == text.count("event: ") - 1  # `metadata`
    assert worked("millstream_step_duration_seconds_count", graph="steps") >= 3
    assert worked("millstream_checkpoint_write_seconds_count") >= 4
    assert worked("millstream_redis_command_duration_seconds_count", command_group="runs") >= 2


async def test_requests_that_are_refused_are_counted(
    http: httpx.AsyncClient, system: System, thread: str
) -> None:
    before = await Scrape.of(system.url)
    assert (await http.post("/runs", json={"assistant_id": "nothing"})).status_code == 422
    missing = {**STEPS, "multitask_strategy": "reject"}
    assert (await http.post(f"/threads/{uuid.uuid4()}/runs", json=missing)).status_code == 404
    assert (await http.put("/threads")).status_code == 404
    assert (await http.get(f"/threads/{thread}/state")).status_code == 200
    more = added(before, after := await Scrape.of(system.url))
    name = "millstream_runs_admitted_total"
    assert more(name, outcome="rejected", graph="other", queue="other", strategy="other") == 1
    assert more(name, outcome="rejected", strategy="reject", **LABELS) == 1
    assert after.value(
        "http_server_request_duration_seconds_count",
        http_request_method="_OTHER",
        http_response_status_code="404",
    )


async def test_a_cancelled_run_is_counted_by_its_action(
    system: System, http: httpx.AsyncClient, thread: str
) -> None:
    before = await Scrape.of(system.worker_url)
    slow = {**STEPS, "config": {"configurable": {"n": 1, "delay": 60}}}
    run = (await http.post(f"/threads/{thread}/runs", json=slow)).json()["run_id"]

    async def running() -> bool:
        return (await Scrape.of(system.worker_url)).value("millstream_worker_runs_in_flight") == 1

    await until(running)
    await http.post(f"/threads/{thread}/runs/{run}/cancel?wait=true")

    async def idle() -> bool:
        return not await running()

    await until(idle)
    more = added(before, await Scrape.of(system.worker_url))
    assert more("millstream_cancels_total", action="interrupt") == 1
    assert more("millstream_cancels_total", action="rollback") == 0
    assert more("millstream_runs_finished_total", status="interrupted", **LABELS) == 1


async def test_a_call_to_a_worker_is_timed(
    system: System, http: httpx.AsyncClient, stepped: str
) -> None:
    before = await Scrape.of(system.url)
    assert (await http.get(f"/threads/{stepped}/state")).status_code == 200
    more = added(before, await Scrape.of(system.url))
    assert more("millstream_calls_duration_seconds_count", verb="state") == 1


async def test_the_deployments_metrics_are_those_of_redis(system: System) -> None:
    api = await Scrape.of(system.url)
    assert api.value("millstream_redis_up") == 1
    assert api.value("millstream_workers", queue="default", state="live") == 1
    assert api.labels("millstream_workers", "state") == {"live", "draining", "lost"}
    assert api.value("millstream_worker_slots", queue="default") == 20
    assert api.value("millstream_queue_due_runs", queue="default") == 0
    assert api.labels("millstream_threads", "status") == {"idle", "busy", "interrupted", "error"}
    assert "graph:steps" in api.labels("millstream_call_queue_waiting_calls", "call_queue")
    assert api.value("millstream_redis_used_memory_bytes") > 1e6


async def test_an_api_without_metrics_says_so(system: System) -> None:
    with Fleet(system.fleet.redis_url, ENABLE_PROMETHEUS_METRICS="false") as fleet:
        api = fleet.api().wait_ready()
        async with httpx.AsyncClient(base_url=api.url) as client:
            response = await client.get("/metrics")
    assert response.status_code == 404
    assert "ENABLE_PROMETHEUS_METRICS" in response.json()["detail"]


async def hold(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answers nothing for longer than a scrape takes."""
    with suppress(asyncio.CancelledError):
        await asyncio.sleep(60)
    writer.close()


@pytest.mark.parametrize("is_silent", [False, True], ids=["no Redis", "a silent Redis"])
async def test_a_scrape_without_redis_is_answered_soon(is_silent: bool) -> None:
    port = free_port()
    async with AsyncExitStack() as stack:
        if is_silent:
            await stack.enter_async_context(await asyncio.start_server(hold, "127.0.0.1", port))
        fleet = stack.enter_context(Fleet(f"redis://127.0.0.1:{port}/0", LOG_LEVEL="ERROR"))
        api = await asyncio.to_thread(fleet.api().wait_ready)
        begun = time.monotonic()
        scrape = await Scrape.of(api.url)
        assert (
            time.monotonic() - begun < 5
        )  # it ends after 1 s at the latest, on a machine that is not busy
        assert scrape.value("millstream_redis_up") == 0
        assert {metric.name for metric in of("redis")} & scrape.names == {"millstream_redis_up"}
        assert scrape.value("millstream_streams_open") == 0


async def test_an_unknown_format_is_refused_by_name(http: httpx.AsyncClient) -> None:
    response = await http.get("/metrics?format=xml")
    assert response.status_code == 422
    assert "format" in response.json()["detail"]


async def test_the_json_form_is_that_of_langgraphs_server(http: httpx.AsyncClient) -> None:
    await http.get("/ok")
    form = (await http.get("/metrics?format=json")).json()
    assert form.keys() == {"queue", "workers", "api"}
    assert form["workers"]["max"] == 20
    assert form["workers"]["active"] + form["workers"]["available"] == 20
    assert form["queue"]["n_pending"] == form["queue"]["n_running"] == 0
    counts = [each for each in form["api"]["http_requests_total"] if each["path"] == "/ok"]
    assert counts
    assert counts[0].keys() == {"method", "path", "status", "count"}


async def test_dashboards_of_langgraphs_server_find_its_names(system: System) -> None:
    env = {
        "METRIC_PREFIX": "lg_api_",
        "LANGSMITH_HOST_PROJECT_ID": "p",
        "LSD_DEPLOYMENT_TYPE": "prod",
    }
    with Fleet(system.fleet.redis_url, **env) as fleet:
        api = await asyncio.to_thread(fleet.api().wait_ready)
        await Scrape.of(api.url)
        scrape = await Scrape.of(api.url)
    labels = {"project_id": "p", "revision_id": "", "deployment_type": "prod"}
    assert {f"lg_api_{name}" for name in GAUGES} <= scrape.names
    assert scrape.value("lg_api_workers_max", **labels) == 20
    request = {"method": "GET", "path": "/metrics"}
    assert scrape.value("lg_api_http_requests_total", status="200", **request, **labels) == 1
    assert scrape.value("lg_api_http_requests_latency_seconds_count", **request, **labels) == 1
    assert scrape.value("lg_api_http_requests_latency_seconds_sum", **request, **labels) > 0
    assert "lg_api" not in (await Scrape.of(system.url)).text


async def test_scrapes_at_the_same_time_get_the_same(system: System) -> None:
    scrapes = await asyncio.gather(*(Scrape.of(system.url) for _ in range(5)))
    assert len({scrape.value("millstream_redis_used_memory_bytes") for scrape in scrapes}) == 1
