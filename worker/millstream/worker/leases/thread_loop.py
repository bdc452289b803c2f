"""An event loop for a thread that must never keep its process from ending."""

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import Any


class ThreadLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, but one that resolves names in daemon threads.

    asyncio resolves them in an executor, whose threads Python waits for at the end of the process: a name server that
    does not answer would delay a worker's end. WORKER_LOOP does not matter here, as no code of the project runs on it.
    """

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        """Resolves a name. Source: asyncio's loop."""
        result: Future[Any] = Future()
        result.set_running_or_notify_cancel()  # so that nobody cancels it behind the thread's back

        def resolve() -> None:
            try:
                result.set_result(socket.getaddrinfo(*args, **options))
            except Exception as error:  # noqa: BLE001 - the caller gets it; an invalid name is a UnicodeError
                result.set_exception(error)

        threading.Thread(target=resolve, name="resolver", daemon=True).start()
        return await asyncio.wrap_future(result)
