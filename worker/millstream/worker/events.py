"""What LangGraph streams → the events of the wire, in LangGraph's order.

Source: the reference server's streams, one test a graph and mode (tests/golden). LangGraph is
asked for its own modes; three modes of the API are made from them:

- `messages-tuple` is LangGraph's `messages`, its event is named `messages`;
- `messages` is the older form: accumulated messages, as `messages/metadata`, `messages/partial`
  (a streaming model) and `messages/complete` (a whole message); asked for together with
  `messages-tuple`, only the tuples are sent;
- `events` are LangChain's stream events, of which the root graph's chunks are the other modes;
- `tools` and `lifecycle` are in subgraph_events.py.
"""

from collections.abc import AsyncGenerator, Iterator
from contextlib import aclosing
from typing import Any, Final, cast

from langchain_core.messages import BaseMessage, BaseMessageChunk, message_chunk_to_message
from langgraph.types import StreamMode

from millstream.shared.events.modes import MODES
from millstream.worker.encode import encode
from millstream.worker.graph_result import Newest, asks
from millstream.worker.graphs import Graph
from millstream.worker.subgraph_events import Subgraphs, SubgraphTask, ToolCalls, watched

MESSAGES: Final = MODES["messages"]
METADATA, PARTIAL, COMPLETE = MESSAGES.events
MESSAGE_TUPLES: Final = MODES["messages-tuple"]
LIFECYCLE: Final = MODES["lifecycle"]
EVENTS: Final = MODES["events"]

Namespace = tuple[str, ...]
Chunk = tuple[Namespace, str, Any]  # namespace, LangGraph's mode, payload


class EventStream:
    """One attempt's events, and what it leaves behind when it ends."""

    def __init__(self, modes: list[str], *, subgraphs: bool) -> None:
        """Without `modes`, only `values` are streamed."""
        self._modes = frozenset(modes) or frozenset({"values"})
        self._subgraphs = subgraphs
        self._messages: dict[str, BaseMessage] = {}  # of mode `messages`: id → so far
        self._tools = ToolCalls()
        self._lifecycle = Subgraphs() if "lifecycle" in self._modes else None
        self.newest: Final = Newest()
        self.paused = False  # it stopped at an interrupt or a breakpoint

    async def run(self, graph: Graph, **arguments: Any) -> AsyncGenerator[tuple[str, bytes], None]:
        """Runs the graph; yields `(event name, JSON)`. Takes the arguments of `Graph.astream`."""
        if self._lifecycle is not None and not self._subgraphs:
            arguments = watched(arguments)
        chunks = (self._with_events if "events" in self._modes else self._plain)(graph, arguments)
        failed: Exception | None = None
        async with aclosing(chunks):
            try:
                async for event in chunks:
                    yield event
            except Exception as error:  # noqa: BLE001 - raised again, behind the ends of subgraphs
                failed = error
        if self._lifecycle is not None:
            for namespace, told in self._lifecycle.end(failed):
                yield LIFECYCLE.event_name(namespace), encode(told)
        if failed is not None:
            raise failed

    def namespace_of(self, interrupt_id: str) -> Namespace:
        """Returns where it was asked: these events do not tell, the root answers for all."""
        return ()

    def library_modes(self) -> list[StreamMode]:
        """Returns the modes to ask LangGraph for.

        `values` and `updates` always: they tell the final state, and whether the run paused.
        """
        modes = {"values", "updates"}
        for name in self._modes & MODES.keys():
            modes.update(MODES[name].library_modes)
        if self._lifecycle is not None and not self._subgraphs:
            modes.add("custom")  # the tasks of subgraphs come through it: see `watched`
        return cast("list[StreamMode]", sorted(modes))

    async def _plain(
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
                for event in self.translate(self._chunk(chunk)):
                    yield event

    async def _with_events(
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
                    for translated in self.translate(self._chunk(event["data"]["chunk"])):
                        yield translated
                elif event["event"] != "on_chain_stream" or event["parent_ids"]:
                    yield EVENTS.event_name(()), encode(event)

    def _chunk(self, chunk: Any) -> Chunk:
        if self._subgraphs:
            namespace, mode, payload = chunk
            return tuple(namespace), mode, payload
        mode, payload = chunk
        return (), mode, payload

    def translate(self, chunk: Chunk) -> Iterator[tuple[str, bytes]]:
        """Yields the events of one chunk, and notes what it tells of the run's end."""
        namespace, mode, payload = chunk
        if mode == "messages":
            yield from self._message(namespace, *payload)
            return
        if isinstance(payload, SubgraphTask):
            yield from self._of_subgraphs(payload.namespace, payload.payload)
            return
        if mode == "tasks" and "result" not in payload:
            yield from self._of_subgraphs(namespace, payload)
        if mode == "tools":
            payload = self._tools.translate(payload)
        if mode == "debug" and payload.get("type") == "checkpoint":
            payload = {**payload, "payload": _with_places(payload["payload"])}
        wanted = mode in self._modes
        data = encode(payload) if wanted else None
        if not namespace:
            self._note(mode, payload, data)
        if data is not None:
            yield MODES[mode].event_name(namespace), data
        if mode == "tasks" and "result" in payload:
            yield from self._of_subgraphs(namespace, payload)

    def _of_subgraphs(
        self, namespace: Namespace, task: dict[str, Any]
    ) -> Iterator[tuple[str, bytes]]:
        if self._lifecycle is not None:
            for of_whom, told in self._lifecycle.tell(namespace, task):
                yield LIFECYCLE.event_name(of_whom), encode(told)

    def _note(self, mode: str, payload: Any, data: bytes | None) -> None:
        if mode == "values":
            self.newest.note(payload, data)
        if mode in ("values", "updates") and asks(payload):
            self.paused = True

    def _message(
        self, namespace: Namespace, message: BaseMessage, metadata: dict[str, Any]
    ) -> Iterator[tuple[str, bytes]]:
        if "messages-tuple" in self._modes:
            yield MESSAGE_TUPLES.event_name(namespace), encode([message, metadata])
            return
        key = message.id or ""
        seen = self._messages.get(key)
        if seen is None:
            yield MESSAGES.event_name(namespace, METADATA), encode({key: {"metadata": metadata}})
        if isinstance(message, BaseMessageChunk):
            if isinstance(seen, BaseMessageChunk):
                message = seen + message
            self._messages[key] = message
            yield (
                MESSAGES.event_name(namespace, PARTIAL),
                encode([message_chunk_to_message(message)]),
            )
        else:
            self._messages[key] = message
            yield MESSAGES.event_name(namespace, COMPLETE), encode([message])


def _with_places(checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Returns a `debug` checkpoint as the API has it: with the checkpoints that its configs name,
    and a subgraph's task with its checkpoint in place of its state."""
    return {
        **checkpoint,
        "tasks": [_task_with_place(task) for task in checkpoint["tasks"]],
        "checkpoint": _place(checkpoint.get("config")),
        "parent_checkpoint": _place(checkpoint.get("parent_config")),
    }


def _task_with_place(task: dict[str, Any]) -> dict[str, Any]:
    state = task.get("state")
    if not (isinstance(state, dict) and "configurable" in state):
        return task
    rest = {key: value for key, value in task.items() if key != "state"}
    return {**rest, "checkpoint": state["configurable"]}


def _place(config: dict[str, Any] | None) -> dict[str, Any] | None:
    configurable = (config or {}).get("configurable", {})
    keys = ("checkpoint_id", "thread_id", "checkpoint_ns", "checkpoint_map")
    return {key: configurable[key] for key in keys if key in configurable} or None
