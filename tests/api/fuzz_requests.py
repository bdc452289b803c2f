"""Random requests over all routes, commands of WebSockets, and methods of MCP and A2A: examples with odd changes."""

import copy
import json
import random
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import quote

from api.requests import UNKNOWN_ID
from millstream.api.a2a.rpc import LEGACY, METHODS
from millstream.api.examples import EXAMPLES, MESSAGE, TOOL_CALL
from millstream.api.http.endpoint import Endpoint
from millstream.api.http.schema_base import JsonRpcCall
from millstream.api.protocol.commands import NOT_SUPPORTED
from millstream.api.routes import ENDPOINTS

GRAPHS: Final = ["steps", "chat", "approval", "nested", "boom", "custom", "echo"]
ODD: Final[list[Any]] = [
    None, True, False, 0, -1, 1, 2**31, 2**63 - 1, 2**64 - 1, 1.5, -0.0, 1e308, "", " ", "*", "\0", "a\nb", "é🦊\u2028",
    "__root__", "step", "../..", "{}", "[]", "null", "-", "0-0", "1-1", "9" * 19 + "-1", UNKNOWN_ID, "ms:{x}",
    "a" * 5000, [], {}, [None], [[]], [{}], {"": {}}, {"a": [1, {"b": None}]}, {"$eq": 1}, {"lc": 2, "id": ["os"]},
    [["a", 1]], {"checkpoint_id": UNKNOWN_ID}, list(range(300)), {str(n): n for n in range(300)},
]  # fmt: skip
HEADERS: Final = {
    "accept": ["*/*", "text/event-stream", "x", ""],
    "content-type": ["application/json", "text/plain", "application/json; charset=utf-7", "x"],
    "last-event-id": ["-1", "-", "0-0", "x", "9" * 20, "1-1"],
    "prefer": ["return=minimal", ";;"],
    "traceparent": ["00-" + "a" * 32 + "-" + "b" * 16 + "-01", "00-x"],
    "a2a-version": ["1.0", "0.3", "9.9", "x"],
    "origin": ["https://a.example", "null", "x"],
    "if-none-match": ["*", '"x"'],
    "x-request-id": ["a", "a" * 300],
    "x-forwarded-for": ["1.2.3.4", "x,,"],
    "x-forwarded-prefix": ["/a", "//"],
    "expect": ["100-continue"],
    "content-encoding": ["gzip"],
}
# Fields that reach further than this test may: other hosts, or a time at which nobody deletes what remains.
LEFT_OUT: Final = {"webhook"}
COMMANDS: Final = (
    "run.start", "input.respond", "agent.getTree", "subscription.subscribe", "subscription.unsubscribe", "no.such",
    *sorted(NOT_SUPPORTED),
)  # fmt: skip
MCP_METHODS: Final = (
    "initialize", "ping", "tools/list", "tools/call", "resources/list", "prompts/list", "notifications/initialized",
    "completion/complete", "logging/setLevel", "no/such",
)  # fmt: skip
BAD_JSON: Final = (b"", b"{", b"[" * 2000, b'{"a":NaN}', b'"\xff"', b'{"a":"\\ud800"}', b"1e999")


@dataclass
class FuzzRequest:
    """One request. `door` names what it is about."""

    door: str
    method: str
    path: str
    headers: dict[str, str]
    body: bytes | None
    frames: list[bytes] = field(default_factory=list)  # of a WebSocket


