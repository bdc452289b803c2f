"""The event loop of a process that executes the project's code."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

import uvloop

log = logging.getLogger(__name__)

LOOPS: Final[dict[str, Callable[[], asyncio.AbstractEventLoop]]] = {
    "uvloop": uvloop.new_event_loop,
    "asyncio": asyncio.new_event_loop,
}


def run(main: Coroutine[Any, Any, None], kind: str) -> None:
    """Runs the coroutine to its end on a new loop of this kind (a key of LOOPS).

    If a node calls `sys.exit()`, asyncio raises SystemExit in the task that awaits the node, and also out of the
    loop. That stops the loop without damage, so this function starts it again, and only the run of that node fails.
    It does the same after `loop.stop()`, which some libraries call as if the loop were theirs.

    Raises the coroutine's exception.
    """
    with asyncio.Runner(loop_factory=LOOPS[kind]) as runner:
        loop = runner.get_loop()
        loop.set_exception_handler(_handle)
        task = loop.create_task(main)
        while not task.done():
            try:
                loop.run_until_complete(task)
            except (SystemExit, KeyboardInterrupt) as error:
                if not task.done():
                    log.warning("code of the project raised %r; the process continues", error)
            except RuntimeError as error:
                if task.done() or loop.is_closed():
                    raise
                log.warning("code of the project stopped the event loop (%s); it continues", error)
        task.result()


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Ignores an error that Python reports after a node has raised GeneratorExit.

    Python then closes a second time the generators through which the exception has passed, which fails. The run has
    already ended with the exception.
    """
    error = context.get("exception")
    if isinstance(error, RuntimeError) and "asynchronous generator is already running" in str(
        error
    ):
        log.debug("an async generator was closed twice: %s", error)
    else:
        loop.default_exception_handler(context)
