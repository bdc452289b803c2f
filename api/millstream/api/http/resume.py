"""Where a client continues after a disconnect: `Last-Event-ID` and the `Location` of the stream.

Both SDKs request `Location` with `Last-Event-ID`, or without it if no event had arrived. Neither repeats its options
reliably. So `Location` holds everything: the options of the request, and the position before the first event.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from millstream.shared.events.entries import START, Position, format_position, parse_position

FROM_THE_START: Final = ("-1", "0", "0-0", "-")


def last_event(header: str, query: str) -> Position | None:
    """Returns the position of the client's last event. None: the stream starts with the next event.

    `header` is `Last-Event-ID`, or ''; it takes precedence over the query. An invalid id counts as None, so that a
    client never gets events twice.
    """
    last = header.strip() or query
    return START if last in FROM_THE_START else parse_position(last)


def resume_location(
    path: str,
    after: Position | None = None,
    *,
    modes: Sequence[str] = (),
    cancel: bool = False,
) -> str:
    """Returns a `Location`: a path relative to the server's URL, and a query.

    Args:
        path: the path of the stream or of the result.
        after: the position after which the stream begins; None for a response that is no stream.
        modes: the stream modes, all if empty.
        cancel: whether the run is cancelled when the client leaves. The value is `1`, as in the npm SDK, which
            appends its own query a second time.
    """
    query = [("stream_mode", mode) for mode in dict.fromkeys(modes)]
    if cancel:
        query.append(("cancel_on_disconnect", "1"))
    if after is not None:
        query.append(("last_event_id", format_position(after)))
    return f"{path}?{urlencode(query)}" if query else path


@dataclass(frozen=True, slots=True)
class RunLocation:
    """The path of a run, and the response headers that name it."""

    run_id: str
    thread_id: str | None  # None for a stateless run: its path has no thread

    @property
    def path(self) -> str:
        """The run's path, relative to the server's URL."""
        return (
            f"/threads/{self.thread_id}/runs/{self.run_id}"
            if self.thread_id
            else f"/runs/{self.run_id}"
        )

    def headers(
        self,
        route: str | None = None,
        after: Position | None = None,
        *,
        modes: Sequence[str] = (),
        cancel: bool = False,
    ) -> dict[str, str]:
        """Returns the headers of a response about the run.

        Args:
            route: below the run's path, where a client continues; None for a complete response.
            after, modes, cancel: see `resume_location`.
        """
        headers = {"content-location": self.path}
        if route is not None:
            location = resume_location(f"{self.path}/{route}", after, modes=modes, cancel=cancel)
            headers["location"] = location
        return headers
