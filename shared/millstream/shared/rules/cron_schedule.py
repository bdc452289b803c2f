"""When a cron is due: five fields, a time zone and an end → the next time. Pure.

Fields and daylight saving time are those of Debian's cron: a time that the clock skips is due right
after the gap, one that it repeats is due once; a schedule whose minute or hour begins with `*` just
follows the clock. Names (MON, JAN), steps, `L`, `LW` and `#` are understood (library: cronsim).
"""

import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import cache
from typing import Final

from cronsim import CronSim, CronSimError

from millstream.shared.errors import InvalidError

FIELDS: Final = 5  # minute, hour, day of the month, month, day of the week
LONGEST: Final = 500  # characters


def check_schedule(schedule: str) -> None:
    """Raises InvalidError that says what is wrong with a schedule."""
    if len(schedule) > LONGEST:
        raise InvalidError(f"schedule: longer than {LONGEST} characters")
    shown = schedule[:60]
    if len(schedule.split()) != FIELDS:
        raise InvalidError(
            f"schedule: {shown!r} must have five fields: minute, hour, day, month, day of the week"
        )
    try:
        moment = next(CronSim(schedule, datetime.now(UTC)), None)
    except CronSimError as error:
        raise InvalidError(f"schedule: {shown!r} is no cron schedule: {error}") from None
    if moment is None:
        raise InvalidError(f"schedule: {shown!r} never comes")


def check_timezone(name: str) -> None:
    """Raises InvalidError for a name that is in no list of IANA's."""
    if name not in zones():
        raise InvalidError(
            f"timezone: {name[:60]!r} is not a time zone of IANA's, such as 'Europe/Berlin'"
        )


def next_due(
    schedule: str, timezone: str | None, *, after: float, until: float | None = None
) -> int | None:
    """Returns when the schedule is due next (ms since the epoch), None if it is not any more.

    Args:
        schedule: one that `check_schedule` lets pass.
        timezone: IANA's name; None is UTC.
        after: s since the epoch; what is due then counts as past.
        until: s since the epoch; what is due then is the last.
    """
    start = datetime.fromtimestamp(after, _zone(timezone))
    for moment in CronSim(schedule, start):
        # By the epoch: two times of one zone are compared by their clocks, which repeat an hour. And
        # in its second pass through that hour the library may name the first one.
        due = moment.timestamp()
        if due > after:
            return int(due) * 1000 if until is None or due <= until else None
    return None


@cache
def zones() -> frozenset[str]:
    """Returns the names of all time zones. The first call reads hundreds of files."""
    # Processes must agree, and `localtime` is what each machine makes of it.
    return frozenset(zoneinfo.available_timezones() - {"localtime"})


@cache
def _zone(name: str | None) -> tzinfo:
    return UTC if name in (None, "UTC") else zoneinfo.ZoneInfo(name or "UTC")
