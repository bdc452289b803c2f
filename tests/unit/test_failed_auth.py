"""Requests with invalid credentials are limited by address. Valid credentials of the same address pass."""

import time
from types import SimpleNamespace
from typing import Any

import pytest
from starlette.types import Message, Scope

from millstream.api.http.context import USER
from millstream.api.http.limits import CallerLimitsMiddleware
from millstream.api.limits.caller_limits import ProcessLimits
from millstream.api.limits.failed_auth import REMEMBERED, FailedAuth
from millstream.api.limits.rates import RateLimiter
from millstream.shared.rules.rate import Rate
from millstream.shared.settings import Settings

RATE = Rate(60, 60, 3)


class Clock:
    """A monotonic clock that a test moves."""

    now = 5000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(time, "monotonic", clock)
    return clock


class SimulatedServer:
    """The middleware around a simulated application: the credentials `good` are valid."""

    def __init__(self, **settings: Any) -> None:
        limits = Settings(rate_of_failed_auth="60/min burst 3", **settings)
        self.checked = 0
        process: Any = SimpleNamespace(
            auth=SimpleNamespace(is_on=True),
            limits=ProcessLimits(RateLimiter(None, limits), limits),
        )
        self._middleware = CallerLimitsMiddleware(self._app, lambda _: process)

    async def _app(self, scope: Scope, receive: Any, send: Any) -> None:
        self.checked += 1
        is_http = scope["type"] == "http"
        if (b"authorization", b"good") in scope["headers"]:
            scope[USER] = "user"
            await send(
                {"type": "http.response.start" if is_http else "websocket.accept", "status": 200}
            )
        elif is_http:
            await send({"type": "http.response.start", "status": 401, "headers": []})
        else:
            await send({"type": "websocket.close", "code": 4401})

    async def answer(self, credentials: str, address: str = "10.0.0.1", **scope: Any) -> Message:
        """Returns the last message that begins or ends a response."""
        sent: list[Message] = []

        async def receive() -> Message:
            return {"type": "websocket.connect"}

        async def send(message: Message) -> None:
            sent.append(message)

        headers = [(b"authorization", credentials.encode())] if credentials else []
        request = {"type": "http", "path": "/threads", "headers": headers, "client": (address, 1)}
        await self._middleware({**request, **scope}, receive, send)
        return sent[0] if scope.get("type", "http") == "http" else sent[-1]

    async def status(self, *arguments: str, **scope: Any) -> int:
        return int((await self.answer(*arguments, **scope))["status"])


async def test_an_address_with_invalid_credentials_gets_429_unseen(clock: Clock) -> None:
    server = SimulatedServer()
    assert [await server.status("bad") for _ in range(5)] == [401, 401, 401, 429, 429]
    assert server.checked == 3
    answer = await server.answer("bad")
    assert (b"retry-after", b"1") in answer["headers"]
    assert await server.status("bad", "10.0.0.2") == 401
    clock.now += 1.0
    assert [await server.status("bad"), await server.status("bad")] == [401, 429]
    assert await server.status("bad", path="/ok") == 401  # as the application says


async def test_credentials_that_were_valid_pass(clock: Clock) -> None:
    server = SimulatedServer()
    assert await server.status("good", "10.0.0.9") == 200
    for _ in range(3):
        assert await server.status("") == 401
    assert await server.status("good") == 200
    assert await server.status("other") == 429
    assert await server.status("") == 429


def test_many_failures_at_once_lock_an_address_out_no_longer_than_an_empty_bucket(
    clock: Clock,
) -> None:
    failed_auth = FailedAuth(RATE)
    for _ in range(1000):  # all of them let in before the first had failed
        failed_auth.failed("10.0.0.1")
    assert failed_auth.wait_seconds("10.0.0.1", b"new") == 1.0


async def test_handshakes_count_too(clock: Clock) -> None:
    server = SimulatedServer()
    codes = [(await server.answer("bad", type="websocket")).get("code") for _ in range(4)]
    assert codes == [4401, 4401, 4401, 4429]
    assert await server.status("bad") == 429


def test_only_the_newest_addresses_are_remembered(clock: Clock) -> None:
    failed_auth = FailedAuth(RATE)
    for number in range(REMEMBERED + 1):
        for _ in range(3):
            failed_auth.failed(str(number))
        failed_auth.passed(str(number).encode())
    assert failed_auth.wait_seconds("0", b"x") == 0.0
    assert failed_auth.wait_seconds("1", b"x") == 1.0
    assert failed_auth.wait_seconds("1", b"1") == 0.0
    assert failed_auth.wait_seconds("1", b"0") == 1.0


def test_without_a_rate_nothing_is_limited(clock: Clock) -> None:
    failed_auth = FailedAuth(None)
    for _ in range(100):
        failed_auth.failed("a")
    assert failed_auth.wait_seconds("a", b"") == 0.0


def test_the_log_names_the_address_once(clock: Clock, caplog: pytest.LogCaptureFixture) -> None:
    failed_auth = FailedAuth(RATE)
    for _ in range(9):
        failed_auth.failed("10.0.0.7")
        clock.now += 0.5
    [record] = caplog.records
    assert "10.0.0.7" in record.getMessage()
    assert "FORWARDED_ALLOW_IPS" in record.getMessage()
