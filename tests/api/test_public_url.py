"""The URL in agents' cards and in the API's description: behind proxies, under prefixes, by a setting."""

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from api.requests import System, detail
from harness.processes import Fleet
from millstream.api.app import create_app
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.assistants import announce, default_assistant_id
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.shared.wire import GraphInfo

CARD = "/a2a/chat/.well-known/agent-card.json"
AT_ROOT = "/.well-known/agent-card.json"
CHAT = f"/a2a/{default_assistant_id('chat')}"
PROXIED = {
    "Host": "inner",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "agents.example",
    "X-Forwarded-Prefix": "/api",
}


@asynccontextmanager
async def calling(url: str, *, peer: str = "127.0.0.1") -> AsyncIterator[httpx.AsyncClient]:
    """Yields a client with that address as its peer."""
    transport = httpx.AsyncHTTPTransport(local_address=peer)
    async with httpx.AsyncClient(base_url=url, transport=transport, timeout=30) as client:
        yield client


@pytest.fixture(scope="module")
def fleet(system: System) -> Iterator[Fleet]:
    with Fleet(system.fleet.redis_url) as fleet:
        yield fleet


def urls(card: dict[str, Any]) -> set[str]:
    """Returns all URLs in an agent card."""
    return {card["url"], *(each["url"] for each in card["supportedInterfaces"])}


async def test_only_a_local_proxy_is_trusted_by_default(system: System) -> None:
    async with calling(system.url) as near, calling(system.url, peer="127.0.0.3") as far:
        card = (await near.get(CARD, headers=PROXIED)).json()
        assert urls(card) == {f"https://agents.example/api{CHAT}"}
        card = (await far.get(CARD, headers=PROXIED)).json()
        assert urls(card) == {f"http://inner{CHAT}"}
        described = (await near.get("/openapi.json", headers=PROXIED)).json()
        assert described["servers"] == [{"url": "https://agents.example/api"}]


async def test_a_trusted_proxy_and_a_prefix_are_used(fleet: Fleet, tmp_path: Path) -> None:
    config = tmp_path / "langgraph.json"
    http = {"mount_prefix": "/agents"}
    config.write_text(json.dumps({"graphs": {"chat": "./nowhere.py:graph"}, "http": http}))
    proxies = "127.0.0.2, 127.0.0.3/32"
    api = fleet.api(config, FORWARDED_ALLOW_IPS=proxies, A2A_ASSISTANT="chat").wait_ready()
    async with calling(api.url) as near, calling(api.url, peer="127.0.0.3") as far:
        for path in (CARD, AT_ROOT):
            card = (await far.get(path, headers=PROXIED)).json()
            assert urls(card) == {f"https://agents.example/api/agents{CHAT}"}
            card = (await near.get(path, headers=PROXIED)).json()
            assert urls(card) == {f"http://inner/agents{CHAT}"}
        # The prefix comes from the path, whether or not the proxy sends it.
        prefixed = {**PROXIED, "X-Forwarded-Prefix": "/agents"}
        card = (await far.get(CARD, headers=prefixed)).json()
        assert urls(card) == {f"https://agents.example/agents{CHAT}"}
        # An agent can be called at the URL of its card.
        body = {"jsonrpc": "2.0", "id": 1, "method": "nope"}
        response = await far.post(CHAT, json=body, headers=PROXIED)
        assert response.json()["error"]["code"] == -32601


async def test_the_public_url_setting_overrides_the_request(fleet: Fleet) -> None:
    api = fleet.api(None, LANGGRAPH_API_URL="https://agents.example/v1/").wait_ready()
    async with calling(api.url) as http:
        for headers in ({}, PROXIED):
            card = (await http.get(CARD, headers=headers)).json()
            assert urls(card) == {f"https://agents.example/v1{CHAT}"}
            described = (await http.get("/openapi.json", headers=headers)).json()
            assert described["servers"] == [{"url": "https://agents.example/v1"}]
        # With several graphs, the server has no card of its own.
        refused = await http.get(AT_ROOT)
        assert refused.status_code == 422
        assert "A2A_ASSISTANT" in detail(refused)


async def test_a_single_graph_has_its_card_at_the_root(
    real_redis: Client, redis_server: EmbeddedRedis
) -> None:
    url = redis_server.url.rpartition("/")[0] + "/1"
    app = create_app(Settings(redis_url=url))
    transport = httpx.ASGITransport(app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(base_url="http://one.example", transport=transport) as http,
    ):
        assert (await http.get(AT_ROOT)).status_code == 422
        await announce(real_redis, [GraphInfo(graph_id="chat", queue="default")])
        card = (await http.get(AT_ROOT)).json()
        assert urls(card) == {f"http://one.example{CHAT}"}
        await announce(real_redis, [GraphInfo(graph_id="other", queue="default")])
        assert "there are 2 graphs" in detail(await http.get(AT_ROOT))
