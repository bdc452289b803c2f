"""An event loop for a thread that must not delay the end of its process."""

import asyncio
import socket
import threading
from concurrent.futures import Future
from typing import Any


class ThreadLoop(asyncio.SelectorEventLoop):
    """asyncio's loop, except that it resolves names in daemon threads.

    asyncio resolves names in an executor, and Python waits for an executor's threads at the end of the process. A name
    server that does not answer would then delay a worker's end. WORKER_LOOP has no effect on this loop, as no code of
    the project runs on it.
    """

    async def getaddrinfo(self, *args: Any, **options: Any) -> Any:
        """Resolves a name. Source: asyncio's loop."""
        result: Future[Any] = Future()
        result.set_running_or_notify_cancel()  # so that it can't be cancelled while the thread works

        def resolve() -> None:
            try:
                result.set_result(socket.getaddrinfo(*args, **options))
            except Exception as error:  # noqa: BLE001 - the caller gets it; an invalid name is a UnicodeError
                result.set_exception(error)

        threading.Thread(target=resolve, name="resolver", daemon=True).start()
        return await asyncio.wrap_future(result)
