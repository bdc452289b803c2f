"""Webhooks of real runs are all delivered, although the receiver is down and a worker is killed."""

import json
import threading
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.run_fields import covers
from e2e.conftest import BEHAVIOUR
from harness.processes import Fleet
from harness.waiting import until
from harness.webhook_receiver import ReceivedRequest, Receiver, Reply
from millstream.cli.embedded import EmbeddedRedis

RUNS = 30


class Site:
    """A fleet and the receiver of its webhooks."""

    def __init__(
        self, fleet: Fleet, config: Path, receiver: Receiver, http: httpx.AsyncClient
    ) -> None:
        self.fleet = fleet
        self.config = config
        self.receiver = receiver
        self.http = http

    async def run(self, **body: Any) -> str:
        """Starts a stateless run of `track`; returns its id."""
        fields = {
            "assistant_id": "track",
            "config": {"configurable": {"n": 2}},
            "input": {},
            **body,
        }
        response = await self.http.post("/runs", json=fields)
        assert response.status_code == 200, response.text
        return str(response.json()["run_id"])

    async def requests(self, run_id: str) -> ReceivedRequest:
        """Waits for the webhook of a run, and returns it."""
        await until(
            lambda: any(request.json["run_id"] == run_id for request in self.receiver.requests)
        )
        return next(
            request for request in self.receiver.requests if request.json["run_id"] == run_id
        )


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[Site]:
    config = tmp_path / "langgraph.json"
    graphs = {"track": f"{BEHAVIOUR.with_name('behaviour.py')}:track"}
    webhooks = {
        "url": {"disable_loopback": False, "allowed_domains": ["127.0.0.1"]},
        "headers": {"X-From": "${{ env.LG_WEBHOOK_X }}"},
    }
    config.write_text(json.dumps({"graphs": graphs, "webhooks": webhooks}))
    env = {
        "LG_WEBHOOK_X": "tests",
        "WEBHOOK_RETRY_SECS": "0.3",
        "WEBHOOK_TIMEOUT_SECS": "1",
        "WEBHOOK_SECRET": "s",
        "LEASE_SECS": "1",
    }
    with (
        Receiver() as receiver,
        EmbeddedRedis(tmp_path / "redis", appendonly=False) as server,
        Fleet(server.url, WEBHOOK_BASE_URL=receiver.url, **env) as fleet,
    ):
        api = fleet.api()
        fleet.worker(config).wait_ready()
        async with httpx.AsyncClient(base_url=api.wait_ready().url, timeout=30) as http:
            yield Site(fleet, config, receiver, http)


@covers("webhook")
async def test_each_webhook_is_delivered_despite_a_receiver_outage_and_a_worker_crash(
    site: Site,
) -> None:
    # A run that succeeds and a run that is cancelled, with a path as webhook.
    hook = f"{site.receiver.url}/hook"
    request = await site.requests(await site.run(webhook=hook))
    assert (request.json["status"], request.json["values"]["items"]) == ("success", [0, 1])
    assert (request.headers["x-from"], "webhook-signature" in request.headers) == ("tests", True)
    cancelled = await site.run(webhook="/relative", after_seconds=600)
    await site.http.post(f"/runs/{cancelled}/cancel")
    request = await site.requests(cancelled)
    assert (request.path, request.json["status"]) == ("/relative", "interrupted")
    assert request.json["cancel_reason"] == "explicit"
    for bad in ("http://10.0.0.1/", "ftp://x"):
        body = {"assistant_id": "track", "webhook": bad}
        response = await site.http.post("/runs/wait", json=body)
        assert (response.status_code, response.json()["detail"][:8]) == (422, "webhook:")

    # The receiver is stopped while the runs end.
    site.receiver.stop()
    runs = {await site.run(webhook=hook) for _ in range(RUNS)}

    async def have_ended() -> bool:
        run = await site.http.get("/runs/" + next(iter(runs)))
        return run.is_success and run.json()["status"] == "success"

    await until(have_ended)

    # The first worker gets no responses, and is killed while it waits for them.
    silent = threading.Event()

    def answer(request: ReceivedRequest) -> Reply:
        silent.wait(5)
        return 200, {}

    site.receiver.requests.clear()
    site.receiver.answer = answer
    site.receiver.start()
    await until(lambda: len(site.receiver.requests) >= 5, what="calls are under way")
    site.fleet.processes[1].kill()
    site.receiver.answer = lambda request: (200, {})
    silent.set()
    lost = len(site.receiver.requests)
    site.fleet.worker(site.config).wait_ready()

    def all_delivered() -> bool:
        return {request.json["run_id"] for request in site.receiver.requests[lost:]} >= seen_before

    seen_before = {request.json["run_id"] for request in site.receiver.requests[:lost]}
    await until(all_delivered, within=60, what="those that the dead worker had are told again")
    await until(lambda: {t.json["run_id"] for t in site.receiver.requests} >= runs, within=60)
    assert all(
        request.headers["webhook-id"] == request.json["run_id"]
        for request in site.receiver.requests
    )
