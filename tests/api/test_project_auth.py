"""An API whose langgraph.json has `auth`: its processes start and end with it, and it answers as their handlers say."""

import json
import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from langgraph_sdk import get_client
from langgraph_sdk.errors import NotFoundError, PermissionDeniedError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from api.requests import System
from harness.processes import Process
from harness.waiting import until

AUTH_FILE = Path(__file__).parents[1] / "graphs" / "tenants.py"
ALICE = {"authorization": "Bearer alice-token"}
SCHEME = {"type": "http", "scheme": "bearer"}


def config(folder: Path, **auth: object) -> Path:
    """Writes a langgraph.json with this `auth`; returns its path."""
    path = folder / "langgraph.json"
    path.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "auth": auth}))
    return path


@pytest.fixture(scope="module")
def api(system: System, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    path = config(
        tmp_path_factory.mktemp("auth"),
        path=f"{AUTH_FILE}:auth",
        cache={"cache_keys": ["authorization"]},
        openapi={"securitySchemes": {"Token": SCHEME}, "security": [{"Token": []}]},
    )
    process = system.fleet.api(path, MILLSTREAM_STUDIO_ACCESS="true").wait_ready()
    yield process
    process.stop()


@pytest.fixture
def http(api: Process) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=30) as client:
        yield client


def token(user: str) -> dict[str, str]:
    return {"authorization": f"Bearer {user}-token"}


def children_of(pid: int) -> list[int]:
    text = Path(f"/proc/{pid}/task/{pid}/children").read_text()
    return [int(child) for child in text.split()]


@pytest.mark.parametrize(
    "headers", [{}, {"authorization": "alice-token"}, {"authorization": "Bearer x"}, {"x-api-key": "a"}]
)  # fmt: skip
def test_a_request_without_a_valid_token_is_401(
    http: httpx.Client, headers: dict[str, str]
) -> None:
    for path in ("/threads/search", "/no/such/path"):
        response = http.post(path, headers=headers, content=b"{")
        assert response.status_code == 401
        assert response.headers["www-authenticate"] == "Bearer"
        assert response.json()["detail"] in ("Unauthorized", "Invalid token")


def test_a_request_with_a_token_is_served(http: httpx.Client) -> None:
    for _ in range(2):  # the second one from the cache
        assert http.post("/assistants/search", headers=ALICE, json={}).status_code == 200
    assert http.get("/ok").status_code == 200


def test_studio_needs_no_token_where_the_setting_lets_it_in(http: httpx.Client) -> None:
    studio = {"x-auth-scheme": "langsmith"}
    assert http.post("/assistants/search", headers=studio, json={}).status_code == 200


def test_the_document_has_the_projects_security(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    assert document["security"] == [{"Token": []}, {"ApiKey": []}, {"Bearer": []}]
    assert document["components"]["securitySchemes"].keys() == {"Token", "ApiKey", "Bearer"}
    assert document["components"]["securitySchemes"]["Token"] == SCHEME
    assert document["paths"]["/ok"]["get"]["security"] == []


async def test_the_handshake_of_a_websocket_needs_a_token(api: Process) -> None:
    url = (
        api.url.replace("http", "ws")
        + "/threads/00000000-0000-4000-8000-000000000000/stream/events"
    )
    with pytest.raises(InvalidStatus) as refused:
        async with connect(url):
            pass
    assert refused.value.response.status_code in (401, 403)
    async with connect(url, additional_headers=ALICE):
        pass


async def test_the_handlers_decide_for_clients_of_the_sdk(api: Process) -> None:
    async with (
        get_client(url=api.url, api_key=None, headers=ALICE) as alice,
        get_client(url=api.url, api_key=None, headers=token("bob")) as bob,
        get_client(url=api.url, api_key=None, headers=token("carol")) as carol,
        get_client(url=api.url, api_key=None, headers=token("admin")) as admin,
    ):
        thread = await alice.threads.create(metadata={"topic": "tenants"})
        thread_id = thread["thread_id"]
        assert thread["metadata"] == {"topic": "tenants", "owner": "alice"}
        result = await alice.runs.wait(thread_id, "steps", input={"items": []})
        assert isinstance(result, dict)
        assert result["items"]
        assert [
            each["thread_id"] for each in await alice.threads.search(metadata={"topic": "tenants"})
        ] == [thread_id]
        for attempt in (
            lambda: bob.threads.get(thread_id),
            lambda: bob.threads.get_state(thread_id),
            lambda: bob.runs.list(thread_id),
            lambda: bob.runs.create(thread_id, "steps", input={"items": []}),
            lambda: bob.threads.delete(thread_id),
        ):
            with pytest.raises(NotFoundError):
                await attempt()
        assert await bob.threads.count(metadata={"topic": "tenants"}) == 0
        with pytest.raises(PermissionDeniedError, match="The permission threads:write is needed"):
            await carol.threads.create()
        with pytest.raises(PermissionDeniedError):
            await alice.assistants.create("steps")
        assert (await admin.threads.get(thread_id))["thread_id"] == thread_id
        await alice.threads.delete(thread_id)


def test_an_api_does_not_start_with_a_file_that_cannot_be_used(
    system: System, tmp_path: Path
) -> None:
    (tmp_path / "auth.py").write_text("raise ValueError('no key')\n")
    api = system.fleet.api(config(tmp_path, path="./auth.py:auth"))
    assert api.wait() == 1
    assert api.lines[-1] == (
        "The project's `auth` can't be used: auth.path: ./auth.py can't be imported: ValueError: no key "
        "(auth.py, line 1)"
    )
    assert not any("Traceback" in line for line in api.lines)


@pytest.mark.skipif(sys.platform != "linux", reason="needs prctl")
async def test_no_process_outlives_the_api(system: System, tmp_path: Path) -> None:
    api = system.fleet.api(config(tmp_path, path=f"{AUTH_FILE}:auth")).wait_ready()
    [child] = children_of(api.pid)
    os.kill(child, signal.SIGSTOP)
    api.send(signal.SIGKILL)
    api.wait()
    await until(lambda: not Path(f"/proc/{child}").exists())
