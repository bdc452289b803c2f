"""A run's record → the arguments with which its graph is called."""

import logging
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from importlib.metadata import version
from typing import Any, Final, cast

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.runnables import RunnableConfig
from langchain_core.tracers.langchain import LangChainTracer
from langgraph.types import Command, Send
from langsmith.utils import tracing_is_enabled

from millstream.shared.access import unpack_user
from millstream.shared.own_api import forwarded_headers
from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.shared.runs.access import token_of
from millstream.shared.scripts import Claim
from millstream.shared.wire import UNMERGED, LangsmithTracer, RunKwargs, unpack_kwargs
from millstream.worker import private_entries
from millstream.worker.context_fields import select_declared
from millstream.worker.graphs import Graph, Use

log = logging.getLogger(__name__)

CHECKPOINT_KEYS: Final = ("checkpoint_id", "checkpoint_map", "checkpoint_ns")  # in `configurable`
STRICT_RESUME: Final = "__pregel_strict_resume"  # LangGraph's key in `configurable`
LANGGRAPH_VERSION: Final = version("langgraph")


@dataclass(frozen=True, slots=True)
class Request:
    """One attempt of a run, ready to be executed."""

    kwargs: RunKwargs
    config: RunnableConfig
    input: Any  # the graph's input, a Command, or None to continue from the newest checkpoint
    caller: Mapping[str, str]  # headers of the graph's requests to the API
    is_resumed: bool = False  # an earlier attempt of the run has begun

    @property
    def use(self) -> Use:
        """The use for which the run's graph is opened."""
        return Use("threads.create_run", self.config, self.kwargs.context)

    def arguments(self, graph: Graph) -> dict[str, Any]:
        """Returns the arguments of `Graph.astream` except its modes."""
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
    """Returns the request of a claimed run, as its first attempt needs it.

    For a later attempt, `without_input` returns the request that continues from the last checkpoint: with the
    input, LangGraph would begin again.
    """
    kwargs = unpack_kwargs(claim.spec.kwargs)
    stored = kwargs.config
    config: dict[str, Any] = {
        "configurable": private_entries.add(
            dict(stored.get("configurable", {})),
            unpack_user(claim.spec.user),
            claim.spec.caller_headers,
        ),
        "metadata": {
            **stored.get("metadata", {}),
            "run_id": claim.spec.run_id,
            "run_attempt": claim.attempt,
            "langgraph_version": LANGGRAPH_VERSION,
        },
        "run_id": uuid.UUID(claim.spec.run_id),
    }
    if kwargs.strict_resume:
        config["configurable"][STRICT_RESUME] = True
    config |= {name: stored[name] for name in UNMERGED if name in stored}
    if kwargs.langsmith_tracer and tracing_is_enabled():
        config["callbacks"] = _tracers(kwargs.langsmith_tracer)
    run_input = kwargs.input if kwargs.command is None else read_command(kwargs.command)
    caller = forwarded_headers(claim.spec.caller_headers)
    if token := token_of(claim.spec):
        caller[RUN_HEADER] = token
    return Request(kwargs, cast("RunnableConfig", config), run_input, caller)


def _tracers(tracer: LangsmithTracer) -> list[BaseCallbackHandler]:
    """Returns the tracer for the project and the example that the client named, instead of the default one."""
    try:
        return [LangChainTracer(tracer.example_id, tracer.project_name)]
    except Exception:  # a run must not fail for its trace, as with LangChain's default tracer
        log.warning("a run is not traced as its langsmith_tracer says", exc_info=True)
        return []


def without_input(request: Request) -> Request:
    """Returns the request of an attempt that continues from the run's last checkpoint.

    It has no checkpoint of the client's: the first attempt has already continued from that one.
    """
    configurable = dict(request.config.get("configurable", {}))
    for key in CHECKPOINT_KEYS:
        configurable.pop(key, None)
    config: RunnableConfig = {**request.config, "configurable": configurable}
    return replace(request, config=config, input=None, is_resumed=True)


def read_command(command: dict[str, Any]) -> Command[Any]:
    """Returns a client's command as LangGraph's; a part that is null counts as missing."""
    parts: dict[str, Any] = {}
    if command.get("resume") is not None:
        parts["resume"] = command["resume"]
    update = command.get("update")
    if update is not None:
        parts["update"] = [tuple(pair) for pair in update] if isinstance(update, list) else update
    goto = command.get("goto")
    if goto is not None:
        is_list = isinstance(goto, list)
        parts["goto"] = [_read_target(t) for t in goto] if is_list else _read_target(goto)
    return Command(**parts)


def _read_target(target: Any) -> Any:
    return Send(target["node"], target.get("input")) if isinstance(target, dict) else target


def _context(graph: Graph, kwargs: RunKwargs) -> Any:
    """Returns the runtime context.

    If the client sent only `configurable`, `context` is a copy of it. The graph then gets the keys that its
    context schema declares.
    """
    context = kwargs.context
    schema = graph.context_schema
    configurable = kwargs.config.get("configurable", {})
    is_copy = context == {key: value for key, value in configurable.items() if key in context}
    return select_declared(context, schema) if is_copy else context
