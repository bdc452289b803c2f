"""Spans of real runs, of an API and workers as processes, as a receiver of OTLP gets them."""

import asyncio
import json
import signal
import uuid
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from e2e.conftest import NodeLog, request
from harness.processes import Fleet, Process
from harness.trace_receiver import ReceivedSpan, TraceReceiver
from harness.waiting import until
from harness.webhook_receiver import Receiver
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.redis import connect
from millstream.shared.tracing.spans import first_attempt
from millstream.shared.wire import unpack_spec

pytestmark = pytest.mark.xdist_group("traces")

LANGFUSE = "/langfuse/api/public/otel/v1/traces"
PHOENIX = "/phoenix/v1/traces"
GRAPHS = Path(__file__).parents[1] / "graphs"
EXAMPLES = Path(__file__).parents[2] / "examples"
SEND, PROCESS = "send default", "process default"
STREAM = "POST /threads/{thread_id}/runs/stream"


class Site:
    """An API and a worker that are traced, with the receivers of traces and webhooks."""

    def __init__(
        self, fleet: Fleet, config: Path, traces: TraceReceiver, webhooks: Receiver
    ) -> None:
        self.fleet = fleet
        self.config = config
        self.traces = traces
        self.webhooks = webhooks
        self.api = fleet.api()
        self.worker = self.start_worker()
        self.api.wait_ready()
        self.worker.wait_ready()

    def start_worker(self) -> Process:
        """Starts a worker; the caller ends it."""
        return self.fleet.worker(self.config)

    async def run(self, graph: str, headers: dict[str, str] | None = None, **fields: Any) -> str:
        """Starts a stateless run; returns its id."""
        answer = await self.call("POST", "/runs", request(graph, **fields), headers)
        return str(answer.json()["run_id"])

    async def call(
        self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None
    ) -> httpx.Response:
        """Returns the answer of the API."""
        async with httpx.AsyncClient(base_url=self.api.url, timeout=30) as http:
            answer = await http.request(method, path, json=body, headers=headers)
        assert answer.status_code < 300, answer.text
        return answer


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("traces")
    config = folder / "langgraph.json"
    project = {
        "dependencies": ["."],
        "graphs": {
            "chat": f"{EXAMPLES}/graphs.py:chat",
            "chat_apart": {"path": f"{EXAMPLES}/graphs.py:chat", "isolation": "process"},
            "boom": f"{EXAMPLES}/graphs.py:boom",
            "track": f"{GRAPHS}/behaviour.py:track",
        },
        "webhooks": {"url": {"disable_loopback": False}},
    }
    config.write_text(json.dumps(project))
    with TraceReceiver() as traces, Receiver() as webhooks:
        env = {
            "OTEL_TARGETS": "GENERIC,LANGFUSE,PHOENIX",
            "OTEL_EXPORTER_OTLP_ENDPOINT": traces.url,
            "OTEL_EXPORTER_OTLP_HEADERS": "x-collector=secret",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "LANGFUSE_BASE_URL": f"{traces.url}/langfuse",
            "LANGFUSE_PUBLIC_KEY": "pk",
            "LANGFUSE_SECRET_KEY": "sk",
            "PHOENIX_COLLECTOR_ENDPOINT": f"{traces.url}/phoenix",
            "LANGFUSE_TRACING_ENVIRONMENT": "staging",
            "LANGFUSE_RELEASE": "2026-11",
            "LEASE_SECS": "1",
            "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
        }
        with (
            EmbeddedRedis(folder / "redis", appendonly=False) as redis,
            Fleet(redis.url, **env) as fleet,
        ):
            yield Site(fleet, config, traces, webhooks)


def by_name(spans: list[ReceivedSpan]) -> dict[str, ReceivedSpan]:
    return {span.name: span for span in spans}


def parents(spans: list[ReceivedSpan], name: str) -> list[str]:
    """Returns the name of a span and of all that it is below, innermost first."""
    by_id = {span.span_id: span for span in spans}
    chain, span = [], next((span for span in spans if span.name == name), None)
    while span is not None:
        chain.append(span.name)
        span = by_id.get(span.parent_id)
    return chain


