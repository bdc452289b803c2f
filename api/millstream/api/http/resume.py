"""Where a client whose connection broke goes on: what it has, and the `Location` that it comes back by.

Both SDKs come back to `Location` with `Last-Event-ID`, or without it if they were cut before their first event;
neither repeats reliably what it asked for. So `Location` says it all: the place in the stream, from which on
nothing was sent yet, and the options of the request.
"""

from collections.abc import Sequence
from typing import Final
from urllib.parse import urlencode

from starlette.requests import Request

from millstream.shared.events.entries import START, Position, format_position, parse_position

FROM_THE_START: Final = ("-1", "0", "0-0", "-")


def last_event(request: Request, queried: str) -> Position | None:
    """Returns the position after which the client wants events; None means from now on.

    A header that is no event's id means from now on too: never is more sent than was asked for.
    """
    last = request.headers.get("last-event-id", "").strip() or queried
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
