"""Connects a command to Redis for one call."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

from millstream.cli.errors import CliError, SetupError
from millstream.shared.errors import SettingError
from millstream.shared.redis import UNAVAILABLE, Client, connect, masked

Result = TypeVar("Result")


def in_redis(url: str, act: Callable[[Client], Awaitable[Result]]) -> Result:
    """Returns what `act` returns. Raises CliError for an invalid URL, SetupError if Redis can't be used."""

    async def connected() -> Result:
        redis = connect(url, connections=2, reply_timeout=5)
        try:
            return await act(redis)
        finally:
            await redis.aclose()

    try:
        return asyncio.run(connected())
    except SettingError as error:
        raise CliError(str(error)) from None
    except UNAVAILABLE as error:
        raise SetupError(f"Redis can't be used at {masked(url)}: {error}") from None
