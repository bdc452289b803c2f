"""Where a client whose connection broke continues: the last event that it has, and the `Location` that it returns to.

Both SDKs return to `Location` with `Last-Event-ID`, or without it if they were cut before their first event;
neither repeats reliably what it asked for. So `Location` says it all: the place in the stream, from which on
nothing was sent yet, and the options of the request.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlencode

from millstream.shared.events.entries import START, Position, format_position, parse_position

FROM_THE_START: Final = ("-1", "0", "0-0", "-")


def last_event(header: str, queried: str) -> Position | None:
    """Returns the position after which the client wants events; None means from now on.

    `header` is `Last-Event-ID`, '' if there is none. A text that is no event's id means from now on too: a client
    never gets more than it asked for.
    """
    last = header.strip() or queried
    return START if last in FROM_THE_START else parse_position(last)


def resume_location(
    path: str,
    after: Position | None = None,
    *,
    modes: Sequence[str] = (),
    cancel: bool = False,
) -> str:
    """Returns a `Location`: a path relative to the server's own, and a query.

    Args:
        after: what a stream sends begins behind it; None where nothing has a place.
        modes: those that the stream is limited to.
        cancel: whether the run is cancelled when the client leaves. It is written as the npm SDK does, which
            adds its own query once more.
    """
    query = [("stream_mode", mode) for mode in dict.fromkeys(modes)]
    if cancel:
        query.append(("cancel_on_disconnect", "1"))
    if after is not None:
        query.append(("last_event_id", format_position(after)))
    return f"{path}?{urlencode(query)}" if query else path


@dataclass(frozen=True, slots=True)
class RunLocation:
    """Where clients find a run, and the headers that say so."""

    run_id: str
    thread_id: str | None  # None: by the run's own id, as stateless runs are found

    @property
    def path(self) -> str:
        """The run's path, relative to the server's own."""
        return (
            f"/threads/{self.thread_id}/runs/{self.run_id}"
            if self.thread_id
            else f"/runs/{self.run_id}"
        )

    def headers(
        self,
        back: str | None = None,
        after: Position | None = None,
        *,
        modes: Sequence[str] = (),
        cancel: bool = False,
    ) -> dict[str, str]:
        """Returns the headers of an answer about the run.

        Args:
            back: the route below the run's path by which a client returns to the answer; None: it is complete.
            after, modes, cancel: see `resume_location`.
        """
        headers = {"content-location": self.path}
        if back is not None:
            location = resume_location(f"{self.path}/{back}", after, modes=modes, cancel=cancel)
            headers["location"] = location
        return headers
