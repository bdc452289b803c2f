"""The errors of requests and writes; the API maps each to an HTTP status."""


class MillstreamError(Exception):
    """The base class; `str(error)` is a message for the client."""


class NotFoundError(MillstreamError):
    """The thread, run, assistant or graph does not exist."""


class ConflictError(MillstreamError):
    """The resource exists already, or is busy."""


class InvalidError(MillstreamError):
    """An invalid value; the message names the field."""


class RefusedError(MillstreamError):
    """A valid request that the graph can't execute."""


class GraphError(MillstreamError):
    """A factory of the project failed to make a graph for a call; the message has its error."""


class AccessError(MillstreamError):
    """The caller may not do this. `status` is that of HTTP (4xx), `headers` are of the response."""

    status = 403

    def __init__(
        self, message: str = "", *, status: int | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """`message` is sent to the client; without it, the status' usual text."""
        super().__init__(message or ("Unauthorized" if status == 401 else "Forbidden"))
        self.status = status or self.status
        self.headers = headers or {}


class UnauthenticatedError(AccessError):
    """The request has no valid credentials (401)."""

    def __init__(
        self, message: str = "Unauthorized", *, headers: dict[str, str] | None = None
    ) -> None:
        """`message` is sent to the client."""
        super().__init__(
            message, status=401, headers={"www-authenticate": "Bearer", **(headers or {})}
        )


class ForbiddenError(AccessError):
    """The user may not do this (403)."""


class RightsChangedError(MillstreamError):
    """The record's metadata is not that by which the caller's rights were judged: nothing changed, judge again."""


class TooLargeError(MillstreamError):
    """A request or a response that is too large; the message says how to get by with less."""


class UnavailableError(MillstreamError):
    """No live worker, or Redis is unavailable. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        """`message` is sent to the client."""
        super().__init__(message)
        self.retry_after = retry_after


class SealedError(UnavailableError):
    """Stored data that no key of this process opens; the message names the setting."""


class OverloadedError(UnavailableError):
    """The maximum number of runs is reached. `retry_after` is in seconds."""


class RateLimitedError(OverloadedError):
    """A caller sends more than its rate allows, or has too much open. `headers` are of the response."""

    def __init__(
        self, message: str, *, retry_after: int = 1, headers: dict[str, str] | None = None
    ) -> None:
        """`message` is sent to the client; `retry_after` is in seconds."""
        super().__init__(message, retry_after=retry_after)
        self.headers = headers or {}


class FencedError(MillstreamError):
    """A write by a worker that lost its lease: nothing was written, and the worker must stop."""


class SettingError(MillstreamError):
    """An invalid environment variable or entry of langgraph.json."""
