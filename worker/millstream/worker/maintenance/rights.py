"""Decides, for the creators of crons, what the API decides for its callers."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from millstream.shared.access import Ask, Authorizer, Decision, User
from millstream.shared.access.owner_policy import BUILT_IN, OwnerPolicy
from millstream.shared.auth_process.authorizer import open_authorizer
from millstream.shared.errors import ForbiddenError, SettingError
from millstream.shared.settings import Settings


class CreatorRights:
    """An access.Authorizer. Users of API keys and JWTs have the owner policy; the project decides on its own users.

    The process of the project's handlers starts with the first question: most workers fire no such cron.
    """

    def __init__(self, config: Path, settings: Settings, *, has_handlers: bool) -> None:
        """`config` is the langgraph.json; `has_handlers` is whether it has an `auth`."""
        self._config = config
        self._settings = settings
        self._has_handlers = has_handlers
        self._owners = OwnerPolicy()
        self._starting = asyncio.Lock()
        self._stack = AsyncExitStack()
        self._project: Authorizer | None = None

    async def decide(self, user: User, ask: Ask, value: dict[str, Any]) -> Decision:
        """Returns the permission; see access.Authorizer."""
        if BUILT_IN in user.fields:
            return await self._owners.decide(user, ask, value)
        return await (await self._handlers()).decide(user, ask, value)

    async def _handlers(self) -> Authorizer:
        if not self._has_handlers:
            raise ForbiddenError("langgraph.json has no `auth` any more.")
        async with self._starting:
            if self._project is None:
                try:
                    self._project = await self._stack.enter_async_context(
                        open_authorizer(self._config, self._settings)
                    )
                except SettingError as error:
                    raise ForbiddenError(str(error)) from None
        return self._project

    async def aclose(self) -> None:
        """Ends the process of the handlers."""
        await self._stack.aclose()
