"""`http` of langgraph.json: a project's own routes, CORS, headers for graphs and logs, a prefix, what is disabled."""

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from langgraph_sdk import get_client
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from api.requests import STEPS, UNKNOWN_ID, System, detail
from graphs import extra_worker
from harness.event_stream import follow, start
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.api.app import create_app
from millstream.api.http.context import process_in
from millstream.api.http.middleware import load, wrap_app
from millstream.api.routes import (
    A2A,
    ASSISTANTS,
    ENDPOINTS,
    MCP,
    META,
    RUNS,
    STORE,
    THREADS,
    UI,
    enabled_endpoints,
)
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.http import Cors, HttpSettings
from millstream.shared.settings import Settings

FOLDER = Path(extra_worker.__file__).parent
Served = Callable[..., Any]


@pytest.fixture
def starting(system: System, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts APIs with an `http` of the test's own, on the system's Redis."""
    with Fleet(system.fleet.redis_url, KEEPALIVE_INTERVAL_SECS="0.2") as fleet:

        def begin(http: dict[str, Any], **more: Any) -> Process:
            config = tmp_path / "langgraph.json"
            graphs = {"steps": "./nowhere.py:graph"}  # the API reads no graphs
            config.write_text(json.dumps({"graphs": graphs, "http": http, **more}))
            return fleet.api(config, LOG_LEVEL="INFO")

        yield begin


@pytest.fixture
def serve(starting: Callable[..., Process]) -> Served:
    @asynccontextmanager
    async def served(http: dict[str, Any], **more: Any) -> AsyncIterator[httpx.AsyncClient]:
        api = starting(http, **more).wait_ready()
        async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
            yield client

    return served


# ── A project's own application ─────────────────────────────────────────────────────────────


async def test_its_routes_middleware_and_lifespan(serve: Served) -> None:
    app = {"app": f"{FOLDER / 'webapp.py'}:app"}
    async with serve(app, env={"WEBAPP_WORD": "set"}) as http:
        response = await http.get("/hello")
        assert response.json() == {"seen": ["began"], "word": "from the lifespan", "env": "set"}
        assert (await http.get("/info")).text == "mine"
        assert (await http.get("/broken")).text == "caught ZeroDivisionError"
        response = await http.post("/runs/wait", json=STEPS)
        assert response.json() == {"items": [0, 1, 2]}
        assert response.headers["x-stamp"] == "theirs"
        assert response.headers["content-location"].startswith("/threads/")
        response = await http.get(f"/threads/{UNKNOWN_ID}")
        assert response.status_code == 404
        assert "not found" in detail(response)
        assert (await http.get("/nowhere")).status_code == 404
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        async with follow(http, thread, ["values"]) as following:
            await start(http, thread, "steps")
            await following.at_least(4)
            await until(lambda: following.keepalives)
        socket = str(http.base_url).replace("http", "ws")
        async with connect(f"{socket}/threads/{thread}/stream/events") as connection:
            await connection.send('{"id":1,"method":"nope"}')
            assert json.loads(await connection.recv())["error"] == "unknown_command"


async def test_fastapi(serve: Served) -> None:
    async with serve({"app": f"{FOLDER / 'webapp.py'}:fast"}) as http:
        assert (await http.post("/sum", json={"one": 1, "two": 2})).json() == 3
        refused = await http.post("/sum", json={"one": "x"})
        assert refused.status_code == 422
        assert (await http.post("/runs/wait", json=STEPS)).json() == {"items": [0, 1, 2]}
        document = (await http.get("/openapi.json")).json()
        assert document["info"]["title"] == "Millstream"
        assert document["paths"]["/sum"]["post"]["summary"] == "Add"
        assert "Sum" in document["components"]["schemas"]
        assert "/threads" in document["paths"]


@pytest.mark.parametrize(
    ("http", "more", "words"),
    [
        ({"app": "./none.py:app"}, {}, ("http.app", "no file")),
        ({"app": "webapp"}, {}, ("http.app", "not of the form")),
        ({"app": f"{FOLDER / 'webapp.py'}:nothing"}, {}, ("http.app", "int", "Starlette")),
        ({"app": f"{FOLDER / 'webapp.py'}:gone"}, {}, ("http.app", "no 'gone'")),
        ({"cors": {"allow_origin_regex": "("}}, {}, ("allow_origin_regex", "unterminated")),
        ({"cors": {"origins": []}}, {}, ("origins",)),
        ({"mount_prefix": "api"}, {}, ("mount_prefix",)),
        ({"mount_prefix": "/a?b"}, {}, ("mount_prefix",)),
        ({"enable_custom_route_auth": True}, {}, ("enable_custom_route_auth", "auth")),
        ({"disable_everything": True}, {}, ("disable_everything",)),
        ({"configurable_headers": {"includes": "x"}}, {}, ("configurable_headers",)),
    ],
)
def test_what_can_not_be_used_is_said(
    tmp_path: Path, http: dict[str, Any], more: dict[str, Any], words: tuple[str, ...]
) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"steps": "./x.py:graph"}, "http": http, **more}))
    with pytest.raises(SettingError) as refused:
        load(config)
    for word in words:
        assert word in str(refused.value)


def test_it_ends_the_process_with_a_sentence(starting: Callable[..., Process]) -> None:
    process = starting({"disable_everything": True})
    assert process.wait() == 1
    [line] = process.lines
    assert "disable_everything" in line


# ── Headers ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("fields_worker")
async def test_headers_become_configurable(serve: Served) -> None:
    chosen = {"includes": ["x-user-*", "X-Tenant", "x-api-key"], "excludes": ["x-user-secret"]}
    sent = {
        "X-User-Id": "u1", "x-user-secret": "no", "X-Tenant": "t", "x-other": "no", "X-Api-Key": "k",
        "authorization": "no",
    }  # fmt: skip
    async with serve({"configurable_headers": chosen}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        body = {
            "assistant_id": "probe", "input": {}, "context": {"user": "c"},
            "config": {"configurable": {"x-user-id": "forged", "x-user-secret": "mine", "a": 1}},
        }  # fmt: skip
        for path in (f"/threads/{thread}/runs/wait", "/runs/wait"):
            seen = (await http.post(path, json=body, headers=sent)).json()["seen"]
            configurable = seen["configurable"]
            assert {key: configurable.get(key) for key in ("x-user-id", "x-tenant", "x-api-key")} == {
                "x-user-id": "u1", "x-tenant": "t", "x-api-key": "k",
            }  # fmt: skip
            assert configurable["x-user-secret"] == "mine"
            assert not configurable.keys() & {"x-other", "authorization"}
            assert seen["user"] == "c"
        http.headers.update(sent)
        async with follow(http, thread, ["values", "lifecycle"]) as following:
            await start(http, thread, "probe", input={})
            await following.ended()
            assert following.data_of("values")[-1]["seen"]["configurable"]["x-user-id"] == "u1"


async def test_a_pattern_names_no_secrets(serve: Served) -> None:
    async with serve({"configurable_headers": {"include": ["*"]}, "cors": None}) as http:
        sent = {"authorization": "a", "cookie": "c", "x-api-key": "k", "x-fine": "f"}
        run = (
            await http.post("/runs", json={**STEPS, "on_completion": "keep"}, headers=sent)
        ).json()
        configurable = run["kwargs"]["config"]["configurable"]
        assert configurable["x-fine"] == "f"
        assert not configurable.keys() & {"authorization", "cookie", "x-api-key"}
        await http.get(f"/threads/{run['thread_id']}/runs/{run['run_id']}/join")


async def test_without_a_word_no_header_is_passed_on(http: httpx.AsyncClient) -> None:
    run = (await http.post("/runs", json=STEPS, headers={"x-user-id": "u"})).json()
    assert "x-user-id" not in run["kwargs"]["config"]["configurable"]


async def test_a_line_a_request(starting: Callable[..., Process]) -> None:
    api = starting({"logging_headers": {"includes": ["x-request-id"]}}).wait_ready()
    async with httpx.AsyncClient(base_url=api.url) as http:
        await http.get("/info", headers={"x-request-id": "r1\n2"[:2], "x-other": "no"})
        await http.get(f"/threads/{UNKNOWN_ID}")

    def logged() -> list[str]:
        return [line for line in api.lines if "GET /" in line]

    await until(lambda: len(logged()) == 2)
    assert "GET /info 200 in " in logged()[0]
    assert "x-request-id='r1'" in logged()[0]
    assert "x-other" not in logged()[0]
    assert f"GET /threads/{UNKNOWN_ID} 404 in " in logged()[1]


# ── CORS ────────────────────────────────────────────────────────────────────────────────────


async def test_who_may_call_from_a_page(serve: Served) -> None:
    cors = {
        "allow_origins": ["https://app.example"], "allow_methods": ["POST"], "allow_credentials": True,
        "allow_headers": ["x-mine"], "expose_headers": ["x-shown"], "max_age": 7,
    }  # fmt: skip
    async with serve({"cors": cors, "app": f"{FOLDER / 'webapp.py'}:app"}) as http:
        for path in ("/threads/search", "/hello"):
            asked = {"origin": "https://app.example", "access-control-request-method": "POST"}
            allowed = await http.options(path, headers=asked)
            assert allowed.headers["access-control-allow-origin"] == "https://app.example"
            assert allowed.headers["access-control-allow-credentials"] == "true"
            assert allowed.headers["access-control-max-age"] == "7"
            assert "x-mine" in allowed.headers["access-control-allow-headers"]
            refused = await http.options(path, headers={**asked, "origin": "https://evil.example"})
            assert refused.status_code == 400
        shown = await http.get("/hello", headers={"origin": "https://app.example"})
        exposed = shown.headers["access-control-expose-headers"]
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
    app = wrap_app(create_app(Settings()), HttpSettings(cors=settings), None)
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


async def test_a_page_may_call_into_a_private_network(http: httpx.AsyncClient) -> None:
    asked = {
        "origin": "https://page.example", "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
        "access-control-request-private-network": "true",
    }  # fmt: skip
    for path in ("/threads", f"/threads/{UNKNOWN_ID}/runs/stream", "/nowhere"):
        allowed = await http.options(path, headers=asked)
        assert allowed.status_code == 200
        assert allowed.headers["access-control-allow-private-network"] == "true"
        assert allowed.headers["access-control-allow-headers"] == "content-type,x-api-key"
    del asked["access-control-request-private-network"]
    plain = await http.options("/threads", headers=asked)
    assert "access-control-allow-private-network" not in plain.headers


@pytest.mark.parametrize("prefix", ["", "/agents"])
async def test_only_pages_that_may_call_learn_of_the_private_network(prefix: str) -> None:
    cors = Cors(allow_origins=["https://app.example"], allow_credentials=True)
    settings = HttpSettings(cors=cors, mount_prefix=prefix)
    app = wrap_app(create_app(Settings(), settings), settings, None)
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
            told = response.headers.get("access-control-allow-private-network")
            assert told == ("true" if status == 200 else None)
        for path in (f"{prefix}/nowhere", "/outside/of/it"):
            refused = await http.get(path, headers={"origin": "https://app.example"})
            assert refused.status_code == 404
            assert refused.headers["access-control-allow-origin"] == "https://app.example"
            assert refused.headers["access-control-allow-credentials"] == "true"


async def test_every_route_answers_a_preflight(http: httpx.AsyncClient) -> None:
    for endpoint in ENDPOINTS:
        asked = {
            "origin": "https://page.example",
            "access-control-request-method": endpoint.method,
        }
        path = endpoint.path.replace("{thread_id}", UNKNOWN_ID)
        response = await http.options(path, headers=asked)
        assert response.status_code == 200, path
        assert endpoint.method in response.headers["access-control-allow-methods"], path


async def test_who_may_open_a_socket_from_a_page(serve: Served) -> None:
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


# ── A prefix ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("app", [None, "app"])
async def test_all_under_a_prefix(serve: Served, app: str | None) -> None:
    http_settings: dict[str, Any] = {"mount_prefix": "/agents/v1/"}
    if app:
        http_settings["app"] = f"{FOLDER / 'webapp.py'}:{app}"
    async with serve(http_settings) as http:
        assert str(http.base_url).endswith("/agents/v1/")
        root = str(http.base_url).replace("/agents/v1/", "")
        assert (await http.get("/ok")).json()["ok"] is True
        assert (await http.get(f"{root}/ok")).json()["ok"] is True
        assert (await http.get(f"{root}/info")).status_code == 404
        if app:
            assert (await http.get("/hello")).status_code == 200
        async with get_client(url=str(http.base_url).rstrip("/")) as client:
            thread = await client.threads.create()
            place: list[Any] = []
            parts = [
                part.event
                async for part in client.runs.stream(
                    thread["thread_id"], "steps", input={}, on_run_created=place.append
                )
            ]
            assert parts.count("values") >= 3
            assert place[0]["thread_id"] == thread["thread_id"]
            async with client.threads.stream(assistant_id="steps") as stream:
                await stream.run.start(input={"items": []})
                assert await stream.output == {"items": [0, 1, 2]}


async def test_ok_beside_a_prefix_is_503_while_the_process_stops(system: System) -> None:
    http_settings = HttpSettings(mount_prefix="/agents")
    api = create_app(Settings(redis_url=system.fleet.redis_url), http_settings)
    transport = httpx.ASGITransport(wrap_app(api, http_settings, None))
    async with (
        api.router.lifespan_context(api),
        httpx.AsyncClient(transport=transport, base_url="http://test") as client,
    ):
        assert (await client.get("/ok")).json()["ok"] is True
        process = process_in(api)
        assert process is not None
        process.shut_down()
        for path in ("/ok", "/agents/ok"):
            response = await client.get(path)
            assert (response.status_code, detail(response)) == (503, "This process is stopping.")
            assert response.headers["retry-after"] == "1"


# ── What is disabled ────────────────────────────────────────────────────────────────────────

GROUPS = {
    "assistants": ASSISTANTS, "threads": THREADS, "runs": RUNS, "store": STORE, "mcp": MCP, "a2a": A2A,
    "meta": META, "ui": UI,
}  # fmt: skip


@pytest.mark.parametrize("what", GROUPS)
def test_each_group_can_be_disabled(what: str) -> None:
    http = msgspec.convert({f"disable_{what}": True}, HttpSettings)
    gone = [endpoint for endpoint in ENDPOINTS if endpoint not in enabled_endpoints(http)]
    assert gone == GROUPS[what]
    paths = {getattr(route, "path", "") for route in create_app(Settings(), http).routes}
    assert ("/threads/{thread_id}/stream/events" in paths) == (what != "runs")
    assert ("/docs" in paths) == (what != "meta")


async def test_what_is_disabled_is_not_found(serve: Served) -> None:
    async with serve({f"disable_{what}": True for what in GROUPS}) as http:
        assert (await http.get("/ok")).status_code == 200
        for method, path in (
            ("POST", "/assistants/search"), ("GET", f"/threads/{UNKNOWN_ID}/state"), ("POST", "/runs"),
            ("POST", f"/threads/{UNKNOWN_ID}/commands"), ("POST", "/store/items/search"),
            ("POST", "/mcp/"), ("POST", "/a2a/chat"), ("GET", "/info"), ("GET", "/docs"),
            ("GET", "/openapi.json"), ("POST", "/runs/crons"),
        ):  # fmt: skip
            response = await http.request(method, path, json={})
            assert (response.status_code, detail(response)) == (404, "Not Found"), path


async def test_webhooks_are_disabled(serve: Served) -> None:
    async with serve({"disable_webhooks": True}) as http:
        body = {**STEPS, "webhook": "https://nobody.invalid/x"}
        refused = [
            await http.post("/runs", json=body),
            await http.post("/runs/batch", json=[body]),
            await http.post("/runs/crons", json={**body, "schedule": "0 0 1 1 *"}),
        ]
        for response in refused:
            assert response.status_code == 422
            assert "webhook" in detail(response)
        assert (await http.post("/runs/wait", json=STEPS)).status_code == 200
