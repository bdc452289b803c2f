"""What one caller may use: rates while Redis is unavailable, and counts of streams and bytes that are given back."""

import asyncio
import time

import pytest

from millstream.api.limits import rates
from millstream.api.limits.caller_limits import CallerLimits, ProcessLimits
from millstream.api.limits.callers import address_of, digest
from millstream.api.limits.rates import RateLimiter
from millstream.shared.errors import OverloadedError, RateLimitedError
from millstream.shared.redis import Client, connect
from millstream.shared.settings import Settings

SETTINGS = Settings(rate_of_requests="1/h burst 2", max_streams=2, max_body=1000, max_bodies=8000)


@pytest.fixture
def process() -> ProcessLimits:
    return ProcessLimits(RateLimiter(None, SETTINGS), SETTINGS)


async def test_while_redis_is_unavailable_nothing_is_limited(
    real_redis: Client, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    unreachable = connect("redis://127.0.0.1:1")
    limiter = RateLimiter(unreachable, SETTINGS)
    begun = time.monotonic()
    assert [await limiter.take("a", requests=1) for _ in range(10)] == [{}] * 10
    assert time.monotonic() - begun < 2 * rates.ANSWER_SECONDS  # Redis was tried once
    assert len(caplog.records) == 1
    await unreachable.aclose()
    monkeypatch.setattr(limiter, "_redis", real_redis)
    monkeypatch.setattr(rates, "PAUSE_SECONDS", 0.0)
    limiter._paused_until = 0.0
    for _ in range(2):
        assert await limiter.take("a", requests=1)
    with pytest.raises(RateLimitedError):
        await limiter.take("a", requests=1)


async def test_redis_that_does_not_answer_holds_a_request_up_for_a_moment(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(rates, "ANSWER_SECONDS", 0.05)
    connections: list[asyncio.StreamWriter] = []
    server = await asyncio.start_server(lambda _, writer: connections.append(writer), "127.0.0.1")
    port = server.sockets[0].getsockname()[1]
    silent = connect(f"redis://127.0.0.1:{port}")
    begun = time.monotonic()
    assert await RateLimiter(silent, SETTINGS).take("a", requests=1) == {}
    assert time.monotonic() - begun < 5
    await silent.aclose()
    for writer in connections:
        writer.close()
    server.close()


async def test_of_fifty_requests_the_allowed_ones_hold_a_stream(process: ProcessLimits) -> None:
    requests = [CallerLimits(process, "a") for _ in range(50)]
    held, refused = [], 0
    for request in requests:
        try:
            request.hold_stream()
            request.hold_stream()  # counts once
            held.append(request)
        except RateLimitedError:
            refused += 1
    assert (len(held), refused) == (2, 48)
    CallerLimits(process, "b").hold_stream()
    for request in requests:  # those that were refused give nothing back
        request.close()
        request.close()
    assert process.streams == {"b": 1}


def test_bytes_are_counted_until_the_response_begins(process: ProcessLimits) -> None:
    first, second, other = (CallerLimits(process, name) for name in ("a", "a", "b"))
    first.hold_bytes(1500)
    second.hold_bytes(500)
    with pytest.raises(RateLimitedError, match="2000 bytes"):
        second.hold_bytes(1)
    with pytest.raises(RateLimitedError):
        second.hold_values(1)
    other.hold_bytes(2000)
    first.release_body()
    second.hold_bytes(1500)
    second.become("c")
    assert process.body_bytes == {"b": 2000, "c": 2000}
    for request in (first, second, other):
        request.close()
    assert (process.body_bytes, process.all_body_bytes) == ({}, 0)


def test_all_callers_together_have_a_limit(process: ProcessLimits) -> None:
    for number in range(4):
        CallerLimits(process, str(number)).hold_bytes(2000)
    last = CallerLimits(process, "last")
    with pytest.raises(OverloadedError) as refused:
        last.hold_bytes(1)
    assert not isinstance(refused.value, RateLimitedError)
    assert process.all_body_bytes == 8000


@pytest.mark.parametrize(
    ("host", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("192.0.2.7:443", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:0:1:2:3:4:5", "2001:db8:0:1::/64"),
        ("[2001:db8::1]:443", "2001:db8::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("unix:", ""),
        ("no address", ""),
        ("", ""),
        (None, ""),
    ],
)
def test_an_address_has_no_port_and_ipv6_counts_by_network(host: str | None, address: str) -> None:
    assert address_of({"client": (host, 1)}) == address
    assert address_of({"client": None}) == ""


def test_users_and_addresses_differ() -> None:
    names = {digest(kind, name) for kind in ("user", "address") for name in ("a", "b", "\ud800")}
    assert len(names) == 6
