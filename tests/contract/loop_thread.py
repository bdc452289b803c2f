"""A thread with an event loop, as the heartbeat has one."""

import asyncio
import threading
from collections.abc import Coroutine
from concurrent.futures import Future
from typing import Any, Self

from millstream.worker.leases.thread_loop import ThreadLoop


class LoopThread:
    """A thread with an event loop, as the heartbeat has one."""

    def __init__(self) -> None:
        self._loop = ThreadLoop()
        self._thread = threading.Thread(target=self._loop.run_forever)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def submit(self, do: Coroutine[Any, Any, Any]) -> "Future[Any]":
        """Runs a coroutine in the thread."""
        return asyncio.run_coroutine_threadsafe(do, self._loop)

    async def run(self, do: Coroutine[Any, Any, Any]) -> Any:
        """Runs a coroutine in the thread. Returns its result."""
        return await asyncio.wrap_future(self.submit(do))
