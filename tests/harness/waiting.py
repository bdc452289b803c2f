"""Wait for a condition with a deadline, instead of sleeping."""

import asyncio
import inspect
import time
from collections.abc import Callable
from typing import Any


async def until(condition: Callable[[], Any], *, within: float = 10.0, what: str = "") -> Any:
    """Calls `condition` until its result is true and returns it. Fails after `within` seconds.

    `condition` may be an async function. `what` names the condition in the error.
    """
    deadline = time.monotonic() + within
    while True:
        result = condition()
        value = await result if inspect.isawaitable(result) else result
        if value:
            return value
        if time.monotonic() > deadline:
            raise AssertionError(f"{what or condition} did not come true within {within} s")
        await asyncio.sleep(0.01)
