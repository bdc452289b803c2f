"""The checks that each API and each worker makes when it starts."""

import logging
from typing import Final

from millstream.shared.checks.connection_reader import target_of
from millstream.shared.checks.facts import Fact, Facts
from millstream.shared.checks.problem import Problem, Severity
from millstream.shared.checks.server_reader import read_config, read_info, read_slots
from millstream.shared.checks.table import CHECKS, judge
from millstream.shared.errors import SettingError
from millstream.shared.redis import Client
from millstream.shared.redis.retry import retry_while_unavailable

log = logging.getLogger(__name__)

AT_START: Final = tuple(check for check in CHECKS if check.at_start)


def problems_of(facts: Facts) -> list[Problem]:
    """Returns the problems that a process reports when it starts: errors and warnings, no notes."""
    return [
        problem
        for result in judge(facts, AT_START)
        for problem in result.problems
        if problem.severity is not Severity.NOTE
    ]


async def examine(redis: Client) -> list[Problem]:
    """Reads the server's settings and returns its problems; raises redis-py's errors while it is unavailable.

    A server that denies INFO or CONFIG is checked less.
    """
    info = await read_info(redis)
    if info.reason and not info.is_denied:
        log.info("The server was not checked in full: %s", info.reason)
    facts = Facts(
        target=Fact(target_of(redis)),
        info=info,
        config=await read_config(redis, ("save",)),
        slots=await read_slots(redis),
    )
    return problems_of(facts)


async def require(redis: Client) -> None:
    """Logs the server's problems; raises SettingError for an error."""
    for problem in await examine(redis):
        if problem.severity is Severity.ERROR:
            raise SettingError(problem.text)
        log.warning("%s", problem.text)


async def report(redis: Client) -> None:
    """Logs the server's problems, as soon as it is reachable."""
    for problem in await retry_while_unavailable(
        "The check of the server", lambda: examine(redis), rejected=False
    ):
        is_error = problem.severity is Severity.ERROR
        log.log(logging.ERROR if is_error else logging.WARNING, "%s", problem.text)
