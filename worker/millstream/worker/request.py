"""A run's record → what its graph is called with."""

import logging
import uuid
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.types import Command, Send
from langsmith.utils import tracing_is_enabled

from millstream.shared.own_api import forwarded_headers
from millstream.shared.scripts import Claim
from millstream.shared.wire import UNMERGED, LangsmithTracer, RunKwargs, unpack_kwargs
from millstream.worker.context_fields import select_declared
from millstream.worker.graphs import Graph, Use

log = logging.getLogger(__name__)

# What names a checkpoint in `configurable`; a run's own are always those of the root namespace.
CHECKPOINT_KEYS: Final = ("checkpoint_id", "checkpoint_map", "checkpoint_ns")
STRICT_RESUME: Final = "__pregel_strict_resume"  # how LangGraph is asked for it
LANGGRAPH_VERSION: Final = version("langgraph")


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt of a run, ready to be executed."""

    kwargs: RunKwargs
    config: RunnableConfig
    input: Any  # the graph's input, a Command, or None to go on from the checkpoint
    is_resumed: bool = False  # it goes on where an earlier attempt of the run stopped

    @property
    def use(self) -> Use:
        """What its graph is opened for."""
        return Use("threads.create_run", self.config, self.kwargs.context)

    @property
    def caller(self) -> dict[str, str]:
        """The headers of the run's caller that go along when its graph asks the API."""
        configurable = self.kwargs.config["configurable"]
        names = self.kwargs.caller_headers or ()
        return forwarded_headers(
            {name: configurable[name] for name in names if name in configurable}
        )

    def arguments(self, graph: Graph) -> dict[str, Any]:
        """Returns the arguments of `Graph.astream`, apart from its modes."""
        arguments: dict[str, Any] = {
            "input": self.input,
            "config": self.config,
            "context": _context(graph, self.kwargs),
            "durability": self.kwargs.durability,
        }
        if self.kwargs.interrupt_before:
            arguments["interrupt_before"] = self.kwargs.interrupt_before
        if self.kwargs.interrupt_after:
            arguments["interrupt_after"] = self.kwargs.interrupt_after
        return arguments


def read_request(claim: Claim) -> Request:
    """Returns the request of a claimed run.

    On a later attempt the input has been applied already (LangGraph would begin anew), so the
    graph goes on from its last checkpoint: see `resumed`.
    """
    kwargs = unpack_kwargs(claim.spec.kwargs)
    given = kwargs.config
    config: dict[str, Any] = {
        "configurable": dict(given.get("configurable", {})),
        "metadata": {
            **given.get("metadata", {}),
            "run_id": claim.spec.run_id,
            "run_attempt": claim.attempt,
            "langgraph_version": LANGGRAPH_VERSION,
        },
        "run_id": uuid.UUID(claim.spec.run_id),
    }
    if kwargs.strict_resume:
        config["configurable"][STRICT_RESUME] = True
    config |= {name: given[name] for name in UNMERGED if name in given}
    if kwargs.langsmith_tracer and tracing_is_enabled():
        config["callbacks"] = _tracers(kwargs.langsmith_tracer)
    run_input = kwargs.input if kwargs.command is None else read_command(kwargs.command)
    return Request(kwargs, cast("RunnableConfig", config), run_input)


def _tracers(given: LangsmithTracer) -> list[BaseCallbackHandler]:
    """Returns what sends the run's trace where the client said, in place of the default."""
    try:
        return [LangChainTracer(given.example_id, given.project_name)]
    except Exception:  # as with the default one: a run does not fail for its trace
        log.warning("a run is not traced as it asked to be", exc_info=True)
        return []


def resumed(request: Request) -> Request:
    """Returns the request of an attempt that goes on where the one before it stopped.

    The client's own checkpoint, if it named one, was left behind by the first attempt.
    """
    configurable = dict(request.config.get("configurable", {}))
    for key in CHECKPOINT_KEYS:
        configurable.pop(key, None)
    config: RunnableConfig = {**request.config, "configurable": configurable}
    return Request(request.kwargs, config, None, is_resumed=True)


def read_command(given: dict[str, Any]) -> Command[Any]:
    """Returns a client's command as LangGraph's; a `null` part counts as not given."""
    parts: dict[str, Any] = {}
    if given.get("resume") is not None:
        parts["resume"] = given["resume"]
    update = given.get("update")
    if update is not None:
        parts["update"] = [tuple(pair) for pair in update] if isinstance(update, list) else update
    goto = given.get("goto")
    if goto is not None:
        parts["goto"] = [_goto(g) for g in goto] if isinstance(goto, list) else _goto(goto)
    return Command(**parts)


def _goto(target: Any) -> Any:
    return Send(target["node"], target.get("input")) if isinstance(target, dict) else target


def _context(graph: Graph, kwargs: RunKwargs) -> Any:
    """Returns the runtime context.

    Where the client sent only `configurable`, `context` mirrors it; a schema that does not know
    all of its keys gets those it knows.
    """
    context = kwargs.context
    schema = graph.context_schema
    mirrored = context == {
        k: v for k, v in kwargs.config.get("configurable", {}).items() if k in context
    }
    return select_declared(context, schema) if mirrored else context
