"""What is made of a Redis that is unavailable, or that rejects a command: one pause, one mapping, one log line."""

import logging

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import NoPermissionError, OutOfMemoryError, ReadOnlyError
from redis.exceptions import TimeoutError as RedisTimeoutError

from millstream.shared.redis import OUTAGE_ERRORS, OutageLog, outage_log, retry, to_unavailable
from millstream.shared.redis.retry import retry_while_unavailable

AWAY = [RedisConnectionError("refused"), RedisTimeoutError("silent"), OSError("no route")]
REJECTED = [OutOfMemoryError("full"), ReadOnlyError("a replica"), NoPermissionError("no")]


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "FIRST_PAUSE_SECONDS", 0.001)
    monkeypatch.setattr(outage_log, "RETRY_SECONDS", 0.001)


class Call:
    """Raises these errors, one a time, and then returns 7."""

    def __init__(self, *errors: Exception) -> None:
        self.errors = list(errors)

    async def __call__(self) -> int:
        if self.errors:
            raise self.errors.pop(0)
        return 7


async def test_a_call_is_repeated_through_every_kind_of_outage() -> None:
    assert await retry_while_unavailable("it", Call(*AWAY, *REJECTED)) == 7


async def test_other_errors_are_raised() -> None:
    with pytest.raises(KeyError):
        await retry_while_unavailable("it", Call(AWAY[0], KeyError("x")))


@pytest.mark.parametrize("error", REJECTED)
async def test_a_client_that_waits_learns_at_once_what_redis_rejects(error: Exception) -> None:
    with pytest.raises(type(error)):
        await retry_while_unavailable("it", Call(*AWAY, error), rejected=False)


async def test_a_check_ends_the_wait() -> None:
    checks = Call(KeyError("given up"))

    def check() -> None:
        raise checks.errors[0]

    with pytest.raises(KeyError, match="given up"):
        await retry_while_unavailable("it", Call(), check=check)


@pytest.mark.parametrize(
    ("errors", "text", "retry_after"),
    [
        (AWAY, "Redis is not reachable", 1),
        (REJECTED[:2], "Redis takes no writes now: `GET /ok` says why", 5),
        (REJECTED[2:], "lacks a permission: `GET /ok` says which", 5),
    ],
)
def test_each_kind_of_outage_has_one_text(
    errors: list[Exception], text: str, retry_after: int
) -> None:
    for error in errors:
        assert isinstance(error, OUTAGE_ERRORS)
        unavailable = to_unavailable(error)
        assert text in str(unavailable)
        assert unavailable.retry_after == retry_after


async def test_a_loop_that_waits_logs_each_cause_once(caplog: pytest.LogCaptureFixture) -> None:
    outages = OutageLog(logging.getLogger("test"), "The loop")
    for error in (*AWAY, *AWAY, REJECTED[0]):
        await outages.wait_after(error)
    assert len(caplog.records) == 2
