"""The stream modes `tools` and `lifecycle` of runs: calls of tools, and subgraphs that start and end.

Source: the types of both SDKs (`ToolsStreamEvent`, `LifecycleStreamEvent`). LangGraph tells of tools by other words,
and of subgraphs by the tasks in them; the event streaming protocol has its own form of both (protocol_stream.py).
"""

from dataclasses import dataclass
from typing import Any, Final

from langgraph.config import get_stream_writer
from langgraph.pregel.protocol import StreamProtocol
from langgraph.stream.transformers import LifecycleTransformer

from millstream.worker.failure import error_of

Namespace = tuple[str, ...]
STREAM: Final = (
    "__pregel_stream"  # where LangGraph has subgraphs stream to, beside their own caller
)


class ToolCalls:
    """Tells of the calls of tools; each event names its tool."""

    def __init__(self) -> None:
        """No call is under way yet."""
        self._names: dict[str, str] = {}  # id of a call under way → its tool

    def translate(self, told: dict[str, Any]) -> dict[str, Any]:
        """Returns one of LangGraph's events of a tool as the SDKs have it."""
        call = told["tool_call_id"]
        match told["event"]:
            case "tool-started":
                self._names[call] = told["tool_name"]
                event = {"event": "on_tool_start", "input": told.get("input")}
            case "tool-output-delta":
                event = {"event": "on_tool_event", "data": told["delta"]}
            case "tool-finished":
                event = {"event": "on_tool_end", "output": told["output"]}
            case _:
                event = {"event": "on_tool_error", "error": told.get("message")}
        name = self._names.get(call, "")
        if event["event"] in ("on_tool_end", "on_tool_error"):
            self._names.pop(call, None)
        return {**event, "toolCallId": call, "name": name}


@dataclass(frozen=True, slots=True)
class SubgraphTask:
    """A task in a subgraph, as it comes through the root's own stream: see `watched`."""

    namespace: Namespace
    payload: dict[str, Any]


class Subgraphs(LifecycleTransformer):
    """Tells when subgraphs start and end, by the tasks that LangGraph streams."""

    def __init__(self) -> None:
        """No subgraph has started yet."""
        super().__init__()
        self._told: list[tuple[Namespace, dict[str, Any]]] = []
        self._error: Any = None  # of the task whose end is looked at

    def tell(
        self, namespace: Namespace, payload: dict[str, Any]
    ) -> list[tuple[Namespace, dict[str, Any]]]:
        """Returns what a task's start or end says of subgraphs: their namespaces and events."""
        self._error = payload.get("error")
        params: Any = {"namespace": list(namespace), "timestamp": 0, "data": payload}
        self.process({"type": "event", "seq": 0, "method": "tasks", "params": params})
        return self._taken()

    def end(self, error: BaseException | None) -> list[tuple[Namespace, dict[str, Any]]]:
        """Returns the ends of the subgraphs that were under way when the run ended."""
        self._error = error
        if error is None:
            self.finalize()
        else:
            self.fail(error)
        return self._taken()

    def _taken(self) -> list[tuple[Namespace, dict[str, Any]]]:
        told, self._told = self._told, []
        return told

    def _on_started(
        self, ns: Namespace, graph_name: str | None, trigger_call_id: str | None
    ) -> None:
        event: dict[str, Any] = {"event": "started", "namespace": list(ns)}
        if graph_name:
            event["graph_name"] = graph_name
        call = self._pending_tool_calls.get(trigger_call_id or "")
        if call is not None:
            event["tool_call_id"] = call
        self._told.append((ns, event))

    def _on_terminal(self, ns: Namespace, status: str, error: str | None) -> None:
        # `drained` is no word of the SDKs: it goes on elsewhere.
        word = "interrupted" if status == "drained" else status
        event: dict[str, Any] = {"event": word, "namespace": list(ns)}
        if error is not None:
            known = isinstance(self._error, BaseException)
            event["error"] = (
                error_of(self._error) if known else {"error": "Error", "message": str(error)}
            )
        self._told.append((ns, event))


def watched(arguments: dict[str, Any]) -> dict[str, Any]:
    """Returns the arguments of `Graph.astream` with which the tasks of subgraphs come through mode `custom`.

    The way that LangGraph has for it, `subgraphs=True`, changes what the other modes tell: a message that a model
    streams in a subgraph is then not told of the node around it.
    """
    config = arguments["config"]
    configurable = {
        **config.get("configurable", {}),
        STREAM: StreamProtocol(_pass_on, {"tasks"}),
    }
    return {**arguments, "config": {**config, "configurable": configurable}}


def _pass_on(chunk: Any) -> None:
    namespace, _, payload = chunk
    if namespace:  # those of the root come by themselves
        get_stream_writer()(SubgraphTask(tuple(namespace), payload))
