"""Imports large modules at their first use, because most servers never use them."""

import asyncio
import importlib
from typing import Final

_loaded: Final[set[str]] = set()


async def load(module: str) -> None:
    """Imports the module in a thread: it takes up to a second, which would block all streams.

    An `import` statement of the module is fast after that. Raises what the import raises.
    """
    if module not in _loaded:
        await asyncio.to_thread(importlib.import_module, module)
        _loaded.add(module)
