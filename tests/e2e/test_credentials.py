"""API keys and JWTs with real processes: both SDKs, raw requests, WebSockets, and the command of operators."""

import asyncio
import json
import os
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import httpx
import pytest
from click.testing import CliRunner
from langgraph_sdk import get_client, get_sync_client
from langgraph_sdk.errors import NotFoundError, PermissionDeniedError
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.typing import Subprotocol

from conftest import System
from e2e.node import node
from harness.issuer import AUDIENCE, IssuerServer, SigningKey, claims, token
from harness.processes import Fleet, Process
from harness.waiting import until
from millstream.cli.main import main
from millstream.shared.api_keys.token import new_token

STEPS = {"assistant_id": "steps", "input": {"items": []}}
NOBODY = "/threads/00000000-0000-0000-0000-000000000000"


@dataclass(frozen=True, slots=True)
class Guarded:
    """An API that accepts keys and JWTs, on the Redis of the running system."""

    api: Process
    issuer: IssuerServer
    signing_key: SigningKey
    redis_url: str

    @property
    def url(self) -> str:
        return self.api.url

    def keys(self, *arguments: str) -> Any:
        """Returns what `millstream keys` prints as JSON."""
        command = ["keys", "--redis-url", self.redis_url, *arguments, "--json"]
        with ThreadPoolExecutor(1) as thread:  # the command has an event loop of its own
            result = thread.submit(CliRunner().invoke, main, command).result()
        assert result.exit_code == 0, result.output
        return json.loads(result.stdout)

    def key(self, identity: str = "ann", *options: str) -> str:
        """Returns a new API key."""
        return str(self.keys("create", "test", "--identity", identity, *options)["key"])

    def token(self, **fields: Any) -> str:
        """Returns a JWT of the issuer."""
        return token(self.signing_key, claims(self.issuer.url, **fields))


@pytest.fixture(scope="module")
def guarded(system: System) -> Iterator[Guarded]:
    signing_key = SigningKey("key-1", "ES256")
    redis_url = system.fleet.redis_url
    with IssuerServer(signing_key) as issuer, Fleet(redis_url) as fleet:
        api = fleet.api(AUTH_JWT_ISSUER=issuer.url, AUTH_JWT_AUDIENCE=AUDIENCE, LOG_LEVEL="DEBUG")
        yield Guarded(api.wait_ready(), issuer, signing_key, redis_url)


def bearer(text: str) -> dict[str, str]:
    return {"authorization": f"Bearer {text}"}


async def status_of(guarded: Guarded, headers: Any, path: str = NOBODY) -> int:
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        return (await client.get(path, headers=headers)).status_code


def test_the_start_says_which_credentials_are_accepted(guarded: Guarded) -> None:
    assert guarded.api.ready["auth"] == "jwt,api_key"


async def test_nothing_is_looked_at_before_the_credentials(guarded: Guarded) -> None:
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for method, path, body in (
            ("GET", NOBODY, b""),
            ("GET", "/threads/not-an-id", b""),
            ("GET", "/no/such/path", b""),
            ("POST", "/threads/search", b"{not JSON"),
            ("POST", "/mcp/", b"{}"),
            ("POST", "/a2a/steps", b"{}"),
            ("GET", "/metrics", b""),
            ("GET", "/ops/queues", b""),
        ):
            response = await client.request(method, path, content=body)
            assert response.status_code == 401, path
            assert response.headers["www-authenticate"] == "Bearer"
            assert "detail" in response.json()
        for path in ("/ok", "/info", "/openapi.json", "/docs"):
            assert (await client.get(path)).status_code == 200, path


async def test_no_line_and_no_response_has_credentials(guarded: Guarded) -> None:
    key, jwt = guarded.key(), guarded.token()
    expired, external = guarded.token(exp=1), guarded.token(iss="https://elsewhere.example")
    wrong_key = f"{key[:-4]}AAAA"
    responses = []
    async with httpx.AsyncClient(base_url=guarded.url) as client:
        for secret in (
            key,
            jwt,
            expired,
            external,
            wrong_key,
            "not-a-credential",
            f"{jwt[:-8]}AAAAAAAA",
        ):
            for headers in (
                bearer(secret),
                {"x-api-key": secret},
                {"authorization": f"Basic {secret}"},
                {"authorization": secret},
                {"cookie": f"token={secret}"},
                {"sec-websocket-protocol": f"millstream, bearer.{secret}"},
            ):
                path = f"{NOBODY}?api_key={secret}&access_token={secret}"
                response = await client.get(path, headers=headers)
                assert response.status_code in (401, 403, 404)
                responses.append(f"{response.headers} {response.text}")
    output = "\n".join([*responses, *guarded.api.lines])
    for secret in (key, jwt, expired, external, wrong_key, "not-a-credential"):
        assert secret not in output
        assert secret[-20:] not in output


