"""The headers that say where a run is, and where its client continues."""

import pytest

from millstream.api.http.resume import RunLocation, last_event
from millstream.shared.events.entries import START

RUN, THREAD = "r", "t"


def test_a_complete_answer_names_the_run_alone() -> None:
    assert RunLocation(RUN, THREAD).headers() == {"content-location": "/threads/t/runs/r"}
    assert RunLocation(RUN, None).headers() == {"content-location": "/runs/r"}


def test_an_answer_that_takes_time_names_where_its_client_continues() -> None:
    stream = RunLocation(RUN, THREAD).headers("stream", (3, 7), modes=["values"], cancel=True)
    assert stream["location"] == (
        "/threads/t/runs/r/stream?stream_mode=values&cancel_on_disconnect=1&last_event_id=3-7"
    )
    assert RunLocation(RUN, None).headers("join")["location"] == "/runs/r/join"


@pytest.mark.parametrize(
    ("header", "queried", "position"),
    [
        ("", "", None),
        (" 3-7 ", "1-1", (3, 7)),
        ("", "3-7", (3, 7)),
        ("-", "3-7", START),
        ("nonsense", "3-7", None),
    ],
)
def test_the_header_wins_over_the_query(
    header: str, queried: str, position: tuple[int, int] | None
) -> None:
    assert last_event(header, queried) == position
