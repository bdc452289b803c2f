"""Which web pages may have the API do something, and under which host names."""

import re
from typing import Any

import httpx
import pytest
from starlette.responses import PlainTextResponse
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.requests import STEPS, UNKNOWN_ID, Serve, System, detail
from harness.processes import Fleet
from millstream.api.http.page_access import RequestGuard, with_cors
from millstream.cli.dev import page_rules
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.http import Cors, HttpSettings
from millstream.shared.settings import Settings

DEV = Settings.from_env(page_rules("127.0.0.1", {}))


def guarded(settings: Settings, http: HttpSettings | None = None) -> httpx.AsyncClient:
    """Returns a client of an application behind the guard, which always responds 200."""
    cors = with_cors(http or HttpSettings(), settings).cors
    app = RequestGuard(PlainTextResponse("done"), cors, settings)
    return httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://localhost:2024")


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        (None, 200),
        ("http://localhost:3000", 200),
        ("http://agent.localhost:5173", 200),
        ("https://[::1]:8443", 200),
        ("https://smith.langchain.com", 200),
        ("https://agentchat.vercel.app", 200),
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("http://evil.example/localhost", 403),
        ("http://127.0.0.1.evil.example:2024", 403),
        ("https://smith.langchain.com.evil.example", 403),
        ("null", 403),
        ("", 403),
        ("http://[::1", 403),
        ("file://", 403),
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE", "OPTIONS"])
async def test_dev_executes_nothing_for_pages_of_strangers(
    origin: str | None, status: int, method: str
) -> None:
    async with guarded(DEV) as client:
        headers = {} if origin is None else {"origin": origin}
        response = await client.request(method, "/runs", headers=headers)
        assert response.status_code == status
        if status == 403:
            assert "CORS_ALLOW_ORIGINS" in detail(response)


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("localhost:2024", 200),
        ("LOCALHOST", 200),
        ("127.0.0.1:2024", 200),
        ("[::1]:2024", 200),
        ("agent.localhost", 200),
        ("localhost.", 200),
        ("evil.example:2024", 403),
        ("127.0.0.1.evil.example", 403),
        ("localhost.evil.example", 403),
        ("evillocalhost", 403),
        ("[::2]", 403),
        ("", 403),
    ],
)
async def test_dev_has_local_names_alone(host: str, status: int) -> None:
    async with guarded(DEV) as client:
        response = await client.get("/ok", headers={"host": host})
        assert response.status_code == status
        if status == 403:
            assert "MILLSTREAM_ALLOWED_HOSTS" in detail(response)


async def test_a_rebound_page_is_refused_though_its_origin_is_the_host() -> None:
    async with guarded(DEV) as client:
        headers = {"host": "evil.example:2024", "origin": "http://evil.example:2024"}
        assert (await client.post("/runs", headers=headers)).status_code == 403


async def test_a_page_of_the_server_itself_may_call() -> None:
    settings = Settings(cors_allow_origins="", public_url="https://agents.example/api")
    async with guarded(settings) as client:
        for headers, status in (
            ({"host": "agents.internal", "origin": "https://agents.internal"}, 200),
            ({"host": "agents.internal", "origin": "https://agents.example"}, 200),
            ({"host": "agents.internal", "origin": "https://other.example"}, 403),
        ):
            assert (await client.post("/runs", headers=headers)).status_code == status


def test_the_default_allows_all_and_the_project_wins_over_the_settings() -> None:
    assert with_cors(HttpSettings(), Settings()).cors.allows("https://any.example")
    project_http = HttpSettings(cors=Cors(allow_origins=["https://a.example"]))
    assert with_cors(project_http, DEV) is project_http
    both = Settings(
        cors_allow_origins="https://a.example, https://b.example", cors_allow_origin_regex="c.*"
    )
    cors = with_cors(HttpSettings(), both).cors
    assert [cors.allows(each) for each in ("https://b.example", "c://", "d://")] == [
        True,
        True,
        False,
    ]
    with pytest.raises(
        SettingError, match=re.escape("CORS_ALLOW_ORIGIN_REGEX='(' is not a pattern")
    ):
        Settings(cors_allow_origin_regex="(")


def test_dev_keeps_what_is_set_and_restricts_no_other_address() -> None:
    assert page_rules("0.0.0.0", {}) == {}
    rules = page_rules("localhost", {"CORS_ALLOW_ORIGINS": "*"})
    assert rules.keys() == {
        "MILLSTREAM_ALLOWED_HOSTS",
        "CORS_ALLOW_ORIGIN_REGEX",
        "MILLSTREAM_STUDIO_ACCESS",
    }


async def test_a_simple_request_of_another_page_runs_no_graph(serve: Serve) -> None:
    async with serve({"cors": {"allow_origins": ["https://app.example"]}}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        headers = {"origin": "https://evil.example", "content-type": "text/plain"}
        for path, body in (
            (f"/threads/{thread}/runs", STEPS),
            ("/threads/prune", {"thread_ids": [thread]}),
        ):
            response = await http.post(path, json=body, headers=headers)
            assert response.status_code == 403
            assert "access-control-allow-origin" not in response.headers
        assert (await http.get(f"/threads/{thread}/runs")).json() == []
        headers["origin"] = "https://app.example"
        allowed = await http.post(f"/threads/{thread}/runs", json=STEPS, headers=headers)
        assert allowed.status_code == 200
        await http.get(f"/threads/{thread}/runs/{allowed.json()['run_id']}/join")


async def test_a_socket_under_another_name_is_refused(system: System) -> None:
    path = f"threads/{UNKNOWN_ID}/stream/events"
    with Fleet(system.fleet.redis_url, MILLSTREAM_ALLOWED_HOSTS="127.0.0.1") as fleet:
        url = httpx.URL(fleet.api().wait_ready().url)
        async with connect(f"ws://127.0.0.1:{url.port}/{path}"):
            pass
        address: dict[str, Any] = {"host": url.host, "port": url.port}
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://evil.example/{path}", **address):
                pass
        assert refused.value.response.status_code == 403
