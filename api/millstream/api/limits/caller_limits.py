"""What the caller of one request has taken of a process: it gives all of it back when the request has ended.

A request ends when its response has been sent, when its client has left, or by an error: then the middleware that
made this object closes it. So counts are exact, whatever happens to a request.
"""

from collections import Counter
from typing import Final

from millstream.api.limits.failed_auth import FailedAuth
from millstream.api.limits.rates import RateLimiter
from millstream.shared.errors import OverloadedError, RateLimitedError
from millstream.shared.settings import Settings

STREAM_RETRY_SECONDS: Final = 5
CALLER_SHARE: Final = 8  # one caller may hold an eighth of all bytes of bodies
VALUE_BYTES: Final = 64  # of memory, that a small JSON value takes once it is decoded


class ProcessLimits:
    """What all callers of one process hold."""

    def __init__(self, rates: RateLimiter, settings: Settings) -> None:
        """Reads the limits from the settings."""
        self.rates: Final = rates
        self.failed_auth: Final = FailedAuth(settings.failed_auth_rate)
        self.max_streams: Final = settings.max_streams
        self.max_body_bytes: Final = max(settings.max_bodies, 2 * settings.max_body)
        self.max_caller_bytes: Final = max(
            settings.max_bodies // CALLER_SHARE, 2 * settings.max_body
        )
        self.streams: Final[Counter[str]] = Counter()
        self.body_bytes: Final[Counter[str]] = Counter()
        self.all_body_bytes = 0


class CallerLimits:
    """The part of one request."""

    def __init__(self, process: ProcessLimits, caller: str) -> None:
        """`caller` names the user or the address that counts."""
        self._process = process
        self._caller = caller
        self._runs = 0  # whose quota is taken
        self._has_stream = False
        self._body_bytes = 0

    @property
    def caller(self) -> str:
        """The name that counts."""
        return self._caller

    def become(self, caller: str) -> None:
        """Counts the request for its user from now on, and no longer for its address."""
        body_bytes = self._body_bytes
        self._release_body(body_bytes)
        self._caller = caller
        self._hold_body(body_bytes)

    # ── Rates ───────────────────────────────────────────────────────────────────────────────

    async def take_request(self, *, runs: int = 0) -> dict[str, str]:
        """Takes quota for one request, which starts `runs` runs. Returns headers of the response.

        Raises RateLimitedError.
        """
        headers = await self._process.rates.take(self._caller, requests=1, runs=runs)
        self._runs = runs
        return headers

    async def take_runs(self, runs: int) -> None:
        """Takes quota for runs that are about to start, as far as the request has not taken it yet.

        Raises RateLimitedError, or InvalidError for more runs than ever fit.
        """
        if (lacking := runs - self._runs) > 0:
            await self._process.rates.take(self._caller, runs=lacking)
        self._runs = max(self._runs - runs, 0)

    # ── Streams ─────────────────────────────────────────────────────────────────────────────

    def hold_stream(self) -> None:
        """Counts the request as an open stream until its end. Raises RateLimitedError if its caller has too many."""
        process = self._process
        if self._has_stream:
            return
        if 0 < process.max_streams <= process.streams[self._caller]:
            raise RateLimitedError(
                f"Too many open streams: the limit is {process.max_streams} in one process. Close one, then try again.",
                retry_after=STREAM_RETRY_SECONDS,
            )
        self._has_stream = True
        process.streams[self._caller] += 1

    # ── Bodies ──────────────────────────────────────────────────────────────────────────────

    def hold_bytes(self, size: int) -> None:
        """Counts bytes of the body until the request's end.

        Raises RateLimitedError if the caller holds too many, OverloadedError if all callers together do.
        """
        process = self._process
        if process.body_bytes[self._caller] + size > process.max_caller_bytes:
            raise RateLimitedError(
                f"Too large bodies at once: the limit is {process.max_caller_bytes} bytes. Send them one after the "
                "other."
            )
        if process.all_body_bytes + size > process.max_body_bytes:
            raise OverloadedError("The server holds as many bodies as it may. Try again shortly.")
        self._hold_body(size)

    def hold_values(self, count: int) -> None:
        """Counts the memory of decoded JSON until the request's end. Raises what `hold_bytes` raises."""
        self.hold_bytes(count * VALUE_BYTES)

    def release_body(self) -> None:
        """Gives the bytes back: the response begins, so the body is not used any more."""
        self._release_body(self._body_bytes)

    def close(self) -> None:
        """Gives everything back, once."""
        self.release_body()
        if self._has_stream:
            self._has_stream = False
            _decrease(self._process.streams, self._caller, 1)

    def _hold_body(self, size: int) -> None:
        if size:
            self._body_bytes += size
            self._process.body_bytes[self._caller] += size
            self._process.all_body_bytes += size

    def _release_body(self, size: int) -> None:
        if size:
            self._body_bytes -= size
            self._process.all_body_bytes -= size
            _decrease(self._process.body_bytes, self._caller, size)


def _decrease(counts: Counter[str], name: str, by: int) -> None:
    """Decreases a count. A count of 0 has no entry: callers come and go."""
    counts[name] -= by
    if not counts[name]:
        del counts[name]


def unlimited() -> CallerLimits:
    """Returns the limits of a request that has none but the defaults."""
    settings = Settings()
    return CallerLimits(ProcessLimits(RateLimiter(None, settings), settings), "")