async def test_the_python_sdk_with_a_key_and_with_a_token(guarded: Guarded) -> None:
    key = guarded.key()
    for arguments in (
        {"api_key": key},
        {"api_key": None, "headers": bearer(guarded.token())},
        # A key that the SDK finds in the environment is no key of this server.
        {"api_key": "lsv2_pt_another", "headers": bearer(guarded.token())},
    ):
        async with get_client(url=guarded.url, **arguments) as client:
            thread = await client.threads.create()
            values: Any = await client.runs.wait(thread["thread_id"], "steps", input={"items": []})
            assert values["items"] == [0, 1, 2]
            await client.threads.delete(thread["thread_id"])


def test_the_sync_sdk_with_a_key(guarded: Guarded) -> None:
    with get_sync_client(url=guarded.url, api_key=guarded.key()) as client:
        assert client.assistants.search()
    with get_sync_client(url=guarded.url, api_key="x") as client, pytest.raises(httpx.HTTPError):
        client.assistants.search()


@pytest.mark.usefixtures("node_modules")
async def test_the_js_sdk_with_a_key_and_with_a_token(guarded: Guarded) -> None:
    seen = await node("credentials.mjs", guarded.url, guarded.key(), guarded.token())
    assert seen["none"] == {"status": 401}
    for kind in ("key", "token"):
        assert seen[kind]["status"] == 200, seen
        assert seen[kind]["values"]["items"] == [0, 1, 2]
        async with get_client(url=guarded.url, api_key=guarded.key()) as client:
            await client.threads.delete(seen[kind]["thread"])
    if seen["sockets"] is not None:
        assert seen["sockets"] == {"key": "millstream", "token": "millstream", "none": "refused"}


async def test_forms_of_credentials(guarded: Guarded) -> None:
    key, jwt = guarded.key(), guarded.token()
    for accepted in (
        {"x-api-key": key},
        {"X-API-Key": key},
        bearer(key),
        bearer(jwt),
        {"authorization": f"bearer {jwt}"},
        {"authorization": f"BEARER {key}"},
        {"x-api-key": key, **bearer(key)},
    ):
        assert await status_of(guarded, accepted) == 404, accepted
    for refused in (
        {},
        {"x-api-key": new_token()},
        {"x-api-key": key[:-1] + "!"},
        {"x-api-key": jwt},
        {"x-api-key": ""},
        {"authorization": key},
        {"authorization": f"Basic {key}"},
        {"authorization": "Bearer"},
        bearer(f"{jwt}x"),
        bearer("x" * 20_000),
        bearer(guarded.token(exp=1)),
        bearer(guarded.token(aud="another")),
        [("x-api-key", key), ("x-api-key", key)],
        [("authorization", f"Bearer {jwt}"), ("authorization", f"Bearer {jwt}")],
        {"x-api-key": key, **bearer(guarded.key("bob"))},
        {"cookie": f"x-api-key={key}"},
    ):
        assert await status_of(guarded, refused) == 401, refused
    assert await status_of(guarded, {}, f"{NOBODY}?api_key={key}&x-api-key={key}") == 401


async def test_a_revoked_key_stops_and_a_rotated_one_lasts_for_the_grace(guarded: Guarded) -> None:
    old = guarded.key()
    assert await status_of(guarded, bearer(old)) == 404
    new = guarded.keys("rotate", old)["key"]
    for key in (new, old):
        assert await status_of(guarded, bearer(key)) == 404
    guarded.keys("revoke", old)
    began = time.monotonic()

    async def refused() -> bool:
        return await status_of(guarded, bearer(old)) == 401

    await until(refused, within=10, what="the end of the key")
    assert time.monotonic() - began < 5
    assert await status_of(guarded, bearer(new)) == 404


