"""Clients of langgraph_sdk without a URL call the deployment's own API and forward the caller's headers."""

import subprocess
import sys

import langgraph_sdk
import pytest
from langgraph.pregel.remote import RemoteGraph

from harness.webhook_receiver import Receiver
from millstream.shared.own_api import CALLER, connect_sdk, forwarded_headers
from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.worker import remote_graph

URLS = ("MILLSTREAM_API_URL", "MILLSTREAM_PUBLIC_URL", "LANGGRAPH_API_URL")
NAMES = ("get_client", "get_sync_client")


@pytest.fixture(autouse=True)
def _connected(monkeypatch: pytest.MonkeyPatch) -> None:
    remote_graph.connect()
    for name in URLS:
        monkeypatch.delenv(name, raising=False)


def test_the_sdk_is_connected_once_in_every_module() -> None:
    patched = [getattr(langgraph_sdk, name) for name in NAMES]
    connect_sdk()
    remote_graph.connect()
    assert patched == [getattr(langgraph_sdk, name) for name in NAMES]
    for module in ("langgraph_sdk.client", "langgraph.pregel.remote"):
        assert patched == [getattr(sys.modules[module], name) for name in NAMES]
    for name, function in zip(NAMES, patched, strict=True):
        assert function.__name__ == name


async def test_without_a_url_the_error_names_the_setting() -> None:
    for no_url in ({}, {"url": None}, {"url": ""}):
        async with langgraph_sdk.get_client(**no_url) as client:
            with pytest.raises(RuntimeError, match="MILLSTREAM_API_URL"):
                await client.threads.create()
        with (
            langgraph_sdk.get_sync_client(**no_url) as sync,
            pytest.raises(RuntimeError, match="MILLSTREAM_API_URL"),
        ):
            sync.threads.create()
    with pytest.raises(RuntimeError, match="MILLSTREAM_API_URL"):
        RemoteGraph("agent").get_graph()


@pytest.mark.parametrize("name", URLS)
def test_each_variable_sets_the_url(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    for other in URLS[URLS.index(name) :]:
        monkeypatch.setenv(other, f"http://{other.lower().replace('_', '-')}:1/base")
    client = langgraph_sdk.get_client()
    assert str(client.http.client.base_url) == f"http://{name.lower().replace('_', '-')}:1/base/"


def test_an_explicit_url_is_unchanged() -> None:
    with langgraph_sdk.get_sync_client(url="http://other:1") as client:
        assert client.http.client.base_url == "http://other:1"
        assert client.http.client.event_hooks == {"request": [], "response": []}
    remote = RemoteGraph("agent", client=langgraph_sdk.get_client(url="http://other:1"))
    assert remote.sync_client is None


async def test_the_callers_headers_are_forwarded_at_request_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with Receiver() as receiver:
        monkeypatch.setenv("MILLSTREAM_API_URL", f"{receiver.url}/base/")
        async with langgraph_sdk.get_client(api_key="own", headers={"X-Own": "own"}) as client:
            CALLER.set({"x-tenant": "acme", "x-own": "caller's", "x-api-key": "caller's"})
            await client.http.client.post("/ok", content=b"{}")
        with langgraph_sdk.get_sync_client() as sync:
            sync.http.client.post("/ok", content=b"{}")
        CALLER.set({})
        first, second = receiver.requests
    assert first.path == second.path == "/base/ok"
    assert (first.headers["x-tenant"], first.headers["x-own"]) == ("acme", "own")
    assert first.headers["x-api-key"] == "own"
    assert second.headers["x-api-key"] == "caller's"


def test_internal_headers_are_not_forwarded() -> None:
    forwarded = {
        "x-tenant": "a",
        "authorization": "b",
        "x-api-key": "c",
        "cookie": "d",
        "traceparent": "e",
    }
    request_headers = {
        "content-length": "1",
        "host": "h",
        "x-forwarded-for": "f",
        "sec-fetch-mode": "cors",
    }
    assert forwarded_headers(forwarded | request_headers) == forwarded


def test_without_the_sdk_nothing_is_changed() -> None:
    code = (
        "import sys; sys.modules['langgraph_sdk'] = None\n"
        "from millstream.shared.own_api import connect_sdk\n"
        "try: connect_sdk()\nexcept ValueError: sys.exit(1)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_the_token_of_a_run_goes_to_the_api_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A client with credentials of its own sends no token, and no request to another origin has one."""
    with Receiver() as api, Receiver() as other:
        monkeypatch.setenv("MILLSTREAM_API_URL", api.url)
        CALLER.set({RUN_HEADER: "secret", "x-tenant": "acme"})
        try:
            async with langgraph_sdk.get_client() as client:
                await client.http.client.post("/ok", content=b"{}")
                await client.http.client.post(f"{other.url}/ok", content=b"{}")
            for credentials in (
                {"headers": {"authorization": "mine"}}, {"headers": {"Cookie": "mine"}}, {"api_key": "mine"},
            ):  # fmt: skip
                with langgraph_sdk.get_sync_client(**credentials) as sync:
                    sync.http.client.post("/ok", content=b"{}")
        finally:
            CALLER.set({})
    seen = [(call.headers.get(RUN_HEADER), call.headers.get("x-tenant")) for call in api.requests]
    assert seen == [("secret", "acme"), *[(None, "acme")] * 3]
    [external] = other.requests
    assert not external.headers.keys() & {RUN_HEADER, "x-tenant"}
