"""What of a request reaches the project's authenticate function, LangGraph Studio, and the cache in between."""

import logging
from collections.abc import Mapping
from typing import Any, cast

import pytest

from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.project import ProjectAuthenticator
from millstream.cli.dev import page_rules
from millstream.shared.access import User
from millstream.shared.auth_process.processes import AuthProcesses
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.langgraph_json.auth import AuthConfig, UserCacheConfig
from millstream.shared.settings import Settings

ALL = frozenset(
    {"request", "body", "path", "method", "path_params", "query_params", "headers", "authorization"}
)


class SimulatedProcesses:
    """Notes the questions; answers with a new user each time."""

    def __init__(self, *parameters: str) -> None:
        self.parameters = frozenset(parameters)
        self.questions: list[tuple[Mapping[str, Any], Mapping[str, Any] | None]] = []
        self.denies = False

    async def authenticate(
        self,
        arguments: Mapping[str, Any],
        *,
        scope: Mapping[str, Any] | None = None,
        read_body: Any = None,
    ) -> User:
        self.questions.append((arguments, scope))
        if self.denies:
            raise UnauthenticatedError
        return User.of({"identity": f"user {len(self.questions)}"})


def authenticator(
    processes: SimulatedProcesses, *, admits_studio: bool = False, **config: Any
) -> ProjectAuthenticator:
    return ProjectAuthenticator(
        cast("AuthProcesses", processes),
        AuthConfig("./auth.py:auth", **config),
        admits_studio=admits_studio,
    )


def request(body: bytes = b"", *, reads: list[int] | None = None, **scope: Any) -> AuthRequest:
    async def read() -> bytes:
        if reads is not None:
            reads.append(1)
        return body

    whole = {
        "type": "http", "method": "POST", "path": "/threads/t", "raw_path": b"/threads/t",
        "query_string": b"a=1&a=2&b=",
        "headers": [(b"authorization", b"Bearer x"), (b"x-one", b"\xe9")], "scheme": "http", "root_path": "",
        "client": ("1.2.3.4", 5), "server": ("host", 80), "http_version": "1.1", "app": object(), "state": {},
        **scope,
    }  # fmt: skip
    return AuthRequest(whole, read, lambda: {"thread_id": "t"})


async def test_all_arguments() -> None:
    processes = SimulatedProcesses(*ALL)
    await authenticator(processes).authenticate(request(b'{"a": 1}'))
    [(arguments, scope)] = processes.questions
    assert arguments == {
        "body": {"a": 1}, "path": "/threads/t", "method": "POST", "path_params": {"thread_id": "t"},
        "query_params": {"a": "2", "b": ""}, "headers": [(b"authorization", b"Bearer x"), (b"x-one", b"\xe9")],
        "authorization": "Bearer x",
    }  # fmt: skip
    assert scope is not None
    assert scope.keys() == {
        "type", "method", "path", "raw_path", "query_string", "headers", "scheme", "root_path", "client", "server",
        "http_version", "path_params",
    }  # fmt: skip


async def test_only_what_the_function_takes_is_sent_and_read() -> None:
    processes, reads = SimulatedProcesses("authorization"), list[int]()
    await authenticator(processes).authenticate(request(b"{}", reads=reads, headers=[]))
    assert processes.questions == [({"authorization": None}, None)]
    assert reads == []


@pytest.mark.parametrize("body", [b"", b"no json", b"\xff", b"[" * 100_000])
async def test_a_body_that_is_no_json_is_none(body: bytes) -> None:
    processes = SimulatedProcesses("body")
    await authenticator(processes).authenticate(request(body))
    assert processes.questions == [({"body": None}, None)]


@pytest.mark.parametrize(("scheme", "expected"), [("ws", "http"), ("wss", "https")])
async def test_the_handshake_of_a_websocket_is_a_get(scheme: str, expected: str) -> None:
    processes = SimulatedProcesses("request", "method")
    handshake = request(type="websocket", scheme=scheme)
    del handshake.scope["method"]
    await authenticator(processes).authenticate(handshake)
    [(arguments, scope)] = processes.questions
    assert arguments == {"method": "GET"}
    assert scope is not None
    assert (scope["type"], scope["method"], scope["scheme"]) == ("http", "GET", expected)


CACHE = UserCacheConfig(cache_keys=["authorization"], ttl_seconds=60)


async def test_the_cache_answers_for_the_same_headers() -> None:
    processes = SimulatedProcesses("authorization")
    cached = authenticator(processes, cache=CACHE)
    assert await cached.authenticate(request()) is await cached.authenticate(request())
    other = request(headers=[(b"authorization", b"y")])
    assert (await cached.authenticate(other)).identity == "user 2"
    for expected in ("user 3", "user 4"):  # without the header nothing is cached
        assert (await cached.authenticate(request(headers=[]))).identity == expected


async def test_a_denial_is_not_cached() -> None:
    processes = SimulatedProcesses("authorization")
    cached = authenticator(processes, cache=CACHE)
    processes.denies = True
    for _ in range(2):
        with pytest.raises(UnauthenticatedError):
            await cached.authenticate(request())
    processes.denies = False
    assert (await cached.authenticate(request())).identity == "user 3"


@pytest.mark.parametrize("config", [{}, {"cache": UserCacheConfig()}])
async def test_without_names_of_headers_there_is_no_cache(config: dict[str, Any]) -> None:
    processes = SimulatedProcesses("authorization")
    uncached = authenticator(processes, **config)
    for expected in ("user 1", "user 2"):
        assert (await uncached.authenticate(request())).identity == expected


def test_the_log_names_arguments_that_a_cached_user_does_not_depend_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.WARNING):
        authenticator(SimulatedProcesses("path", "headers", "method"), cache=CACHE)
        authenticator(SimulatedProcesses("authorization"), cache=CACHE)
    [record] = caplog.records
    assert "also takes method, path, which" in record.getMessage()


STUDIO = [(b"x-auth-scheme", b"langsmith")]


@pytest.mark.parametrize(
    ("admits", "disabled", "headers", "admitted"),
    [
        (True, False, STUDIO, True),
        (True, True, STUDIO, False),
        (False, False, STUDIO, False),
        (True, False, [(b"x-auth-scheme", b"other")], False),
        (True, False, [], False),
    ],
)
async def test_studio_is_let_in_where_the_machine_and_the_project_allow_it(
    admits: bool, disabled: bool, headers: list[tuple[bytes, bytes]], admitted: bool
) -> None:
    processes = SimulatedProcesses("authorization")
    gate = authenticator(processes, admits_studio=admits, disable_studio_auth=disabled)
    user = await gate.authenticate(request(headers=headers))
    assert (user.fields.get("kind") == "StudioUser") is admitted
    assert bool(processes.questions) is not admitted


@pytest.mark.parametrize(("host", "admits"), [("127.0.0.1", "true"), ("0.0.0.0", "false")])
def test_studio_is_let_in_by_dev_on_loopback_alone(host: str, admits: str) -> None:
    assert Settings.from_env(page_rules(host, {})).studio_access == admits
    assert Settings().studio_access == "false"