class Fuzzer:
    """Makes requests from one seed. Ids of what exists are added to `ids`, and used again."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self.ids: dict[str, list[str]] = {
            "thread_id": [UNKNOWN_ID],
            "run_id": [UNKNOWN_ID],
            "assistant_id": [*GRAPHS, UNKNOWN_ID],
            "cron_id": [UNKNOWN_ID],
            "checkpoint_id": [UNKNOWN_ID],
        }
        self._count = self._random.randrange(1000)  # so that several begin with different routes

    def next(self) -> FuzzRequest:
        """Returns the next request: each route in turn, and between them the other doors."""
        self._count += 1
        kind = self._count % 6
        if kind == 0:
            return self._socket()
        if kind == 1:
            return self._rpc()
        return self._route(ENDPOINTS[self._count % len(ENDPOINTS)])

    def learn(self, body: Any) -> None:
        """Takes ids from a response."""
        for item in body if isinstance(body, list) else [body]:
            if isinstance(item, dict):
                for name, known in self.ids.items():
                    if isinstance(item.get(name), str) and len(known) < 200:
                        known.append(item[name])

    # ── Doors ───────────────────────────────────────────────────────────────────────────────

    def _route(self, endpoint: Endpoint) -> FuzzRequest:
        example = EXAMPLES.get((endpoint.method, endpoint.path))
        path = self._path(endpoint.path)
        query = dict(example.query) if example else {}
        if endpoint.query is not None:
            query = self._changed(query, list(endpoint.query.model_fields))
        pairs = [f"{quote(name)}={quote(_text(value))}" for name, value in query.items()]
        body = None
        if endpoint.body is not None and endpoint.body is not JsonRpcCall:
            value = copy.deepcopy(example.body) if example else {}
            body = self._body(value, list(endpoint.body.model_fields))
        door = f"{endpoint.method} {endpoint.path}"
        target = path + ("?" + "&".join(pairs) if pairs else "")
        return FuzzRequest(door, endpoint.method, target, self._headers(), body)

    def _rpc(self) -> FuzzRequest:
        if self._random.random() < 0.4:
            call = {**copy.deepcopy(TOOL_CALL), "method": self._random.choice(MCP_METHODS)}
            path, door = "/mcp/", f"MCP {call['method']}"
        else:
            call = {**copy.deepcopy(MESSAGE), "method": self._random.choice([*METHODS, *LEGACY])}
            ids = {"id": self._thread_and_run(), "contextId": self._id("thread_id")}
            if self._random.random() < 0.6:
                call["params"] = ids
            path, door = self._path("/a2a/{assistant_id}"), f"A2A {call['method']}"
        headers = {"accept": "application/json, text/event-stream", **self._headers(0.1)}
        if self._random.random() < 0.7:
            call["params"] = self._deeply_changed(call["params"])
        body = self._body(call, ["jsonrpc", "id", "method", "params"], 0.2)
        return FuzzRequest(door, "POST", path, headers, body)

    def _socket(self) -> FuzzRequest:
        frames = []
        for number in range(4):
            method = self._random.choice(COMMANDS)
            params: Any = {
                "assistant_id": self._id("assistant_id"),
                "input": {"items": []},
                "run_id": self._id("run_id"),
                "channels": ["values"],
                "interrupt_id": "a" * 32,
                "responses": [{"interrupt_id": "a" * 32, "response": 1}],
            }
            command = {"id": number, "method": method, "params": self._deeply_changed(params)}
            frames.append(self._body(command, ["id", "method", "params"], 0.2))
        path = self._path("/threads/{thread_id}/stream/events")
        return FuzzRequest("WS", "GET", path, {}, None, frames)

    # ── Values ──────────────────────────────────────────────────────────────────────────────

    def _path(self, path: str) -> str:
        for name in ("thread_id", "run_id", "assistant_id", "agent_id", "cron_id", "checkpoint_id"):
            part = f"{{{name}}}"
            if part in path:
                chosen = self._id("assistant_id" if name == "agent_id" else name)
                path = path.replace(part, quote(chosen, safe=""))
        odd = self._random.choice(["a", "x%2fy", "%00", "..", "no-such"])
        return path.replace("{queue}", f"fuzz-{odd}").replace("{namespace}", odd)

    def _id(self, name: str) -> str:
        if self._random.random() < 0.1:
            return str(self._random.choice([odd for odd in ODD if odd and isinstance(odd, str)]))[
                :300
            ]
        return self._random.choice(self.ids[name][-20:])

    def _thread_and_run(self) -> str:
        return f"{self._id('thread_id')}:{self._id('run_id')}"

    def _headers(self, share: float = 0.3) -> dict[str, str]:
        if self._random.random() > share:
            return {}
        names = self._random.sample(sorted(HEADERS), 2)
        return {name: self._random.choice(HEADERS[name]) for name in names}

    def _body(self, value: Any, fields: list[str], share: float = 0.6) -> bytes:
        if self._random.random() < 0.05:
            return self._random.choice(BAD_JSON)
        if isinstance(value, dict):
            if self._random.random() < share:
                value = self._changed(value, fields)
            value = {name: item for name, item in value.items() if name not in LEFT_OUT}
        elif self._random.random() < share:
            value = self._random.choice(ODD)
        return json.dumps(value).encode()

    def _changed(self, value: dict[str, Any], fields: list[str]) -> dict[str, Any]:
        value = dict(value)
        for _ in range(self._random.randint(1, 3)):
            name = self._random.choice([*fields, "unknown"])
            if name in self.ids and self._random.random() < 0.7:
                value[name] = self._id(name)
            elif self._random.random() < 0.2:
                value.pop(name, None)
            else:
                value[name] = self._random.choice(ODD)
        if isinstance(value.get("after_seconds"), float | int):
            value["after_seconds"] = 0  # what is due later would outlive the test
        return value

    def _deeply_changed(self, value: Any) -> Any:
        """Changes one value anywhere in it."""
        if isinstance(value, dict) and value and self._random.random() < 0.8:
            name = self._random.choice(sorted(value))
            return {**value, name: self._deeply_changed(value[name])}
        if isinstance(value, list) and value and self._random.random() < 0.8:
            return [*value[:-1], self._deeply_changed(value[-1])]
        return self._random.choice(ODD)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
