"""What a reader outside of the shared window does with a page of events."""

import json

from millstream.shared.events.entries import Entry
from millstream.shared.events.pages import Page
from millstream.shared.events.reader import decide_catch_up


def entry(index: int, *, first: bool = False) -> Entry:
    return Entry((1, index), b"values", b"{}", first=first)


def page(*indexes: int, more: bool = False, oldest: Entry | None = None) -> Page:
    return Page([entry(index) for index in indexes], more, oldest)


def test_trimmed_events_are_reported_as_a_gap_before_any_other_event() -> None:
    step = decide_catch_up((1, 2), page(7, 8, oldest=entry(7)), start_before=None, start=None)
    [gap] = step.entries
    assert (gap.event, gap.position) == (b"gap", (1, 6))
    assert json.loads(gap.data) == {"requested": "1-2", "first": "1-7"}
    assert (step.cursor, step.opens_window, step.reads_again) == ((1, 6), False, True)


def test_no_gap_is_reported_if_nothing_lies_between_the_cursor_and_the_oldest_event() -> None:
    for cursor, oldest in (((1, 6), entry(7)), ((1, 7), entry(7)), ((0, 0), entry(3, first=True))):
        step = decide_catch_up(cursor, page(8, oldest=oldest), start_before=None, start=None)
        assert step.entries == [entry(8)]


def test_a_full_page_is_followed_by_another_and_opens_no_window() -> None:
    step = decide_catch_up((1, 1), page(2, 3, more=True), start_before=None, start=None)
    assert step == ([entry(2), entry(3)], (1, 1), False, True)


def test_the_last_page_opens_the_window() -> None:
    for last in (page(2), page()):
        step = decide_catch_up((1, 1), last, start_before=None, start=None)
        assert step == (last.entries, (1, 1), True, False)


def test_an_empty_page_skips_to_a_window_that_was_open_before_the_page_was_read() -> None:
    step = decide_catch_up((1, 1), page(), start_before=(1, 5), start=(1, 5))
    assert step == ([], (1, 5), False, True)


def test_an_empty_page_skips_nothing_if_the_window_was_opened_while_it_was_read() -> None:
    step = decide_catch_up((1, 1), page(), start_before=None, start=(1, 5))
    assert step == ([], (1, 1), False, True)