async def test_a_run_is_one_trace_from_the_request_to_the_model(site: Site) -> None:
    trace_id, client_span = uuid.uuid4().hex, "00f067aa0ba902b7"
    headers = {
        "traceparent": f"00-{trace_id}-{client_span}-01",
        "tracestate": "vendor=1",
        "x-request-id": "req-7",
    }
    thread_id = str(uuid.uuid4())
    body = {
        "assistant_id": "chat",
        "input": {"messages": [{"role": "user", "content": "hi"}]},
        "metadata": {"customer": "acme", "plan": 3, "user_id": "u-1", "run_id": "mine"},
        "config": {"tags": ["beta"]},
        "if_not_exists": "create",
        "stream_mode": ["messages-tuple"],
    }
    answer = await site.call("POST", f"/threads/{thread_id}/runs/stream", body, headers)
    run_id = answer.headers["content-location"].rsplit("/", 1)[1]

    spans = await site.traces.trace_with(trace_id, STREAM, SEND, PROCESS, "FixedTokens")
    assert parents(spans, "FixedTokens") == [
        "FixedTokens", "model", "chat", PROCESS, SEND, STREAM,
    ]  # fmt: skip
    spans_by_name = by_name(spans)
    assert spans_by_name[STREAM].parent_id == client_span
    kinds = {name: spans_by_name[name].kind for name in (STREAM, SEND, PROCESS)}
    assert kinds == {STREAM: "SERVER", SEND: "PRODUCER", PROCESS: "CONSUMER"}
    assert {span.attributes["langfuse.trace.metadata.customer"] for span in spans} == {"acme"}
    for span in spans:
        values = span.attributes
        assert values["langfuse.trace.metadata.plan"] == values["metadata.plan"] == 3
        assert values["metadata.customer"] == "acme"
        assert values["metadata.run_id"] == run_id  # the server's own
        assert values["metadata.original_request_id"] == "req-7"
        assert json.loads(values["metadata"])["customer"] == "acme"
        assert values["langfuse.user.id"] == values["user.id"] == "u-1"
        assert values["langfuse.session.id"] == values["session.id"] == thread_id
        assert values["langfuse.trace.tags"] == values["tag.tags"] == ["beta"]
        assert values["langfuse.trace.name"] == values["gen_ai.agent.name"] == "chat"
        assert values["gen_ai.conversation.id"] == thread_id
        assert values["langfuse.environment"] == "staging"
        assert values["langfuse.release"] == "2026-11"
        assert span.resource["service.name"] == "millstream"
        assert span.resource["deployment.environment"] == "staging"
        assert not span.failed
    assert spans_by_name[STREAM].attributes["http.response.status_code"] == 200
    attempt = spans_by_name[PROCESS].attributes
    assert attempt["millstream.run.attempt"] == 1
    assert attempt["millstream.fence"] > 0
    assert 0 <= attempt["millstream.queue.wait"] < 30
    assert attempt["millstream.run.outcome"] == "success"
    assert attempt["messaging.destination.name"] == "default"
    assert attempt["messaging.message.id"] == run_id
    assert spans_by_name["FixedTokens"].attributes["openinference.span.kind"] == "LLM"


async def test_each_target_gets_the_spans_with_its_own_headers(site: Site) -> None:
    run_id = await site.run("track", configurable={"n": 1})
    trace_id = (await site.traces.span_of(run_id, PROCESS)).trace_id
    headers = {}
    for path in ("/v1/traces", LANGFUSE, PHOENIX):
        await site.traces.trace_with(trace_id, "POST /runs", SEND, PROCESS, "step", path=path)
        headers[path] = next(r.headers for r in site.traces.requests if r.path == path)
    assert headers["/v1/traces"]["x-collector"] == "secret"
    assert headers[LANGFUSE]["authorization"] == "Basic cGs6c2s="  # pk:sk
    assert headers[LANGFUSE]["x-langfuse-ingestion-version"] == "4"
    assert "x-collector" not in headers[LANGFUSE] | headers[PHOENIX]
    assert "authorization" not in headers[PHOENIX] | headers["/v1/traces"]


