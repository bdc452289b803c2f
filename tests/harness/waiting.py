"""Waiting for a condition, with a deadline, instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], *, within: float = 10.0, what: str = "") -> Any:
    """Asks until the answer is true and returns it; fails after `within` seconds.

    `condition` may be an async function.
    """
    deadline = time.monotonic() + within
    while True:
        answer = condition()
        value = await answer if inspect.isawaitable(answer) else answer
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or condition} did not come true within {within} s")
        await asyncio.sleep(0.01)
