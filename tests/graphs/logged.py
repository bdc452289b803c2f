"""Graphs that log, in a project that configures `logging` when it is imported."""

import asyncio
import logging
import logging.config
import threading
import warnings
from typing import Any, TypedDict

import structlog
from langchain_core.runnables import RunnableConfig
from langgraph.graph import START, StateGraph

# As many projects do. It disables the loggers that exist, and writes to stdout in another form.
logging.config.dictConfig(
    {
        "version": 1,
        "formatters": {"own": {"format": "own form %(message)s"}},
        "handlers": {
            "root": {"class": "logging.StreamHandler", "formatter": "own"},
            "own": {
                "class": "logging.StreamHandler",
                "formatter": "own",
                "stream": "ext://sys.stdout",
            },
        },
        "loggers": {"logged.own": {"handlers": ["own"], "propagate": False, "level": "DEBUG"}},
        "root": {"handlers": ["root"], "level": "ERROR"},
    }
)
log = logging.getLogger("logged")
own_log = logging.getLogger("logged.own")
events = structlog.get_logger("logged.structlog")
threads_meet = threading.Barrier(2, timeout=30)


class State(TypedDict, total=False):
    name: str
    text: str


class Meeting:
    """Lets two runs of one worker wait for each other."""

    def __init__(self) -> None:
        self._waiting: asyncio.Future[None] | None = None

    async def meet(self) -> None:
        if self._waiting is None:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        else:
            self._waiting.set_result(None)
            self._waiting = None


meeting = Meeting()


async def greet(state: State) -> State:
    log.info("before %s", state["name"])
    await meeting.meet()
    log.info("after %s", state["name"], extra={"name_of_run": state["name"]})
    events.info("structlog", name_of_run=state["name"])
    own_log.debug("own %s", state["name"])
    return {}


def greet_in_thread(state: State) -> State:
    threads_meet.wait()
    log.info("in thread %s", state["name"])
    print("printed\n", end="")  # noqa: T201 - one write, which no line of another thread divides
    return {}


def say(state: State) -> State:
    text = state["text"]
    log.info("said %s", text)
    log.info("extra", extra={"text": text, text: "name"})
    events.warning(text, value={"inner": text})
    log.info("wrong arguments %d", text)
    warnings.warn(text, stacklevel=1)
    thread = threading.Thread(target=_raise, args=(text,))
    thread.start()
    thread.join()
    return {}


def fail(state: State) -> State:
    raise ValueError(state["text"])


def _raise(text: str) -> None:
    raise RuntimeError(text)


def _graph(**nodes: Any) -> Any:
    builder = StateGraph(State)
    before = START
    for name, node in nodes.items():
        builder.add_node(name, node)
        builder.add_edge(before, name)
        before = name
    return builder.compile()


meets = _graph(greet=greet, greet_in_thread=greet_in_thread)
says = _graph(say=say)
apart = _graph(say=say)
fails = _graph(fail=fail)


def factory(config: RunnableConfig) -> Any:
    """A factory, which calls of the API call too."""
    log.info("opened")
    return says