async def test_a_run_in_a_process_of_its_own_has_the_same_trace(site: Site) -> None:
    run_id = await site.run("chat_apart", input={"messages": []}, metadata={"customer": "acme"})
    trace_id = (await site.traces.span_of(run_id, SEND)).trace_id
    spans = await site.traces.trace_with(trace_id, "FixedTokens", PROCESS)
    assert parents(spans, "FixedTokens")[-3:] == [PROCESS, SEND, "POST /runs"]
    assert {span.attributes["metadata.customer"] for span in spans} == {"acme"}


async def test_a_failed_run_has_failed_spans(site: Site) -> None:
    run_id = await site.run("boom")
    attempt = await site.traces.span_of(run_id, PROCESS)
    assert attempt.failed
    assert attempt.attributes["millstream.run.outcome"] == "error"
    assert (await site.traces.span_of(run_id, "boom")).failed


async def test_a_context_in_configurable_goes_before_that_of_the_headers(site: Site) -> None:
    trace_id, other = uuid.uuid4().hex, uuid.uuid4().hex
    run_id = await site.run(
        "track",
        {"traceparent": f"00-{other}-00f067aa0ba902b7-01"},
        configurable={"n": 1, "__otel_traceparent__": f"00-{trace_id}-00f067aa0ba902b7-01"},
    )
    spans = await site.traces.trace_with(trace_id, SEND, PROCESS)
    send = by_name(spans)[SEND]
    assert send.parent_id == "00f067aa0ba902b7"
    server = by_name(await site.traces.trace_with(other, "POST /runs"))["POST /runs"]
    assert send.links == [(other, server.span_id)]
    assert server.attributes["metadata.run_id"] == run_id


async def test_each_call_of_a_tool_is_in_its_own_requests_trace(site: Site) -> None:
    """The MCP server executes calls in tasks that outlive the request that started it."""
    for trace_id in (uuid.uuid4().hex, uuid.uuid4().hex):
        headers = {
            "traceparent": f"00-{trace_id}-00f067aa0ba902b7-01",
            "accept": "application/json, text/event-stream",
        }
        params = {"name": "track", "arguments": {"items": [0, 1, 2]}}
        body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        answer = await site.call("POST", "/mcp/", body, headers)
        assert '"isError":false' in answer.text, answer.text
        spans = await site.traces.trace_with(trace_id, "POST /mcp/", SEND, PROCESS, "track")
        assert parents(spans, "track") == [
            "track", PROCESS, SEND, "tools/call track", "POST /mcp/",
        ]  # fmt: skip
        assert all(span.attributes["langfuse.trace.name"] == "track" for span in spans)


async def test_an_unsampled_trace_has_no_spans(site: Site) -> None:
    unsampled = uuid.uuid4().hex
    await site.run(
        "track", {"traceparent": f"00-{unsampled}-00f067aa0ba902b7-00"}, configurable={"n": 1}
    )
    sampled = await site.run("track", configurable={"n": 1})
    await site.traces.span_of(sampled, PROCESS)
    assert not [span for span in site.traces.spans() if span.trace_id == unsampled]


async def stop_its_worker(site: Site, log: NodeLog, number: signal.Signals) -> str:
    """Starts a run and sends the signal to its worker; another worker is ready. Returns the run's id."""
    workers = [site.worker, site.start_worker().wait_ready()]
    run_id = await site.run("track", configurable={"n": 2, "delay": 1, "log": str(log)})
    pid = (await log.noted("begin", within=30))[0]["pid"]
    [stopped] = [worker for worker in workers if worker.pid == pid]
    [site.worker] = [worker for worker in workers if worker.pid != pid]
    stopped.send(number)
    stopped.wait()
    return run_id


