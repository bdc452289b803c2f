"""The commands of the protocol and the methods of MCP and A2A, as doors of the matrix."""

import ast
import inspect
import textwrap
from typing import Any, Final

from api.matrix_doors import (
    ASSISTANT,
    ASSISTANTS,
    CREATE,
    EACH_USER,
    EVENTS,
    LIST,
    NOT_SERVED,
    READ,
    RECORD,
    RUN,
    STEPS,
    STREAM,
    TAKEN,
    THREADS,
    Door,
)
from millstream.api.a2a import rpc
from millstream.api.protocol import commands, websocket

COMMANDS: Final = "POST /threads/{thread_id}/commands"
SOCKET: Final = "WS /threads/{thread_id}/stream/events"
SOCKETS: Final = (SOCKET, "WS /threads/{thread_id}/stream")
MCP, A2A = "POST /mcp", "POST /a2a/{assistant_id}"


def known_commands() -> set[str]:
    """Returns the commands that the server knows, also those that it does not support."""
    known = set(commands.NOT_SUPPORTED)
    for function in (commands.execute, websocket.ProtocolSocket._subscription):
        tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
        known |= {
            each.value
            for node in ast.walk(tree)
            if isinstance(node, ast.MatchValue | ast.Compare)
            for each in ast.walk(node)
            if isinstance(each, ast.Constant) and isinstance(each.value, str) and "." in each.value
        }
    return known - {"subscription."}


# ── Protocol ────────────────────────────────────────────────────────────────────────────────


def _command(row: Any, asks: str, method: str, **more: Any) -> tuple[str, dict[str, Any]]:
    body = {"id": 1, "method": method, "params": more.pop("params", {})}
    return method, {"row": row, "asks": asks, "body": body, **more}


RESPOND = {"responses": [{"interrupt_id": "{interrupt_id}", "response": True}]}
PAUSED = {"thread_id": "paused_thread_id"}
ON_BOTH = dict(
    [
        _command(RECORD, f"{READ}; {RUN}", "run.start", params=STEPS, taken=TAKEN),
        _command(
            RECORD, f"{READ}; {RUN}", "input.respond", params=RESPOND, path=PAUSED, fresh=True
        ),
        _command(RECORD, READ, "agent.getTree"),
    ]
)
NEITHER = [*sorted(commands.NOT_SUPPORTED), "no.such"]


def _protocol() -> dict[str, Door]:
    doors = {f"{COMMANDS} # {method}": Door(**each) for method, each in ON_BOTH.items()}
    for method in NEITHER:
        _, each = _command(NOT_SERVED, "nothing", method)
        doors[f"{COMMANDS} # {method}"] = Door(**each)
    for method, each in ON_BOTH.items():  # a handshake asks for the right to read
        asks = each["asks"] if READ in each["asks"] else f"{READ}; {each['asks']}"
        doors[f"{SOCKET} # {method}"] = Door(**{**each, "asks": asks})
    for method in [*NEITHER, "subscription.unsubscribe"]:
        params = {"subscription_id": "none"} if "unsub" in method else {}
        _, each = _command(NOT_SERVED, READ, method, params=params)
        doors[f"{SOCKET} # {method}"] = Door(**each)
    for socket in SOCKETS:
        _, each = _command(STREAM, READ, "subscription.subscribe", params=EVENTS)
        doors[f"{socket} # subscription.subscribe"] = Door(**each)
    return doors


# ── MCP and A2A ─────────────────────────────────────────────────────────────────────────────


def _rpc(row: Any, asks: str, method: str, params: dict[str, Any], **more: Any) -> Door:
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params}
    return Door(row, asks, body, **more)


INITIALIZE = {
    "protocolVersion": "2025-06-18",
    "capabilities": {},
    "clientInfo": {"name": "matrix", "version": "1"},
}


def _mcp(path: str) -> dict[str, Door]:
    tools = f"{ASSISTANTS}; {ASSISTANT}"
    call = {"name": "{tool}", "arguments": {"items": []}}
    return {
        f"{path} # initialize": _rpc(EACH_USER, "nothing", "initialize", INITIALIZE),
        f"{path} # ping": _rpc(EACH_USER, "nothing", "ping", {}),
        f"{path} # tools/list": _rpc(LIST, tools, "tools/list", {}),
        f"{path} # tools/call": _rpc(RECORD, f"{tools}; {RUN}", "tools/call", call),
        f"{path} # no/such": _rpc(NOT_SERVED, "nothing", "no/such", {}),
        f"{path} # resources/list": _rpc(NOT_SERVED, "nothing", "resources/list", {}),
        path.replace("POST", "GET"): Door(NOT_SERVED),
        path.replace("POST", "DELETE"): Door(NOT_SERVED),
    }


def _message(legacy: bool, **ids: str) -> dict[str, Any]:
    kinds = {"kind": "message"} if legacy else {}
    part = {"kind": "text", "text": "hello"} if legacy else {"text": "hello"}
    role = "user" if legacy else "ROLE_USER"
    return {"message": {**kinds, "role": role, "messageId": "m1", "parts": [part], **ids}}


def _a2a() -> dict[str, Door]:
    doors: dict[str, Door] = {}

    def add(row: Any, asks: str, method: str, params: Any, name: str = "", **more: Any) -> None:
        at = {"assistant_id": "chat"} | more.pop("lists", {})
        asks = f"{ASSISTANT}; {asks}" if asks else ASSISTANT
        doors[f"{A2A} # {method}{name}"] = _rpc(row, asks, method, params, path=at, **more)

    task = {"id": "{task_id}"}
    for method, (_, kind) in {**rpc.METHODS, **rpc.LEGACY}.items():
        legacy = method in rpc.LEGACY
        match kind:
            case "on_message_send" | "on_message_send_stream":
                message = _message(legacy)
                add(EACH_USER, f"{RUN}; {CREATE}; {READ}", method, message)
                message = _message(legacy, contextId="{context_id}")
                add(RECORD, f"{RUN}; {READ}", method, message, " in a context", taken=TAKEN)
                message = _message(legacy, taskId="{task_id}")
                add(RECORD, READ, method, message, " to a task", allowed="accepts no message")
            case "on_get_task":
                add(RECORD, READ, method, task)
            case "on_list_tasks":
                add(LIST, READ, method, {"contextId": "{context_id}"}, " of a context")
                add(LIST, f"{THREADS}; {READ}", method, {}, lists={"task": "task_id"})
            case "on_cancel_task":
                add(RECORD, READ, method, task, allowed="no active run")
            case "on_subscribe_to_task":
                add(RECORD, READ, method, task, allowed="The task has ended")
            case _:
                of_task = {"taskId": "{task_id}", "id": "{task_id}"}
                config = {"pushNotificationConfig": {"url": "https://a.example"}}
                add(NOT_SERVED, "", method, {**of_task, **config} if "set" in method else of_task)
    add(NOT_SERVED, "", "no/such", {})
    for path in (A2A, f"{A2A}/"):
        doors[path] = _rpc(RECORD, ASSISTANT, "GetTask", {"id": "none"}, allowed="ask")
    return doors


CALLS: Final = {**_protocol(), **_mcp(MCP), **_mcp(f"{MCP}/"), **_a2a()}
