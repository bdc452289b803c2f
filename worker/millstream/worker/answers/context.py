"""What every answer is made with: the process's tools, and the graph that a question is about."""

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
from millstream.worker.failure import error_of, is_cancelled, summary, traceback_of
from millstream.worker.graphs import Graph, GraphRegistry, Use

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class AnswerContext:
    """What every answer works with; one per worker process."""

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
        """Opens the call's graph; `saver` keeps its checkpoints, if it is not the one for reading.

        Raises GraphError if its factory fails, also after the answer was made.
        """
        opening = self.registry.open(
            call.graph_id, Use(access, config), saver or self.checkpointing.saver
        )
        async with AsyncExitStack() as opened:
            with _factory_errors(call.graph_id):
                graph = await opened.enter_async_context(opening)
            yield graph
            with _factory_errors(call.graph_id):
                await opened.aclose()

    @asynccontextmanager
    async def graph_of_thread(
        self, call: Call, access: AccessContext, config: RunnableConfig
    ) -> AsyncIterator[Graph]:
        """Opens the graph of the call's thread, to read it; `config` names the thread.

        Raises GraphError if its factory fails.
        """
        async with self.graph(
            call, access, merged(await self.factory_config(call), config)
        ) as graph:
            yield graph

    async def factory_config(self, call: Call) -> dict[str, Any] | None:
        """Returns the config that a factory gets for the graph of the call's thread; None if no factory makes it.

        It is that of the thread's newest run; of a checkpoint that the call names, of the run that stored
        it; before the first run, what the thread's assistant is configured with.
        """
        if not self.registry.is_made(call.graph_id):
            return None
        thread_id = call.arguments["thread_id"]
        kept = await self._config_at(call) or await threads.get_config(self.redis, thread_id)
        if kept is None:
            kept = await self._config_of_assistant(call)
        ids = {"assistant_id": call.arguments["assistant_id"]}
        return {**kept, "configurable": {**kept.get("configurable", {}), **ids}}

    async def _config_at(self, call: Call) -> dict[str, Any] | None:
        """Returns the config of the run that stored the checkpoint which the call names, if it is known."""
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
            with suppress(NotFoundError, InvalidError):  # it was deleted since
                assistant = (await self.directory.resolve(name)).assistant
                if assistant.graph_id == call.graph_id:
                    return config_of_assistant(assistant)
        return {}


def merged(config: dict[str, Any] | None, override: RunnableConfig) -> RunnableConfig:
    """Returns `override` over the config, `configurable` name by name; without a config, `override` alone."""
    if config is None:
        return override
    configurable = {**config.get("configurable", {}), **override.get("configurable", {})}
    return cast("RunnableConfig", {**config, **override, "configurable": configurable})


@contextmanager
def _factory_errors(graph_id: str) -> Iterator[None]:
    """Raises GraphError for what a factory raises, so that the call is answered with it."""
    try:
        yield
    except MillstreamError:  # of the store, or of the registry
        raise
    except BaseException as error:
        if is_cancelled(error):
            raise
        log.warning(
            "the factory of graph %r failed: %s\n%s", graph_id, summary(error), traceback_of(error)
        )
        described = error_of(error)
        raise GraphError(
            f"The factory of graph {graph_id!r} failed: {described['error']}: {described['message']}"
        ) from error
