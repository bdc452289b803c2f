"""LangGraph's native events → entries of the event streaming protocol in a run's stream.

LangGraph yields the protocol's events in process (`astream_events(version="v3")`), with its own objects in them. Here
each event becomes one entry: JSON that is named by the event's method. Source: langchain_protocol, and the events of
the reference server, which leaves out four channels.
"""

import time
import warnings
from collections.abc import AsyncGenerator, Iterator
from typing import Any, ClassVar, Final

from langchain_core._api import LangChainBetaWarning
from langchain_core.language_models._compat_bridge import message_to_events
from langchain_core.messages import BaseMessage
from langgraph.stream import StreamChannel, StreamTransformer

from millstream.shared.events.modes import MODES
from millstream.shared.events.protocol import (
    COMMAND_MODES,
    CUSTOM_PREFIX,
    INPUT_REQUESTED,
    MARK,
    MODE_CHANNELS,
)
from millstream.worker import private_entries
from millstream.worker.client_errors import show_event, show_task, show_tasks
from millstream.worker.encode import encode
from millstream.worker.graph_result import INTERRUPT, NewestValues, has_interrupts
from millstream.worker.graphs import Graph

# The project has accepted this warning, and no operator can act on it.
warnings.filterwarnings("ignore", "The v3 streaming protocol on Pregel", LangChainBetaWarning)

Namespace = tuple[str, ...]
ROLES: Final = {"human": "human", "system": "system"}  # of whole messages; all others are `ai`


class _AllModes(StreamTransformer):
    """Requests all modes, and forwards the events of tasks, which LangGraph's own transformers hold back."""

    _native: ClassVar[bool] = True  # LangGraph names the channel's events by the channel alone
    before_builtins: ClassVar[bool] = True
    required_stream_modes: ClassVar[tuple[str, ...]] = tuple(
        dict.fromkeys(library for name in COMMAND_MODES for library in MODES[name].library_modes)
    )

    def __init__(self, scope: Namespace = ()) -> None:
        super().__init__(scope)
        self._tasks: StreamChannel[dict[str, Any]] = StreamChannel("tasks")

    def init(self) -> dict[str, Any]:
        return {"wire_tasks": self._tasks}

    def process(self, event: Any) -> bool:
        if event["method"] == "tasks" and not self.scope:
            self._tasks.push(event["params"])
        return True


