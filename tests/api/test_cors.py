"""CORS: which pages may call the API, with or without `http.cors` of langgraph.json."""

import json
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from starlette.applications import Starlette
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.requests import UNKNOWN_ID, Serve
from graphs import extra_worker
from millstream.api.http.middleware import wrap_app
from millstream.api.routes import ENDPOINTS
from millstream.shared.langgraph_json.http import Cors, HttpSettings
from millstream.shared.settings import Settings

FOLDER = Path(extra_worker.__file__).parent


async def test_cors_decides_which_pages_may_call(serve: Serve) -> None:
    cors = {
        "allow_origins": ["https://app.example"], "allow_methods": ["POST"], "allow_credentials": True,
        "allow_headers": ["x-mine"], "expose_headers": ["x-shown"], "max_age": 7,
    }  # fmt: skip
    async with serve({"cors": cors, "app": f"{FOLDER / 'webapp.py'}:app"}) as http:
        for path in ("/threads/search", "/hello"):
            preflight_headers = {
                "origin": "https://app.example",
                "access-control-request-method": "POST",
            }
            allowed = await http.options(path, headers=preflight_headers)
            assert allowed.headers["access-control-allow-origin"] == "https://app.example"
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-max-age"] == "7"
            assert "x-mine" in allowed.headers["access-control-allow-headers"]
            refused = await http.options(
                path, headers={**preflight_headers, "origin": "https://evil.example"}
            )
            assert refused.status_code == 400
        reply = await http.get("/hello", headers={"origin": "https://app.example"})
        exposed = reply.headers["access-control-expose-headers"]
        assert "Content-Location" in exposed
        assert "x-shown" in exposed
    async with serve({"cors": {"allow_origin_regex": r"https://.*\.example"}}) as http:
        for origin, answered in (
            ("https://a.example", "https://a.example"),
            ("https://b.com", None),
        ):
            response = await http.get("/ok", headers={"origin": origin})
            assert response.headers.get("access-control-allow-origin") == answered


@pytest.mark.parametrize(
    "cors",
    [
        {}, {"allow_origins": ["*"]}, {"allow_origins": ["https://a.example", "*"]},
        {"allow_origins": ["*"], "allow_origin_regex": "https://a"}, {"allow_origin_regex": ".*"},
        {"allow_origin_regex": "https?://.+"}, {"allow_origin_regex": "http://.+"},
    ],
)  # fmt: skip
async def test_no_credentials_for_all_origins(cors: dict[str, Any]) -> None:
    settings = msgspec.convert({"allow_credentials": True, **cors}, Cors)
    app = wrap_app(Starlette(), HttpSettings(cors=settings), None, Settings())
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://api") as http:
        pattern = cors.get("allow_origin_regex", "")
        origin = f"{'http' if pattern.startswith('http:') else 'https'}://any.example"
        page = {"origin": origin}
        preflight = {**page, "access-control-request-method": "GET"}
        for response in (
            await http.get("/nowhere", headers=page),
            await http.options("/nowhere", headers=preflight),
        ):
            assert response.headers["access-control-allow-origin"] in ("*", origin)
            assert "access-control-allow-credentials" not in response.headers


async def test_a_page_may_call_a_private_network(http: httpx.AsyncClient) -> None:
    preflight_headers = {
        "origin": "https://page.example", "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
        "access-control-request-private-network": "true",
    }  # fmt: skip
    for path in ("/threads", f"/threads/{UNKNOWN_ID}/runs/stream", "/nowhere"):
        allowed = await http.options(path, headers=preflight_headers)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-private-network"] == "true"
        assert allowed.headers["access-control-allow-headers"] == "content-type,x-api-key"
    del preflight_headers["access-control-request-private-network"]
    plain = await http.options("/threads", headers=preflight_headers)
    assert "access-control-allow-private-network" not in plain.headers


@pytest.mark.parametrize("prefix", ["", "/agents"])
async def test_only_allowed_pages_get_the_private_network_header(prefix: str) -> None:
    cors = Cors(allow_origins=["https://app.example"], allow_credentials=True)
    settings = HttpSettings(cors=cors, mount_prefix=prefix)
    app = wrap_app(Starlette(), settings, None, Settings())
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
        for origin, status in (("https://app.example", 200), ("https://evil.example", 400)):
            response = await http.options(
                f"{prefix}/threads",
                headers={
                    "origin": origin, "access-control-request-method": "POST",
                    "access-control-request-private-network": "true",
                },
            )  # fmt: skip
            assert response.status_code == status
            header = response.headers.get("access-control-allow-private-network")
            assert header == ("true" if status == 200 else None)
        for path in (f"{prefix}/nowhere", "/outside/of/it"):
            refused = await http.get(path, headers={"origin": "https://app.example"})
            assert refused.status_code == 404
            assert refused.headers["access-control-allow-origin"] == "https://app.example"
            assert refused.headers["access-control-allow-credentials"] == "true"


async def test_every_route_answers_a_preflight(http: httpx.AsyncClient) -> None:
    for endpoint in ENDPOINTS:
        preflight_headers = {
            "origin": "https://page.example",
            "access-control-request-method": endpoint.method,
        }
        path = endpoint.path.replace("{thread_id}", UNKNOWN_ID)
        response = await http.options(path, headers=preflight_headers)
        assert response.status_code == 200, path
        assert endpoint.method in response.headers["access-control-allow-methods"], path


async def test_cors_decides_which_pages_may_open_a_websocket(serve: Serve) -> None:
    cors = {"allow_origins": ["https://app.example"], "allow_origin_regex": r"https://\w+\.test"}
    async with serve({"cors": cors}) as http:
        url = f"{http.base_url}/threads/{UNKNOWN_ID}/stream/events".replace("http", "ws")
        for origin, allowed in (
            ("https://app.example", True), ("https://a.test", True), (None, True),
            ("https://evil.example", False), ("https://a.test.evil.example", False),
        ):  # fmt: skip
            async with connect(url, origin=origin) as connection:  # type: ignore[arg-type]
                if allowed:
                    await connection.send('{"id":1,"method":"nope"}')
                    assert json.loads(await connection.recv())["error"] == "unknown_command"
                else:
                    with pytest.raises(ConnectionClosed):
                        await connection.recv()
                    assert connection.close_code == 4403
