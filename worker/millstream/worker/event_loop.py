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

    asyncio lets a SystemExit or KeyboardInterrupt of any task out through the loop, beside giving it
    to the task that awaits it. Where a node called `sys.exit()`, that stops the loop once and leaves
    it whole: it is started again, and nothing but the run of that node notices. So it is where a node
    called `loop.stop()`, which a library does that takes the loop for its own.

    Raises what the coroutine raises.
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
                    log.warning("Code of the project raised %r; the process goes on.", error)
            except RuntimeError as error:
                if task.done() or loop.is_closed():
                    raise
                log.warning("Code of the project stopped the event loop (%s); it goes on.", error)
        task.result()


def _handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Passes over what Python reports after a node raised GeneratorExit: it closes the generators that
    the exception has passed through once more, in vain. The run has ended with that exception."""
    error = context.get("exception")
    if isinstance(error, RuntimeError) and "asynchronous generator is already running" in str(
        error
    ):
        log.debug("an async generator was closed twice: %s", error)
    else:
        loop.default_exception_handler(context)