async def test_an_expired_key_is_refused(guarded: Guarded) -> None:
    assert await status_of(guarded, bearer(guarded.key("ann", "--expires", "0s"))) == 401


async def handshake(guarded: Guarded, *subprotocols: str, **headers: str) -> str | None:
    """Opens a WebSocket; returns the subprotocol that the server accepts."""
    url = f"{guarded.url.replace('http', 'ws')}{NOBODY}/stream/events"
    offered = [Subprotocol(each) for each in subprotocols] or None
    async with connect(url, subprotocols=offered, additional_headers=headers) as socket:
        return socket.subprotocol


async def test_a_websocket_needs_credentials(guarded: Guarded) -> None:
    key, jwt = guarded.key(), guarded.token()
    assert await handshake(guarded, **{"x-api-key": key}) is None
    assert await handshake(guarded, authorization=f"Bearer {jwt}") is None
    for text in (key, jwt):
        assert await handshake(guarded, "millstream", f"bearer.{text}") == "millstream"
    for offered in ((), ("millstream",), (f"bearer.{key}",), ("millstream", "bearer.x")):
        with pytest.raises((InvalidStatus, WebSocketException)):
            await handshake(guarded, *offered)


async def test_users_reach_only_what_they_own(guarded: Guarded) -> None:
    async with (
        get_client(url=guarded.url, api_key=guarded.key("ann")) as ann,
        get_client(url=guarded.url, api_key=None, headers=bearer(guarded.token(sub="bob"))) as bob,
        get_client(url=guarded.url, api_key=guarded.key("root", "--scopes", "admin")) as root,
    ):
        thread = await ann.threads.create(metadata={"owner": "bob", "topic": "x"})
        thread_id = thread["thread_id"]
        assert thread["metadata"] == {"owner": "ann", "topic": "x"}
        for attempt in (
            lambda: bob.threads.get(thread_id),
            lambda: bob.threads.update(thread_id, metadata={"owner": "bob"}),
            lambda: bob.threads.get_state(thread_id),
            lambda: bob.threads.copy(thread_id),
            lambda: bob.threads.delete(thread_id),
            lambda: bob.runs.list(thread_id),
            lambda: bob.runs.create(thread_id, "steps", input={"items": []}),
        ):
            with pytest.raises(NotFoundError):
                await attempt()
        assert await bob.threads.search(metadata={"topic": "x"}) == []
        assert await bob.threads.count(metadata={"topic": "x"}) == 0
        updated = await ann.threads.update(thread_id, metadata={"owner": "bob"})
        assert (updated["metadata"] or {})["owner"] == "ann"
        assert await root.threads.count(metadata={"owner": "ann", "topic": "x"}) == 1

        [steps] = await bob.assistants.search(graph_id="steps")
        with pytest.raises(NotFoundError):
            await bob.assistants.update(steps["assistant_id"], name="mine")
        mine = await ann.assistants.create("steps", metadata={"created_by": "system"})
        assert mine["metadata"] == {"owner": "ann"}
        assert await bob.assistants.search(graph_id="steps") == [steps]
        with pytest.raises(httpx.HTTPStatusError, match="404"):
            await bob.runs.wait(None, mine["assistant_id"], input={"items": []})

        await ann.assistants.delete(mine["assistant_id"])
        await root.threads.delete(thread_id)


async def test_namespaces_of_the_store_begin_with_the_identity(guarded: Guarded) -> None:
    async with (
        get_client(url=guarded.url, api_key=guarded.key("ann@example.com")) as ann,
        get_client(url=guarded.url, api_key=guarded.key("bob")) as bob,
    ):
        namespace = ["ann@example%2Ecom", "notes"]
        await ann.store.put_item(namespace, "k", {"text": "secret"})
        items = (await ann.store.search_items([]))["items"]
        assert [item["namespace"] for item in items] == [namespace]
        assert (await bob.store.search_items([]))["items"] == []
        assert (await bob.store.list_namespaces())["namespaces"] == []
        for attempt in (
            lambda: bob.store.get_item(namespace, "k"),
            lambda: bob.store.put_item(namespace, "k", {}),
            lambda: bob.store.delete_item(namespace, "k"),
            lambda: bob.store.search_items(namespace),
        ):
            with pytest.raises(PermissionDeniedError, match="namespace: yours"):
                await attempt()
        await ann.store.delete_item(namespace, "k")


