"""`http` of langgraph.json: the project's routes, CORS, headers for graphs and logs, a prefix, disabled routes."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest
from langgraph_sdk import get_client
from websockets.asyncio.client import connect

from api.requests import STEPS, UNKNOWN_ID, Serve, System, detail
from graphs import extra_worker
from harness.event_stream import follow, start
from harness.processes import Process
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
from millstream.shared.langgraph_json.http import HttpSettings
from millstream.shared.settings import Settings

FOLDER = Path(extra_worker.__file__).parent
# ── A project's own application ─────────────────────────────────────────────────────────────


async def test_the_projects_routes_middleware_and_lifespan_are_used(serve: Serve) -> None:
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


async def test_a_fastapi_application_is_supported(serve: Serve) -> None:
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
    ("http", "more", "phrases"),
    [
        ({"app": "./none.py:app"}, {}, ("http.app", "no file")),
        ({"app": "webapp"}, {}, ("http.app", "not of the form")),
        ({"app": f"{FOLDER / 'webapp.py'}:nothing"}, {}, ("http.app", "int", "Starlette")),
        ({"app": f"{FOLDER / 'webapp.py'}:gone"}, {}, ("http.app", "no 'gone'")),
        ({"cors": {"allow_origin_regex": "("}}, {}, ("allow_origin_regex", "unterminated")),
        ({"cors": {"origins": []}}, {}, ("origins",)),
        ({"mount_prefix": "api"}, {}, ("mount_prefix",)),
        ({"mount_prefix": "/a?b"}, {}, ("mount_prefix",)),
        ({"middleware_order": "auth_last"}, {}, ("middleware_order",)),
        ({"disable_everything": True}, {}, ("disable_everything",)),
        ({"configurable_headers": {"includes": "x"}}, {}, ("configurable_headers",)),
    ],
)
def test_an_invalid_http_setting_is_an_error(
    tmp_path: Path, http: dict[str, Any], more: dict[str, Any], phrases: tuple[str, ...]
) -> None:
    config = tmp_path / "langgraph.json"
    config.write_text(json.dumps({"graphs": {"steps": "./x.py:graph"}, "http": http, **more}))
    with pytest.raises(SettingError) as refused:
        load(config, Settings())
    for phrase in phrases:
        assert phrase in str(refused.value)


def test_an_invalid_http_setting_ends_the_process_with_one_sentence(
    start_api: Callable[..., Process],
) -> None:
    process = start_api({"disable_everything": True})
    assert process.wait() == 1
    [line] = process.lines
    assert "disable_everything" in line


# ── Headers ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.usefixtures("fields_worker")
async def test_headers_become_configurable(serve: Serve) -> None:
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


async def test_a_pattern_does_not_match_secret_headers(serve: Serve) -> None:
    async with serve({"configurable_headers": {"include": ["*"]}, "cors": None}) as http:
        sent = {"authorization": "a", "cookie": "c", "x-api-key": "k", "x-fine": "f"}
        body = {"assistant_id": "probe", "input": {}}
        seen = (await http.post("/runs/wait", json=body, headers=sent)).json()["seen"]
        assert seen["configurable"]["x-fine"] == "f"
        assert not seen["configurable"].keys() & {"authorization", "cookie", "x-api-key"}


@pytest.mark.usefixtures("fields_worker")
async def test_without_a_setting_no_header_is_passed_on(http: httpx.AsyncClient) -> None:
    body = {"assistant_id": "probe", "input": {}}
    seen = (await http.post("/runs/wait", json=body, headers={"x-user-id": "u"})).json()["seen"]
    assert "x-user-id" not in seen["configurable"]


async def test_nothing_has_the_headers_of_a_client(serve: Serve) -> None:
    secret = f"secret-{uuid.uuid4()}"
    modes = ["values", "updates", "messages", "debug", "tasks", "checkpoints", "custom", "events"]
    async with serve({"configurable_headers": {"includes": ["x-*", "authorization"]}}) as http:
        thread = (await http.post("/threads", json={})).json()["thread_id"]
        request = {**STEPS, "stream_mode": modes, "stream_subgraphs": True, "metadata": {"a": 1}}
        headers = {"x-user-id": secret, "authorization": f"Bearer {secret}"}
        stream = await http.post(f"/threads/{thread}/runs/stream", json=request, headers=headers)
        run_id = stream.headers["content-location"].split("/")[4]
        copied = (await http.post(f"/threads/{thread}/copy")).json()["thread_id"]
        texts = [stream.text]
        for path in (
            f"/threads/{thread}/runs", f"/threads/{thread}/runs/{run_id}", f"/threads/{thread}",
            f"/threads/{thread}/runs/{run_id}/stream", f"/threads/{thread}/state?subgraphs=true",
            f"/threads/{thread}/history", f"/threads/{copied}", f"/threads/{copied}/history",
        ):  # fmt: skip
            response = await http.get(path)
            assert response.status_code == 200
            texts.append(response.text)
        matches = await http.post("/threads/search", json={"ids": [thread, copied]})
        assert len(matches.json()) == 2
        for text in (*texts, matches.text):
            assert secret not in text
            assert "caller_headers" not in text


async def test_each_request_is_one_log_line(start_api: Callable[..., Process]) -> None:
    api = start_api({"logging_headers": {"includes": ["x-request-id"]}}).wait_ready()
    async with httpx.AsyncClient(base_url=api.url) as http:
        await http.get("/info", headers={"x-request-id": "r1\n2"[:2], "x-other": "no"})
        await http.get(f"/threads/{UNKNOWN_ID}")

    def logged() -> list[dict[str, Any]]:
        return [each for each in api.records if each["logger"] == "millstream.access"]

    await until(lambda: len(logged()) == 2)
    assert "GET /info 200 in " in logged()[0]["event"]
    assert logged()[0]["headers"] == {"x-request-id": "r1"}
    assert f"GET /threads/{UNKNOWN_ID} 404 in " in logged()[1]["event"]
    assert logged()[1]["headers"] == {}


# ── A prefix ────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize("app", [None, "app"])
async def test_all_routes_are_below_the_mount_prefix(serve: Serve, app: str | None) -> None:
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
            created_runs: list[Any] = []
            parts = [
                part.event
                async for part in client.runs.stream(
                    thread["thread_id"], "steps", input={}, on_run_created=created_runs.append
                )
            ]
            assert parts.count("values") >= 3
            assert created_runs[0]["thread_id"] == thread["thread_id"]
            async with client.threads.stream(assistant_id="steps") as stream:
                await stream.run.start(input={"items": []})
                assert await stream.output == {"items": [0, 1, 2]}


async def test_ok_beside_a_prefix_is_503_while_the_process_stops(system: System) -> None:
    http_settings = HttpSettings(mount_prefix="/agents")
    api = create_app(Settings(redis_url=system.fleet.redis_url), http_settings)
    transport = httpx.ASGITransport(wrap_app(api, http_settings, None, Settings()))
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
def test_each_group_of_routes_can_be_disabled(what: str) -> None:
    http = msgspec.convert({f"disable_{what}": True}, HttpSettings)
    gone = [endpoint for endpoint in ENDPOINTS if endpoint not in enabled_endpoints(http)]
    assert gone == GROUPS[what]
    paths = {getattr(route, "path", "") for route in create_app(Settings(), http).routes}
    assert ("/threads/{thread_id}/stream/events" in paths) == (what != "runs")
    assert ("/docs" in paths) == (what != "meta")


async def test_a_disabled_route_is_404(serve: Serve) -> None:
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


async def test_webhooks_can_be_disabled(serve: Serve) -> None:
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
