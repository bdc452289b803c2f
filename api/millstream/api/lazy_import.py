"""Modules that are imported when they are first needed, as most servers never need them."""

import asyncio
import importlib
from typing import Final

_loaded: Final[set[str]] = set()


async def load(module: str) -> None:
    """Imports the module, in a thread: that takes up to a second, in which all streams would stand still.

    An `import` statement of the module then returns at once. Raises what the import raises.
    """
    if module not in _loaded:
        await asyncio.to_thread(importlib.import_module, module)
        _loaded.add(module)
