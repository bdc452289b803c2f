"""The stream modes `tools` and `lifecycle`: calls of tools, and subgraphs that start and end.

Source: the types of both SDKs (`ToolsStreamEvent`, `LifecycleStreamEvent`). LangGraph names tool events differently,
and streams the tasks of subgraphs instead of their starts and ends. The event streaming protocol has its own form of
both (protocol_stream.py).
"""

from dataclasses import dataclass
from typing import Any, Final

from langgraph.config import get_stream_writer
from langgraph.pregel.protocol import StreamProtocol
from langgraph.stream.transformers import LifecycleTransformer

from millstream.worker.client_errors import show_error, show_text

Namespace = tuple[str, ...]
# LangGraph's key for a stream to which subgraphs also stream, beside that of their caller.
STREAM: Final = "__pregel_stream"


class ToolCalls:
    """Translates the events of tools; each event gets the name of its tool."""

    def __init__(self) -> None:
        """Starts without calls in progress."""
        self._names: dict[str, str] = {}  # id of a call in progress → its tool

    def translate(self, payload: dict[str, Any]) -> dict[str, Any]:
        """Returns one of LangGraph's tool events in the SDKs' form."""
        call_id = payload["tool_call_id"]
        match payload["event"]:
            case "tool-started":
                self._names[call_id] = payload["tool_name"]
                event = {"event": "on_tool_start", "input": payload.get("input")}
            case "tool-output-delta":
                event = {"event": "on_tool_event", "data": payload["delta"]}
            case "tool-finished":
                event = {"event": "on_tool_end", "output": payload["output"]}
            case _:
                event = {"event": "on_tool_error", "error": show_text(payload.get("message"))}
        name = self._names.get(call_id, "")
        if event["event"] in ("on_tool_end", "on_tool_error"):
            self._names.pop(call_id, None)
        return {**event, "toolCallId": call_id, "name": name}


@dataclass(frozen=True, slots=True)
class SubgraphTask:
    """A task of a subgraph in the root graph's stream: see `with_subgraph_tasks`."""

    namespace: Namespace
    payload: dict[str, Any]


class Subgraphs(LifecycleTransformer):
    """Derives the starts and ends of subgraphs from the tasks that LangGraph streams."""

    def __init__(self) -> None:
        """Starts without subgraphs."""
        super().__init__()
        self._events: list[tuple[Namespace, dict[str, Any]]] = []
        self._error: Any = None  # of the task that `translate` reads

    def translate(
        self, namespace: Namespace, payload: dict[str, Any]
    ) -> list[tuple[Namespace, dict[str, Any]]]:
        """Returns the namespaces and events of the subgraphs that started or ended with this task."""
        self._error = payload.get("error")
        params: Any = {"namespace": list(namespace), "timestamp": 0, "data": payload}
        self.process({"type": "event", "seq": 0, "method": "tasks", "params": params})
        return self._take_events()

    def end(self, error: BaseException | None) -> list[tuple[Namespace, dict[str, Any]]]:
        """Returns the ends of the subgraphs that were running when the run ended."""
        self._error = error
        if error is None:
            self.finalize()
        else:
            self.fail(error)
        return self._take_events()

    def _take_events(self) -> list[tuple[Namespace, dict[str, Any]]]:
        events, self._events = self._events, []
        return events

    def _on_started(
        self, ns: Namespace, graph_name: str | None, trigger_call_id: str | None
    ) -> None:
        event: dict[str, Any] = {"event": "started", "namespace": list(ns)}
        if graph_name:
            event["graph_name"] = graph_name
        call_id = self._pending_tool_calls.get(trigger_call_id or "")
        if call_id is not None:
            event["tool_call_id"] = call_id
        self._events.append((ns, event))

    def _on_terminal(self, ns: Namespace, status: str, error: str | None) -> None:
        # The SDKs do not know `drained`, which means that the subgraph continues elsewhere.
        name = "interrupted" if status == "drained" else status
        event: dict[str, Any] = {"event": name, "namespace": list(ns)}
        if error is not None:
            event["error"] = (
                show_error(self._error)
                if isinstance(self._error, BaseException)
                else {"error": "Error", "message": show_text(str(error))}
            )
        self._events.append((ns, event))


def with_subgraph_tasks(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns arguments of `Graph.astream` that make mode `custom` contain the tasks of subgraphs.

    LangGraph's own option, `subgraphs=True`, would change the other modes: a message that a model streams in a
    subgraph would then have the subgraph's namespace instead of belonging to the node around it.
    """
    config = arguments["config"]
    configurable = {
        **config.get("configurable", {}),
        STREAM: StreamProtocol(_forward, {"tasks"}),
    }
    return {**arguments, "config": {**config, "configurable": configurable}}


def _forward(chunk: Any) -> None:
    namespace, _, payload = chunk
    if namespace:  # the root's tasks are in its stream already
        get_stream_writer()(SubgraphTask(tuple(namespace), payload))