async def test_scopes_limit_what_a_key_may_do(guarded: Guarded) -> None:
    keys = {
        scope: bearer(guarded.key("ann", "--scopes", scope))
        for scope in ("read", "write", "ops", "admin")
    }
    read = {"read", "write", "admin"}
    allowed = {
        ("POST", "/threads/search"): read,
        ("POST", "/assistants/search"): read,
        ("POST", "/threads"): {"write", "admin"},
        ("POST", "/runs/wait"): {"write", "admin"},
        ("GET", "/ops/queues"): {"ops", "admin"},
        ("GET", "/metrics"): {"ops", "admin"},
    }
    async with httpx.AsyncClient(base_url=guarded.url, timeout=30) as client:
        for (method, path), scopes in allowed.items():
            body = STEPS if path == "/runs/wait" else {} if method == "POST" else None
            for scope, headers in keys.items():
                response = await client.request(method, path, headers=headers, json=body)
                expected = 200 if scope in scopes else 403
                assert response.status_code == expected, (path, scope, response.text)
                if expected == 403:
                    assert "needs the scope" in response.json()["detail"]
                elif path == "/threads":
                    created = f"/threads/{response.json()['thread_id']}"
                    await client.delete(created, headers=keys["admin"])


async def test_no_log_line_has_credentials(guarded: Guarded) -> None:
    key, jwt = guarded.key(), guarded.token()
    await status_of(guarded, bearer(jwt))
    await status_of(guarded, {"x-api-key": key})
    await status_of(guarded, bearer(f"{jwt}x"))
    log = "\n".join(guarded.api.lines)
    assert key not in log
    assert jwt not in log


async def test_without_redis_nothing_is_allowed() -> None:
    with Fleet("redis://127.0.0.1:1") as fleet:
        api = fleet.api(AUTH_TYPE="api_key").wait_ready()
        async with httpx.AsyncClient(base_url=api.url) as client:
            responses = await asyncio.gather(
                *(client.get(NOBODY, headers=bearer(new_token())) for _ in range(20))
            )
            assert {response.status_code for response in responses} == {503}
            assert all("retry-after" in response.headers for response in responses)
            assert (await client.get(NOBODY)).status_code == 401
            assert (await client.get(NOBODY, headers=bearer("msk_x"))).status_code == 401


async def test_an_api_starts_without_its_issuer_and_accepts_tokens_once_it_has_keys(
    system: System,
) -> None:
    signing_key = SigningKey("key-1", "ES256")
    with IssuerServer(signing_key) as issuer, Fleet(system.fleet.redis_url) as fleet:
        issuer.status = 500
        api = fleet.api(
            AUTH_JWT_ISSUER=issuer.url, AUTH_JWT_AUDIENCE=AUDIENCE, LOG_LEVEL="DEBUG"
        ).wait_ready()
        headers = bearer(token(signing_key, claims(issuer.url)))
        async with httpx.AsyncClient(base_url=api.url) as client:
            response = await client.get(NOBODY, headers=headers)
            assert (response.status_code, response.headers["retry-after"]) == (503, "5")
            issuer.status = 200

            async def accepted() -> bool:
                return (await client.get(NOBODY, headers=headers)).status_code == 404

            await until(accepted, within=20, what="the keys of the issuer")


@pytest.mark.parametrize(
    ("env", "status", "text"),
    [
        ({}, 1, "would listen on 0.0.0.0 without authentication"),
        ({"AUTH_TYPE": "jwt"}, 1, "AUTH_JWT_ISSUER"),
        ({"AUTH_TYPE": "custom"}, 1, "auth.path"),
        ({"AUTH_TYPE": "key"}, 1, "is not one of"),
        ({"AUTH_TYPE": "noop", "MILLSTREAM_STUDIO_ACCESS": "true"}, 1, "MILLSTREAM_STUDIO_ACCESS"),
    ],
)
def test_an_api_that_would_be_open_does_not_start(
    env: dict[str, str], status: int, text: str
) -> None:
    variables = {**os.environ, "REDIS_URL": "redis://127.0.0.1:1", **env}
    process = Process("millstream.api", ["--host", "0.0.0.0", "--port", "0"], variables)
    assert process.wait() == status
    assert text in "\n".join(process.lines)
