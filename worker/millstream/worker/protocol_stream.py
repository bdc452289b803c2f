"""LangGraph's native events → those of the event streaming protocol, as the run's stream holds them.

LangGraph gives the protocol's events in process (`astream_events(version="v3")`), with objects of its own in
them. Here they become what goes over the wire: one entry an event, named by its method, with its params.
Source: langchain_protocol; the reference server's events, of which it leaves four channels out.
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
from millstream.worker.encode import encode
from millstream.worker.graph_result import INTERRUPT, Newest, asks
from millstream.worker.graphs import Graph

# Known, and decided: no operator can do anything about it.
warnings.filterwarnings("ignore", "The v3 streaming protocol on Pregel", LangChainBetaWarning)

Namespace = tuple[str, ...]
ROLES: Final = {"human": "human", "system": "system"}  # of a whole message; any other is the AI's


class _Everything(StreamTransformer):
    """Asks LangGraph for all modes, and lets its events of tasks through, which others hold back."""

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
    """One attempt's events, and what it leaves behind when it ends: see `events.EventStream`."""

    def __init__(self) -> None:
        """Nothing has been streamed yet."""
        self.newest: Final = Newest()
        self.paused = False
        self._asked: dict[str, Namespace] = {}  # interrupt id → the innermost graph that asks
        self._names: dict[Namespace, str] = {}  # of subgraphs under way
        self._messages: dict[str, str] = {}  # run of a model → id of the message that it streams

    async def run(self, graph: Graph, **arguments: Any) -> AsyncGenerator[tuple[str, bytes], None]:
        """Runs the graph; yields `(event name, JSON)`. Takes the arguments of `Graph.astream`."""
        run = await graph.astream_events(version="v3", transformers=[_Everything], **arguments)
        async with run:
            async for event in run:
                for translated in self.translate(event["method"], event["params"]):
                    yield translated

    def translate(self, method: str, params: Any) -> Iterator[tuple[str, bytes]]:
        """Yields the entries of one of LangGraph's events, and notes what it tells of the run's end."""
        namespace, data, at = tuple(params["namespace"]), params["data"], params["timestamp"]
        if method == "values":
            encoded = encode(data)
            interrupts = params.get("interrupts", ())
            self._note(namespace, interrupts, data, encoded)
            if data or not interrupts:  # else it holds nothing but questions, which are told apart
                yield _entry(method, namespace, at, encoded)
        elif method == "messages":
            for told in self._message(*data):
                yield _entry(method, namespace, at, encode(told))
        elif method == "updates":
            yield from self._updates(namespace, at, data)
        elif method == "lifecycle":
            yield self._lifecycle(at, data)
        elif method == "tasks":  # as _Everything has wrapped it
            yield _entry(method, tuple(data["namespace"]), data["timestamp"], encode(data["data"]))
        elif method == "checkpoints":
            yield _entry(method, namespace, at, encode(_checkpoint(data)))
        elif method == "custom":
            yield _entry(method, namespace, at, encode({"payload": data}))
        elif method.startswith(CUSTOM_PREFIX):
            told = {"name": method.removeprefix(CUSTOM_PREFIX), "payload": data}
            yield _entry("custom", namespace, at, encode(told))
        elif method in MODE_CHANNELS:
            yield _entry(method, namespace, at, encode(data))

    def namespace_of(self, interrupt_id: str) -> Namespace:
        """Returns where it was asked."""
        return self._asked.get(interrupt_id, ())

    def _note(self, namespace: Namespace, interrupts: Any, data: Any, encoded: bytes) -> None:
        for interrupt in interrupts:
            self._asked.setdefault(interrupt.id, namespace)
        if not namespace:
            if data or not interrupts:
                self.newest.note(data, encoded)
            self.paused = self.paused or bool(interrupts)

    def _updates(self, namespace: Namespace, at: int, data: Any) -> Iterator[tuple[str, bytes]]:
        for node, update in data.items():
            if node == INTERRUPT and asks(data):
                self.paused = self.paused or not namespace
            elif node != "__metadata__":  # says that the update was cached
                yield _entry("updates", namespace, at, encode({"node": node, "values": update}))

    def _message(self, payload: Any, metadata: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """Yields the events of a message; each names it, so that two may stream at a time."""
        node = metadata.get("langgraph_node")
        if isinstance(payload, BaseMessage):
            for event in message_to_events(payload):
                told: dict[str, Any] = {**event, "message_id": payload.id}
                if told["event"] == "message-start":
                    told["role"] = ROLES.get(payload.type, "ai")
                    told["metadata"] = {**told.get("metadata", {}), "langgraph_node": node}
                yield told
            return
        run = str(metadata.get("run_id"))
        told = dict(payload)
        if told["event"] == "message-start":
            self._messages[run] = told.get("id") or told.get("message_id") or run
            told["id"] = self._messages[run]
            told["metadata"] = {**told.get("metadata", {}), "langgraph_node": node}
        told["message_id"] = self._messages.get(run, run)
        if told["event"] in ("message-finish", "error"):
            self._messages.pop(run, None)
        yield told

    def _lifecycle(self, at: int, data: Any) -> tuple[str, bytes]:
        """Returns the event of a subgraph, which LangGraph tells at the root."""
        namespace = tuple(data["namespace"])
        told = {**data}
        if told["event"] == "started":
            self._names[namespace] = told.get("graph_name", "")
        else:
            name = self._names.pop(namespace, "")
            if name:
                told["graph_name"] = name
            if told["event"] == "drained":  # no status of the protocol: it goes on elsewhere
                told["event"] = "interrupted"
        return _entry("lifecycle", namespace, at, encode(told))


def input_requested(namespace: Namespace, interrupt: dict[str, Any]) -> tuple[str, bytes]:
    """Returns the entry that tells what a paused run waits for (an interrupt as `show_interrupt` has it).

    Clients look for the question under either name.
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
    """Returns a checkpoint as the protocol tells it, and with all that LangGraph tells."""
    metadata = payload.get("metadata") or {}
    told = {**payload, "id": _id(payload.get("config"))}
    parent = _id(payload.get("parent_config"))
    if parent is not None:
        told["parent_id"] = parent
    told["step"], told["source"] = metadata.get("step"), metadata.get("source")
    return told


def _id(config: Any) -> str | None:
    found: str | None = ((config or {}).get("configurable") or {}).get("checkpoint_id")
    return found
