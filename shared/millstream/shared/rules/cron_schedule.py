"""The due times of a cron: five fields, a time zone and an end → the next time. Pure.

Fields and daylight saving time follow Debian's cron. A time that the clock skips is due right after the gap; a time
that the clock repeats is due once. A schedule whose minute or hour begins with `*` just follows the clock. Names
(MON, JAN), steps, `L`, `LW` and `#` are supported (library: cronsim).
"""

import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Final

from cronsim import CronSim, CronSimError

from millstream.shared.errors import InvalidError

FIELDS: Final = 5  # minute, hour, day of the month, month, day of the week
MAX_CHARS: Final = 500


def check_schedule(schedule: str) -> None:
    """Raises InvalidError, with the reason, for an invalid schedule."""
    if len(schedule) > MAX_CHARS:
        raise InvalidError(f"schedule: longer than {MAX_CHARS} characters")
    excerpt = schedule[:60]
    if len(schedule.split()) != FIELDS:
        raise InvalidError(
            f"schedule: {excerpt!r} must have five fields: minute, hour, day, month, day of the week"
        )
    try:
        moment = next(CronSim(schedule, datetime.now(UTC)), None)
    except CronSimError as error:
        raise InvalidError(f"schedule: {excerpt!r} is not a cron schedule: {error}") from None
    if moment is None:
        raise InvalidError(f"schedule: {excerpt!r} never comes")


def check_timezone(name: str) -> None:
    """Raises InvalidError for a name that IANA's database lacks."""
    if name not in zones():
        raise InvalidError(
            f"timezone: {name[:60]!r} is not a time zone of IANA's, such as 'Europe/Berlin'"
        )


def next_due(
    schedule: str, timezone: str | None, *, after: float, until: float | None = None
) -> int | None:
    """Returns when the schedule is due next (ms since the epoch); None for never.

    Args:
        schedule: valid for `check_schedule`.
        timezone: an IANA name; None is UTC.
        after: s since the epoch, exclusive.
        until: s since the epoch, inclusive.
    """
    start = datetime.fromtimestamp(after, _zone(timezone))
    for moment in CronSim(schedule, start):
        # Compared as timestamps: Python compares two times of one zone by their clocks, which repeat an hour. In
        # the second pass through that hour the library may also return a time of the first.
        due = moment.timestamp()
        if due > after:
            return int(due) * 1000 if until is None or due <= until else None
    return None


@cache
def zones() -> frozenset[str]:
    """Returns the names of all time zones. The first call reads hundreds of files."""
    # Without `localtime`, which differs between machines: all processes must agree.
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


@cache
def _zone(name: str | None) -> tzinfo:
    return UTC if name in (None, "UTC") else zoneinfo.ZoneInfo(name or "UTC")
