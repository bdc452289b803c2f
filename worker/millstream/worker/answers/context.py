"""The context in which calls are executed: the worker's parts, and the graph of a call."""

import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph_sdk.runtime import AccessContext

from millstream.shared import runs, threads
from millstream.shared.assistants import GraphDirectory
from millstream.shared.errors import GraphError, InvalidError, MillstreamError, NotFoundError
from millstream.shared.redis import Client
from millstream.shared.runs.submission import config_of_assistant, without_ids
from millstream.shared.settings import Settings
from millstream.shared.wire import Call, unpack_kwargs
from millstream.worker.checkpoints.checkpointing import Checkpointing
from millstream.worker.client_errors import show_cause
from millstream.worker.failure import is_cancelled, summarise_error, traceback_of
from millstream.worker.graphs import Graph, GraphRegistry, Use

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """The parts of a worker that calls use; one object per process."""

    redis: Client
    registry: GraphRegistry
    checkpointing: Checkpointing
    settings: Settings
    directory: GraphDirectory

    @asynccontextmanager
    async def graph(
        self,
        call: Call,
        access: AccessContext,
        config: RunnableConfig,
        saver: BaseCheckpointSaver[Any] | None = None,
    ) -> AsyncIterator[Graph]:
        """Opens the call's graph with `saver`, or with the checkpointer for reading.

        Raises GraphError if the graph's factory fails, also if it fails after its yield.
        """
        opening = self.registry.open(
            call.graph_id, Use(access, config), saver or self.checkpointing.saver
        )
        async with AsyncExitStack() as opened:
            with _convert_factory_errors(call.graph_id):
                graph = await opened.enter_async_context(opening)
            yield graph
            with _convert_factory_errors(call.graph_id):
                await opened.aclose()

    @asynccontextmanager
    async def graph_of_thread(
        self, call: Call, access: AccessContext, config: RunnableConfig
    ) -> AsyncIterator[Graph]:
        """Opens the call's graph to read its thread; `config` names the thread.

        Raises GraphError if its factory fails.
        """
        async with self.graph(
            call, access, merge_config(await self.factory_config(call), config)
        ) as graph:
            yield graph

    async def factory_config(self, call: Call) -> dict[str, Any] | None:
        """Returns the config that the graph's factory gets; None if the graph has no factory.

        If the call names a checkpoint, it is the config of the run that stored the checkpoint. Otherwise it is
        that of the thread's newest run, or before the first run, the config of the thread's assistant.
        """
        if not self.registry.has_factory(call.graph_id):
            return None
        thread_id = call.arguments["thread_id"]
        config = await self._config_of_checkpoint(call)
        config = config or await threads.get_config(self.redis, thread_id)
        if config is None:
            config = await self._config_of_assistant(call)
        ids = {"assistant_id": call.arguments["assistant_id"]}
        return {**config, "configurable": {**config.get("configurable", {}), **ids}}

    async def _config_of_checkpoint(self, call: Call) -> dict[str, Any] | None:
        """Returns the config of the run that stored the call's checkpoint, or None.

        None if the call names no checkpoint, or if its run is deleted or of another graph.
        """
        thread_id, checkpoint = call.arguments["thread_id"], call.arguments.get("checkpoint", {})
        if "checkpoint_id" not in checkpoint:
            return None
        config = {"checkpoint_ns": "", **checkpoint, "thread_id": thread_id}
        stored = await self.checkpointing.saver.aget_tuple({"configurable": config})
        run_id = None if stored is None else stored.metadata.get("run_id")
        run = None if run_id is None else await runs.find_run(self.redis, thread_id, str(run_id))
        if run is None or run.spec.graph_id != call.graph_id:
            return None
        return without_ids(unpack_kwargs(run.spec.kwargs).config)

    async def _config_of_assistant(self, call: Call) -> dict[str, Any]:
        for name in (call.arguments["assistant_id"], call.graph_id):
            with suppress(NotFoundError, InvalidError):  # the assistant was deleted
                assistant = (await self.directory.resolve(name)).assistant
                if assistant.graph_id == call.graph_id:
                    return config_of_assistant(assistant)
        return {}


def merge_config(config: dict[str, Any] | None, override: RunnableConfig) -> RunnableConfig:
    """Returns the config with the entries of `override`, also within `configurable`."""
    if config is None:
        return override
    configurable = {**config.get("configurable", {}), **override.get("configurable", {})}
    return cast("RunnableConfig", {**config, **override, "configurable": configurable})


@contextmanager
def _convert_factory_errors(graph_id: str) -> Iterator[None]:
    """Raises GraphError for an exception of a factory, so that the client learns of it."""
    try:
        yield
    except MillstreamError:  # of the store, or of the registry
        raise
    except BaseException as error:
        if is_cancelled(error):
            raise
        log.warning(
            "the factory of graph %r failed: %s\n%s",
            graph_id,
            summarise_error(error),
            traceback_of(error),
        )
        raise GraphError(show_cause(f"The factory of graph {graph_id!r} failed", error)) from error
