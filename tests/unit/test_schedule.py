"""A schedule is due by the clock of its time zone, across both changes of that clock, and never twice."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared.errors import InvalidError
from millstream.shared.rules.cron_schedule import check_schedule, check_timezone, next_due

BERLIN = "Europe/Berlin"


def due(schedule: str, after: str, count: int, timezone: str | None = BERLIN) -> list[str]:
    """Returns the next times after a time, as local times of the zone."""
    zone = ZoneInfo(timezone or "UTC")
    moment = datetime.fromisoformat(after)
    at = (moment if moment.tzinfo else moment.replace(tzinfo=zone)).timestamp()
    times = []
    for _ in range(count):
        next_ms = next_due(schedule, timezone, after=at)
        assert next_ms is not None
        assert next_ms > at * 1000
        at = next_ms / 1000
        times.append(datetime.fromtimestamp(at, zone).strftime("%d. %H:%M%z"))
    return times


def test_a_schedule_uses_its_time_zone() -> None:
    assert due("30 8 * * MON-FRI", "2026-06-05 09:00", 2) == ["08. 08:30+0200", "09. 08:30+0200"]
    assert due("30 8 * * *", "2026-06-05 09:00", 1, None) == ["06. 08:30+0000"]
    assert due("0 0 L * *", "2026-02-01 00:00", 2) == ["28. 00:00+0100", "31. 00:00+0200"]


def test_the_current_minute_counts_as_past() -> None:
    assert due("0 * * * *", "2026-06-05 09:00", 1) == ["05. 10:00+0200"]
    assert due("0 * * * *", "2026-06-05 08:59:59.999", 1) == ["05. 09:00+0200"]


def test_a_skipped_local_time_is_due_once_after_the_gap() -> None:
    before = "2026-03-28 12:00"
    assert due("30 2 * * *", before, 2) == ["29. 03:00+0200", "30. 02:30+0200"]
    assert due("0,30 2 * * *", before, 2) == ["29. 03:00+0200", "30. 02:00+0200"]
    assert due("*/30 * * * *", "2026-03-29 01:30", 2) == ["29. 03:00+0200", "29. 03:30+0200"]


def test_a_repeated_local_time_is_due_once() -> None:
    before = "2026-10-25 01:00"
    assert due("30 2 * * *", before, 2) == ["25. 02:30+0200", "26. 02:30+0100"]
    # In the second pass through the hour, the next time is not in the first pass.
    assert due("30 2 * * *", "2026-10-25T02:10:00+01:00", 1) == ["26. 02:30+0100"]
    # A schedule that begins with * is due in each pass of the hour.
    hourly = ["25. 01:30+0200", "25. 02:30+0200", "25. 02:30+0100", "25. 03:30+0100"]
    assert due("30 * * * *", before, 4) == hourly


def test_nothing_is_due_after_the_end() -> None:
    nine = datetime(2026, 6, 5, 9, tzinfo=UTC).timestamp()
    assert next_due("0 10 * * *", None, after=nine, until=nine + 3600) == (nine + 3600) * 1000
    assert next_due("0 10 * * *", None, after=nine, until=nine + 3599.9) is None


@pytest.mark.parametrize(
    "schedule",
    [
        "", "* * * *", "* * * * * *", "@daily", "60 * * * *", "* 24 * * *", "* * 0 * *",
        "* * 32 * *", "* * * 13 * ", "* * * * 8", "a * * * *", "*/0 * * * *", "5-1 * * * *",
        "0 0 30 2 *", "0 0 */31 2 MON#5", "* * * * *\0", "\u0661 * * * *",
        "1," * 250 + "1 * * * *",
    ],
)  # fmt: skip
def test_an_invalid_schedule_is_rejected_by_name(schedule: str) -> None:
    with pytest.raises(InvalidError, match=r"^schedule: "):
        check_schedule(schedule)


FIELD = st.text("0123456789*/,-L#W MONJAN\u0662²", min_size=1, max_size=6)


@given(st.lists(FIELD, min_size=5, max_size=5).map(" ".join))
def test_any_string_is_rejected_or_has_a_next_time(schedule: str) -> None:
    try:
        check_schedule(schedule)
    except InvalidError:
        return
    for zone in (None, BERLIN):
        assert next_due(schedule, zone, after=1_800_000_000) is not None


@given(
    st.sampled_from(["*/7 * * * *", "30 2 * * *", "0 */3 * * SUN", "15 1-3 * * *"]),
    st.sampled_from([None, BERLIN, "America/New_York", "Australia/Lord_Howe"]),
    st.datetimes(datetime(2026, 1, 1), datetime(2027, 12, 31)),
)
def test_the_next_time_is_always_later(schedule: str, zone: str | None, moment: datetime) -> None:
    at = moment.replace(tzinfo=UTC).timestamp()
    for _ in range(3):
        times = next_due(schedule, zone, after=at)
        assert times is not None
        assert at * 1000 < times < (at + timedelta(days=9).total_seconds()) * 1000
        at = times / 1000


@pytest.mark.parametrize(
    "name", ["", "Mars", "europe/berlin", "Z", "../etc", "posix/UTC", "America", "localtime", "\0"]
)
def test_an_invalid_time_zone_is_rejected_by_name(name: str) -> None:
    with pytest.raises(InvalidError, match=r"^timezone: "):
        check_timezone(name)


def test_common_time_zones_are_accepted() -> None:
    for name in ("UTC", BERLIN, "America/Argentina/Buenos_Aires", "Etc/GMT+5"):
        check_timezone(name)
