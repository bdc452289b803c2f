"""The threads that execute nodes that are plain functions, and the end of a process whose threads do not end."""

import asyncio
import logging
import os
import sys
import threading
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Final

log = logging.getLogger(__name__)

NAME: Final = "node"
END_SECONDS: Final = 0.5  # in which threads that execute nothing must end


@asynccontextmanager
async def node_threads(count: int) -> AsyncIterator[None]:
    """Makes the running event loop execute plain functions in at most `count` threads.

    Python can't end a thread, and waits for threads at its exit. So if a thread still executes a node at the exit of
    this context manager, the process ends here, with status 1 if an exception has caused the exit.
    """
    pool = ThreadPoolExecutor(count, thread_name_prefix=NAME)
    asyncio.get_running_loop().set_default_executor(pool)
    failure: BaseException | None = None
    try:
        yield
    except BaseException as error:
        failure = error
        raise
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        await asyncio.sleep(0)
        threads = [t for t in threading.enumerate() if t.name.startswith(f"{NAME}_")]
        for thread in threads:
            thread.join(timeout=END_SECONDS / len(threads))
        if any(thread.is_alive() for thread in threads):
            log.warning(
                "A thread still executes a node of a run that was stopped. Threads can't be ended, so the "
                "worker ends its process at once."
            )
            if failure is not None:
                sys.stderr.write(f"{failure}\n")
                sys.stderr.flush()
            logging.shutdown()
            os._exit(0 if failure is None else 1)