async def test_an_attempt_after_a_killed_worker_links_to_the_first(
    site: Site, log: NodeLog
) -> None:
    run_id = await stop_its_worker(site, log, signal.SIGKILL)
    attempt = await site.traces.span_of(run_id, PROCESS)
    assert attempt.attributes["millstream.run.attempt"] == 2
    send = await site.traces.span_of(run_id, SEND)
    assert attempt.parent_id == send.span_id
    redis = connect(site.fleet.redis_url)
    [name] = [each async for each in redis.scan_iter(f"ms:{{*}}:run:{run_id}", _type="HASH")]
    spec = unpack_spec(await redis.hget(name, "spec"))  # type: ignore[misc]
    await redis.aclose()
    killed = first_attempt(spec)
    assert attempt.links == [(send.trace_id, format(killed.span_id, "016x"))]


async def test_an_attempt_after_a_drain_links_to_the_first(site: Site, log: NodeLog) -> None:
    run_id = await stop_its_worker(site, log, signal.SIGTERM)
    # It has sent its last spans before it ended.
    [drained] = [s for s in site.traces.spans() if _is_attempt(s, run_id)]
    assert drained.attributes["millstream.run.outcome"] == "handed_back"
    assert drained.links == []
    second = await until(
        lambda: [s for s in site.traces.spans() if _is_attempt(s, run_id)][1:], within=30
    )
    assert second[0].parent_id == drained.parent_id
    assert second[0].links == [(drained.trace_id, drained.span_id)]


def _is_attempt(span: ReceivedSpan, run_id: str) -> bool:
    return span.name == PROCESS and span.attributes.get("millstream.run.id") == run_id


@pytest.fixture
async def cron_id(site: Site) -> AsyncIterator[str]:
    """A cron that was created by a traced request, and is due now."""
    body = {**request("track", configurable={"n": 1}), "schedule": "0 0 1 1 *"}
    created = (await site.call("POST", "/runs/crons", body)).json()["cron_id"]
    redis = connect(site.fleet.redis_url)
    await redis.zadd(keys.crons(), {created: 1000}, xx=True)
    await redis.aclose()
    yield created
    await site.call("DELETE", f"/runs/crons/{created}")


async def test_a_crons_run_has_a_trace_that_links_to_the_crons_request(
    site: Site, cron_id: str
) -> None:
    def sent() -> list[ReceivedSpan]:
        fired = (
            s for s in site.traces.spans() if s.attributes.get("millstream.cron.id") == cron_id
        )
        return [s for s in fired if s.attributes["millstream.cron.result"] == "admitted"]

    [send] = await until(sent, within=30)
    created = by_name(site.traces.spans())["POST /runs/crons"]
    assert send.parent_id == ""
    assert send.trace_id != created.trace_id
    assert send.links == [(created.trace_id, created.span_id)]
    spans = await site.traces.trace_with(send.trace_id, PROCESS, "track")
    assert parents(spans, "track") == ["track", PROCESS, SEND]


async def test_a_webhook_has_a_trace_that_links_to_the_run(site: Site) -> None:
    run_id = await site.run("track", configurable={"n": 1}, webhook=f"{site.webhooks.url}/done?k=1")
    attempt = await site.traces.span_of(run_id, PROCESS)
    call = await site.traces.span_of(run_id, "POST webhook")
    assert call.kind == "CLIENT"
    assert call.parent_id == ""
    assert call.links == [(attempt.trace_id, attempt.span_id)]
    assert call.attributes["http.response.status_code"] == 200
    [received] = [r for r in site.webhooks.requests if r.json["run_id"] == run_id]
    assert received.headers["traceparent"].startswith(f"00-{call.trace_id}-{call.span_id}-")


async def test_probes_have_no_spans(site: Site) -> None:
    await asyncio.gather(*(site.call("GET", "/ok") for _ in range(3)))
    await site.traces.span_of(await site.run("track", configurable={"n": 1}), PROCESS)
    assert not [span for span in site.traces.spans() if span.name.endswith("/ok")]