class ProtocolStream:
    """The events of one attempt in the protocol's form: see `events.EventStream`."""

    def __init__(self) -> None:
        """Starts without events."""
        self.newest: Final = NewestValues()
        self.paused = False
        self._interrupts: dict[str, Namespace] = {}  # interrupt id → its innermost graph
        self._names: dict[Namespace, str] = {}  # of running subgraphs
        self._messages: dict[str, str] = {}  # run of a model → id of the message that it streams

    async def run(self, graph: Graph, **arguments: Any) -> AsyncGenerator[tuple[str, bytes], None]:
        """Runs the graph; yields `(event name, JSON)`. Accepts the arguments of `Graph.astream`."""
        run = await graph.astream_events(version="v3", transformers=[_AllModes], **arguments)
        async with run:
            async for event in run:
                for translated in self.translate(event["method"], event["params"]):
                    yield translated

    def translate(self, method: str, params: Any) -> Iterator[tuple[str, bytes]]:
        """Yields the entries of one of LangGraph's events, and records the state that it contains."""
        namespace, data, at = tuple(params["namespace"]), params["data"], params["timestamp"]
        if method == "values":
            encoded = encode(data)
            interrupts = params.get("interrupts", ())
            self._record_state(namespace, interrupts, data, encoded)
            # An event that has only interrupts is left out: each interrupt is an entry of its own.
            if data or not interrupts:
                yield _entry(method, namespace, at, encoded)
        elif method == "messages":
            for payload in self._translate_message(*data):
                yield _entry(method, namespace, at, encode(payload))
        elif method == "updates":
            yield from self._translate_updates(namespace, at, data)
        elif method == "lifecycle":
            yield self._translate_lifecycle(at, data)
        elif method == "tasks":  # wrapped by _AllModes
            task = show_task(data["data"])
            yield _entry(method, tuple(data["namespace"]), data["timestamp"], encode(task))
        elif method == "checkpoints":
            yield _entry(
                method,
                namespace,
                at,
                encode(_checkpoint(show_tasks(private_entries.without_in_checkpoint(data)))),
            )
        elif method == "custom":
            yield _entry(method, namespace, at, encode({"payload": data}))
        elif method.startswith(CUSTOM_PREFIX):
            payload = {"name": method.removeprefix(CUSTOM_PREFIX), "payload": data}
            yield _entry("custom", namespace, at, encode(payload))
        elif method in MODE_CHANNELS:
            # Among the events of tools, `tool-error` alone has a message.
            event = show_event(data, "message") if method == "tools" else data
            yield _entry(method, namespace, at, encode(event))

    def namespace_of(self, interrupt_id: str) -> Namespace:
        """Returns the namespace of the innermost graph that raised the interrupt."""
        return self._interrupts.get(interrupt_id, ())

    def _record_state(
        self, namespace: Namespace, interrupts: Any, data: Any, encoded: bytes
    ) -> None:
        for interrupt in interrupts:
            self._interrupts.setdefault(interrupt.id, namespace)
        if not namespace:
            if data or not interrupts:
                self.newest.set(data, encoded)
            self.paused = self.paused or bool(interrupts)

    def _translate_updates(
        self, namespace: Namespace, at: int, data: Any
    ) -> Iterator[tuple[str, bytes]]:
        for node, update in data.items():
            if node == INTERRUPT and has_interrupts(data):
                self.paused = self.paused or not namespace
            elif node != "__metadata__":  # says that the update was cached
                yield _entry("updates", namespace, at, encode({"node": node, "values": update}))

    def _translate_message(
        self, payload: Any, metadata: dict[str, Any]
    ) -> Iterator[dict[str, Any]]:
        """Yields the events of a message. Each has the message's id, so that two messages can stream at a time."""
        node = metadata.get("langgraph_node")
        if isinstance(payload, BaseMessage):
            for message_event in message_to_events(payload):
                event: dict[str, Any] = {**message_event, "message_id": payload.id}
                if event["event"] == "message-start":
                    event["role"] = ROLES.get(payload.type, "ai")
                    event["metadata"] = {**event.get("metadata", {}), "langgraph_node": node}
                yield event
            return
        run = str(metadata.get("run_id"))
        event = dict(payload)
        if event["event"] == "error":
            event = show_event(event, "message")
        if event["event"] == "message-start":
            self._messages[run] = event.get("id") or event.get("message_id") or run
            event["id"] = self._messages[run]
            event["metadata"] = {**event.get("metadata", {}), "langgraph_node": node}
        event["message_id"] = self._messages.get(run, run)
        if event["event"] in ("message-finish", "error"):
            self._messages.pop(run, None)
        yield event

    def _translate_lifecycle(self, at: int, data: Any) -> tuple[str, bytes]:
        """Returns the entry of a subgraph. LangGraph streams these events in the root namespace."""
        namespace = tuple(data["namespace"])
        event = show_event({**data}, "error")
        if event["event"] == "started":
            self._names[namespace] = event.get("graph_name", "")
        else:
            name = self._names.pop(namespace, "")
            if name:
                event["graph_name"] = name
            # The protocol has no `drained`, which means that the subgraph continues elsewhere.
            if event["event"] == "drained":
                event["event"] = "interrupted"
        return _entry("lifecycle", namespace, at, encode(event))


def input_requested(namespace: Namespace, interrupt: dict[str, Any]) -> tuple[str, bytes]:
    """Returns the entry for an interrupt (the result of `show_interrupt`) of a paused run.

    It has the value twice, as clients read one name or the other.
    """
    value = interrupt["value"]
    data = {"interrupt_id": interrupt["id"], "payload": value, "value": value}
    if "response_schema" in interrupt:
        data["response_schema"] = interrupt["response_schema"]
    return _entry(INPUT_REQUESTED, namespace, round(time.time() * 1000), encode(data))


def _entry(method: str, namespace: Namespace, at: int, data: bytes) -> tuple[str, bytes]:
    return f"{MARK}{method}", b'{"namespace":%b,"timestamp":%d,"data":%b}' % (
        encode(namespace),
        at,
        data,
    )


def _checkpoint(payload: Any) -> dict[str, Any]:
    """Returns a checkpoint with the protocol's fields and those of LangGraph's event."""
    metadata = payload.get("metadata") or {}
    checkpoint = {**payload, "id": _checkpoint_id(payload.get("config"))}
    parent_id = _checkpoint_id(payload.get("parent_config"))
    if parent_id is not None:
        checkpoint["parent_id"] = parent_id
    checkpoint["step"], checkpoint["source"] = metadata.get("step"), metadata.get("source")
    return checkpoint


def _checkpoint_id(config: Any) -> str | None:
    checkpoint_id: str | None = ((config or {}).get("configurable") or {}).get("checkpoint_id")
    return checkpoint_id
