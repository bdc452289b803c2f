"""Decides questions about users by the handlers of the project's `Auth` object."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

from millstream.shared.access import ASKS, Ask, Decision, Filter, FilterError, User
from millstream.shared.auth_process.processes import AuthProcesses, command
from millstream.shared.auth_process.resolution import ANY, handler_keys
from millstream.shared.errors import ForbiddenError
from millstream.shared.setting import ON
from millstream.shared.settings import Settings

log = logging.getLogger(__name__)

# Questions about the deployment, which no project has handlers for: a permission of this name allows them.
OPS: Final = "ops"


@asynccontextmanager
async def open_authorizer(config: Path, settings: Settings) -> AsyncIterator["ProjectAuthorizer"]:
    """Yields what decides by `auth.path` of a langgraph.json, for a process that authenticates no requests.

    Its process ends after the block. Raises SettingError if the project's file can't be used.
    """
    processes = AuthProcesses(command(config), processes=1, timeout=settings.auth_timeout)
    await processes.start()
    try:
        yield ProjectAuthorizer(processes, deny_unhandled=settings.auth_deny_unhandled in ON)
    finally:
        await processes.aclose()


class ProjectAuthorizer:
    """Asks the project's handlers; an access.Authorizer."""

    def __init__(self, processes: AuthProcesses, *, deny_unhandled: bool) -> None:
        """`deny_unhandled`: whether a question without a handler is denied; LangGraph's server allows it."""
        self._processes = processes
        self._deny_unhandled = deny_unhandled

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        """Returns the permission; see access.Authorizer."""
        resource, _, action = ask.partition(".")
        if resource == OPS:
            if f"{OPS}:{action}" in user.permissions:
                return Decision(value)
            raise ForbiddenError
        if not self._processes.handles(resource, action):
            if self._deny_unhandled:
                raise ForbiddenError
            return Decision(value)
        restriction, left = await self._processes.authorize(user, resource, action, value)
        try:
            return Decision(left, None if restriction is None else Filter.of(restriction))
        except FilterError as error:
            log.error("the handler of %s returned an invalid filter, which denies: %s", ask, error)
            raise ForbiddenError from None

    def report_handlers(self) -> None:
        """Logs which questions have no handler, and which handlers no question reaches."""
        questions = {tuple(ask.split(".")) for ask in ASKS if not ask.startswith(f"{OPS}.")}
        unhandled = sorted(f"{r}.{a}" for r, a in questions if not self._processes.handles(r, a))
        if unhandled:
            verb = (
                "denied (AUTH_DENY_UNHANDLED)" if self._deny_unhandled else "allowed to all users"
            )
            log.warning("auth.path: no handler decides on %s: %s", ", ".join(unhandled), verb)
        reached = {key for r, a in questions for key in handler_keys(r, a)}
        for resource, action in sorted(self._processes.handled - reached):
            parts = [part for part in (resource, action) if part != ANY]
            log.warning("auth.path: nothing reaches the handler of %s", ".".join(parts))
