"""LangGraph's stream → the events of a run's stream, in LangGraph's order.

Source: the reference server's streams, with one test per graph and mode (tests/golden). LangGraph streams its own
modes. These modes of the API are derived from them:

- `messages-tuple` is LangGraph's mode `messages`. Its events are named `messages`.
- `messages` is the older form. It sends accumulated messages as `messages/metadata`, `messages/partial` (a model that
  streams) and `messages/complete` (a whole message). Together with `messages-tuple`, only the tuples are sent.
- `events` are LangChain's stream events. The chunks of the root graph in them are the events of the other modes.
- `tools` and `lifecycle` are in subgraph_events.py.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langgraph.types import StreamMode

from millstream.shared.events.modes import MODES
from millstream.worker import private_entries
from millstream.worker.client_errors import show_task, show_tasks
from millstream.worker.encode import encode
from millstream.worker.graph_result import NewestValues, has_interrupts
from millstream.worker.graphs import Graph
from millstream.worker.subgraph_events import (
    Subgraphs,
    SubgraphTask,
    ToolCalls,
    with_subgraph_tasks,
)

MESSAGES: Final = MODES["messages"]
METADATA, PARTIAL, COMPLETE = MESSAGES.events
MESSAGE_TUPLES: Final = MODES["messages-tuple"]
LIFECYCLE: Final = MODES["lifecycle"]
EVENTS: Final = MODES["events"]

Namespace = tuple[str, ...]
Chunk = tuple[Namespace, str, Any]  # namespace, LangGraph's mode, payload


class EventStream:
    """The events of one attempt, and the state of its graph as far as the events contain it."""

    def __init__(self, modes: list[str], *, subgraphs: bool) -> None:
        """Without `modes`, only `values` are streamed."""
        self._modes = frozenset(modes) or frozenset({"values"})
        self._subgraphs = subgraphs
        self._messages: dict[str, BaseMessage] = {}  # mode `messages`: id → accumulated message
        self._tools = ToolCalls()
        self._lifecycle = Subgraphs() if "lifecycle" in self._modes else None
        self.newest: Final = NewestValues()
        self.paused = False  # the graph stopped at an interrupt or a breakpoint

    async def run(self, graph: Graph, **arguments: Any) -> AsyncGenerator[tuple[str, bytes], None]:
        """Runs the graph; yields `(event name, JSON)`. Accepts the arguments of `Graph.astream`."""
        if self._lifecycle is not None and not self._subgraphs:
            arguments = with_subgraph_tasks(arguments)
        execute = self._run_with_events if "events" in self._modes else self._run_modes
        events = execute(graph, arguments)
        failure: Exception | None = None
        async with aclosing(events):
            try:
                async for event in events:
                    yield event
            except Exception as error:  # noqa: BLE001 - raised again after the ends of subgraphs
                failure = error
        if self._lifecycle is not None:
            for namespace, payload in self._lifecycle.end(failure):
                yield LIFECYCLE.event_name(namespace), encode(payload)
        if failure is not None:
            raise failure

    def namespace_of(self, interrupt_id: str) -> Namespace:
        """Returns the root namespace: these events do not name an interrupt's subgraph."""
        return ()

    def library_modes(self) -> list[StreamMode]:
        """Returns the modes that LangGraph streams.

        They always include `values` and `updates`, which contain the final state and whether the run paused.
        """
        modes = {"values", "updates"}
        for name in self._modes & MODES.keys():
            modes.update(MODES[name].library_modes)
        if self._lifecycle is not None and not self._subgraphs:
            modes.add("custom")  # carries the tasks of subgraphs: see `with_subgraph_tasks`
        return cast("list[StreamMode]", sorted(modes))

    async def _run_modes(
        self, graph: Graph, arguments: dict[str, Any]
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        stream = graph.astream(
            stream_mode=self.library_modes(),
            subgraphs=self._subgraphs,
            output_keys=graph.output_channels,
            **arguments,
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as chunks:
            async for chunk in chunks:
                for event in self.translate(self._split(chunk)):
                    yield event

    async def _run_with_events(
        self, graph: Graph, arguments: dict[str, Any]
    ) -> AsyncGenerator[tuple[str, bytes], None]:
        root = str(arguments["config"]["run_id"])
        stream = graph.astream_events(
            version="v2",
            stream_mode=self.library_modes(),
            subgraphs=self._subgraphs,
            **arguments,
        )
        async with aclosing(cast("AsyncGenerator[Any, None]", stream)) as events:
            async for event in events:
                if event["event"] == "on_chain_stream" and str(event["run_id"]) == root:
                    for translated in self.translate(self._split(event["data"]["chunk"])):
                        yield translated
                elif event["event"] != "on_chain_stream" or event["parent_ids"]:
                    yield EVENTS.event_name(()), encode(event)

    def _split(self, chunk: Any) -> Chunk:
        if self._subgraphs:
            namespace, mode, payload = chunk
            return tuple(namespace), mode, payload
        mode, payload = chunk
        return (), mode, payload

    def translate(self, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
        """Yields the events of one chunk, and records the state that it contains."""
        namespace, mode, payload = chunk
        if mode == "messages":
            yield from self._translate_message(namespace, *payload)
            return
        if isinstance(payload, SubgraphTask):
            yield from self._lifecycle_events(payload.namespace, payload.payload)
            return
        if mode == "tasks" and "result" not in payload:
            yield from self._lifecycle_events(namespace, payload)
        if mode == "tasks":
            payload = show_task(payload)
        if mode == "tools":
            payload = self._tools.translate(payload)
        if mode == "debug" and payload.get("type") == "checkpoint":
            payload = {
                **payload,
                "payload": _with_checkpoints(
                    show_tasks(private_entries.without_in_checkpoint(payload["payload"]))
                ),
            }
        elif mode == "debug":
            payload = {**payload, "payload": show_task(payload["payload"])}
        if mode == "checkpoints":
            payload = show_tasks(private_entries.without_in_checkpoint(payload))
        data = encode(payload) if mode in self._modes else None
        if not namespace:
            self._record_state(mode, payload, data)
        if data is not None:
            yield MODES[mode].event_name(namespace), data
        if mode == "tasks" and "result" in payload:
            yield from self._lifecycle_events(namespace, payload)

    def _lifecycle_events(
        self, namespace: Namespace, task: dict[str, Any]
    ) -> Iterator[tuple[str, bytes]]:
        if self._lifecycle is not None:
            for subgraph, payload in self._lifecycle.translate(namespace, task):
                yield LIFECYCLE.event_name(subgraph), encode(payload)

    def _record_state(self, mode: str, payload: Any, data: bytes | None) -> None:
        if mode == "values":
            self.newest.set(payload, data)
        if mode in ("values", "updates") and has_interrupts(payload):
            self.paused = True

    def _translate_message(
        self, namespace: Namespace, message: BaseMessage, metadata: dict[str, Any]
    ) -> Iterator[tuple[str, bytes]]:
        if "messages-tuple" in self._modes:
            yield MESSAGE_TUPLES.event_name(namespace), encode([message, metadata])
            return
        key = message.id or ""
        earlier = self._messages.get(key)
        if earlier is None:
            yield MESSAGES.event_name(namespace, METADATA), encode({key: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            if isinstance(earlier, BaseMessageChunk):
                message = earlier + message
            self._messages[key] = message
            yield (
                MESSAGES.event_name(namespace, PARTIAL),
                encode([message_chunk_to_message(message)]),
            )
        else:
            self._messages[key] = message
            yield MESSAGES.event_name(namespace, COMPLETE), encode([message])


def _with_checkpoints(payload: dict[str, Any]) -> dict[str, Any]:
    """Returns a `debug` checkpoint in the API's form.

    It adds the checkpoints that the configs name. The task of a subgraph has a checkpoint in place of its state.
    """
    return {
        **payload,
        "tasks": [_task_with_checkpoint(task) for task in payload["tasks"]],
        "checkpoint": _checkpoint_of(payload.get("config")),
        "parent_checkpoint": _checkpoint_of(payload.get("parent_config")),
    }


def _task_with_checkpoint(task: dict[str, Any]) -> dict[str, Any]:
    state = task.get("state")
    if not (isinstance(state, dict) and "configurable" in state):
        return task
    without_state = {key: value for key, value in task.items() if key != "state"}
    return {**without_state, "checkpoint": state["configurable"]}


def _checkpoint_of(config: dict[str, Any] | None) -> dict[str, Any] | None:
    configurable = (config or {}).get("configurable", {})
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {key: configurable[key] for key in keys if key in configurable} or None
