"""Every way in which a request or a write can be refused; the API maps each to a status."""


class MillstreamError(Exception):
    """The base of all refusals; `str(error)` is a sentence for the caller."""


class NotFoundError(MillstreamError):
    """The thread, run, assistant or graph is not there."""


class ConflictError(MillstreamError):
    """The thing is there already, or is busy."""


class InvalidError(MillstreamError):
    """A value that can't be accepted; the sentence names the field."""


class RefusedError(MillstreamError):
    """A request that is well formed, and that the graph can't carry out."""


class GraphError(MillstreamError):
    """A factory of the project failed while a graph was opened for a question; the sentence has its error."""


class TooLargeError(MillstreamError):
    """An answer larger than what is sent; the sentence says how to ask for less."""


class UnavailableError(MillstreamError):
    """Nobody can answer now: no live worker, or Redis is away. `retry_after` is in seconds."""

    def __init__(self, message: str, *, retry_after: int = 1) -> None:
        """`message` is shown to the client."""
        super().__init__(message)
        self.retry_after = retry_after


class OverloadedError(UnavailableError):
    """There is no room for another run now. `retry_after` is in seconds."""


class FencedError(MillstreamError):
    """A write by a worker whose lease has passed to another: it must stop, nothing was written."""


class SettingError(MillstreamError):
    """An environment variable or a line of langgraph.json that can't be used."""
