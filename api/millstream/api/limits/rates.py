"""Rates at which callers may send requests and start runs: buckets of quota in Redis, for all API processes."""

import asyncio
import logging
import time
from typing import Final

from millstream.shared import keys, scripts
from millstream.shared.errors import InvalidError, RateLimitedError
from millstream.shared.redis import OUTAGE_ERRORS, Client, OutageLog
from millstream.shared.rules.rate import Rate
from millstream.shared.scripts import Bucket, Quota
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

ANSWER_SECONDS: Final = 0.5  # in which Redis must answer; then requests are not limited
PAUSE_SECONDS: Final = 1.0  # for which Redis is not asked after it did not answer
REQUESTS: Final = "requests"
RUNS: Final = "runs"


class RateLimiter:
    """Takes the quota of callers. Without rates in the settings, it does nothing.

    While Redis is unavailable, requests are not limited: they can start no run, and must not wait longer than they
    would anyway.
    """

    def __init__(self, redis: Client | None, settings: Settings) -> None:
        """Reads the rates from the settings. Without Redis, nothing is limited."""
        rates = {REQUESTS: settings.request_rate, RUNS: settings.run_rate}
        self._redis = redis
        self._rates: Final[dict[str, Rate]] = {
            name: rate for name, rate in rates.items() if rate is not None
        }
        self._outages = OutageLog(log, "Rate limits are off")
        self._paused_until = 0.0  # monotonic

    @property
    def is_on(self) -> bool:
        """Whether anything is limited."""
        return bool(self._rates)

    async def take(self, caller: str, *, requests: int = 0, runs: int = 0) -> dict[str, str]:
        """Takes quota for requests and runs, or for none of them. Returns headers of the response.

        Raises RateLimitedError, or InvalidError for more runs than ever fit.
        """
        amounts = {REQUESTS: requests, RUNS: runs}
        names = [name for name in self._rates if amounts[name]]
        redis = self._redis
        if not names or redis is None or time.monotonic() < self._paused_until:
            return {}
        for name in names:
            if amounts[name] > self._rates[name].burst:
                raise InvalidError(
                    f"body: {amounts[name]} {name} are more than may ever come at once here: "
                    f"{self._rates[name].burst}"
                )
        buckets = [
            Bucket(keys.quota(caller, name), self._rates[name], amounts[name]) for name in names
        ]
        try:
            async with asyncio.timeout(ANSWER_SECONDS):
                granted, quotas = await scripts.take_quota(redis, buckets)
        except OUTAGE_ERRORS as error:
            self._outages.failed(error)
            self._paused_until = time.monotonic() + PAUSE_SECONDS
            return {}
        self._outages.recovered()
        by_name = dict(zip(names, quotas, strict=True))
        headers = self._headers(by_name)
        if granted:
            return headers
        refusing = max(by_name, key=lambda name: by_name[name].wait_us)
        seconds = _seconds(by_name[refusing].wait_us)
        raise RateLimitedError(
            f"Too many {refusing}: the limit is {self._rates[refusing]}. Try again in {seconds} s.",
            retry_after=seconds,
            headers=headers,
        )

    def _headers(self, quotas: dict[str, Quota]) -> dict[str, str]:
        """Returns the headers about buckets. Source: draft-ietf-httpapi-ratelimit-headers-11."""
        return {
            "ratelimit-policy": ", ".join(
                f'"{name}";q={self._rates[name].burst};w={self._rates[name].window_seconds}'
                for name in quotas
            ),
            "ratelimit": ", ".join(
                f'"{name}";r={quota.left};t={_seconds(quota.wait_us)}'
                for name, quota in quotas.items()
            ),
        }


def _seconds(us: int) -> int:
    """Returns whole seconds, at least 1: a client that waits for them finds quota."""
    return max(1, -(-us // 1_000_000))
