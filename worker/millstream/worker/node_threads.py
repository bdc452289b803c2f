"""The threads that nodes run in which are no coroutines, and what becomes of those that don't end."""

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
END_WITHIN: Final = 0.5  # s in which threads that execute nothing have ended


@asynccontextmanager
async def node_threads(count: int) -> AsyncIterator[None]:
    """Has the running event loop execute plain functions in at most `count` threads.

    A thread can't be ended. If one still executes a node when this is left, the process ends here and now,
    with status 1 if an exception passes through: Python would wait for the thread at its exit.
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
        left = [t for t in threading.enumerate() if t.name.startswith(f"{NAME}_")]
        for thread in left:
            thread.join(timeout=END_WITHIN / len(left))
        if any(thread.is_alive() for thread in left):
            log.warning(
                "A node of a run that was stopped is still executed in a thread, which can't be ended: the "
                "worker ends with it."
            )
            if failure is not None:
                sys.stderr.write(f"{failure}\n")
                sys.stderr.flush()
            logging.shutdown()
            os._exit(0 if failure is None else 1)
