"""Each door of the server with each caller: matrix_doors.py has the table, and a door that it lacks fails."""

import asyncio
import json
import re
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.matrix_calls import CALLS, known_commands
from api.matrix_doors import (
    CALLERS,
    DOORS,
    EVENTS,
    FORBIDDEN,
    LEFT_OUT,
    MISSING,
    NO_USER,
    OK,
    SAME,
    SILENT,
    Door,
)
from api.matrix_page import page
from api.matrix_scene import UNKNOWN, Ids, Scene, clean
from api.requests import UNKNOWN_ID, System
from harness.processes import Process
from millstream.api.routes import ENDPOINTS, SOCKETS

DOCS = Path(__file__).parents[2] / "docs"
AUTH_FILE = Path(__file__).parents[1] / "graphs" / "matrix_auth.py"
ALL = {**DOORS, **CALLS}
AT_ONCE = 8  # doors
NAME = re.compile(r"\{(\w+)\}")
UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
JSON = re.compile(r"\s*[\[{0-9]")
COMMENT = re.compile(r"^:.*\r?\n(\r?\n)?", re.MULTILINE)  # keepalives
EVENT = "event: "
ACCEPT = "application/json, text/event-stream"


@pytest.fixture(scope="module")
def log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("matrix") / "questions"


@pytest.fixture(scope="module")
def api(system: System, log: Path) -> Iterator[Process]:
    config = log.with_name("langgraph.json")
    graphs = {"steps": "./nowhere.py:graph"}  # the API reads no graphs
    config.write_text(json.dumps({"graphs": graphs, "auth": {"path": f"{AUTH_FILE}:auth"}}))
    process = system.fleet.api(config, MATRIX_LOG=str(log), KEEPALIVE_INTERVAL_SECS="0.2")
    yield process.wait_ready()
    process.stop()


@pytest.fixture
async def http(api: Process) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=api.url, timeout=30) as client:
        yield client


@dataclass(frozen=True)
class Reply:
    """A response, or the reply to a command over a WebSocket with the number of events that came with it."""

    status: int
    text: str
    total: str = ""

    def same_as(self, other: "Reply", ids: Ids, unknown: Ids) -> bool:
        """Returns whether the other one is for unknown ids, and they differ in the ids alone."""
        text = self.text
        for name, value in sorted(ids.items(), key=lambda item: -len(item[1])):
            text = text.replace(value, unknown[name])
        return (self.status, text, self.total) == (other.status, other.text, other.total)

    @property
    def values(self) -> list[Any]:
        """Its JSON values: one, or one for each event."""
        lines = [line for line in self.text.splitlines() if line.startswith("data: ")]
        texts = [line.removeprefix("data: ") for line in lines] or [self.text]
        return [json.loads(each) for each in texts if JSON.match(each)]

    @property
    def is_error(self) -> bool:
        """Whether it is an error, also one of JSON-RPC or of the protocol."""
        return self.status >= 400 or any(
            isinstance(each, dict)
            and ("jsonrpc" in each or each.get("type") == "error")
            and "error" in each
            for each in self.values
        )


# ── Requests ────────────────────────────────────────────────────────────────────────────────


def fill(template: Any, ids: Ids) -> Any:
    if isinstance(template, str):
        return NAME.sub(lambda name: ids[name[1]], template)
    if isinstance(template, dict):
        return {key: fill(value, ids) for key, value in template.items()}
    return [fill(each, ids) for each in template] if isinstance(template, list) else template


def names_of(name: str, door: Door) -> set[str]:
    """Returns the names in a scene that a door needs."""
    path = {door.path.get(each, each) for each in NAME.findall(name)}
    return path | set(door.path.values()) | set(NAME.findall(json.dumps(door.body) + door.query))


async def send(http: httpx.AsyncClient, caller: str, name: str, door: Door, ids: Ids) -> Reply:
    method, path = name.partition(" # ")[0].split(" ", 1)
    path = NAME.sub(lambda each: ids[door.path.get(each[1], each[1])], path)
    headers = {"x-door": name} | ({"x-user": caller} if caller != "nobody" else {})
    body = fill(door.body, ids)
    row = dict(zip(CALLERS, door.row.value, strict=True))
    gets_events = SILENT in row.values() and row.get(caller) == OK
    if method == "WS":
        return await command(str(http.base_url), path, headers, body, gets_events)
    if "/mcp" in path:
        headers["accept"] = ACCEPT
    request = http.build_request(method, path + fill(door.query, ids), json=body, headers=headers)
    response = await http.send(request, stream=True)
    text = ""
    async for chunk in response.aiter_text():
        text += chunk
        if door.first and response.status_code == 200 and (EVENT in text or not gets_events):
            break
    await response.aclose()
    text = COMMENT.sub("", text).strip()
    return Reply(response.status_code, text, response.headers.get("x-pagination-total", ""))


async def command(
    url: str, path: str, headers: dict[str, str], body: Any, gets_events: bool
) -> Reply:
    """Sends a command, and then waits for an event, or for the reply to another command."""
    events: list[str] = []
    try:
        async with connect(url.replace("http", "ws") + path, additional_headers=headers) as socket:
            await socket.send(json.dumps(body))
            reply = ""
            async for frame in socket:
                message = json.loads(frame)
                if message.get("id") == 2:
                    break
                if message.get("id") == 1:
                    reply = frame if isinstance(frame, str) else frame.decode()
                    if not gets_events:
                        await socket.send('{"id": 2, "method": "agent.getTree"}')
                else:
                    events.append(str(frame))
                if gets_events and reply and events:
                    break
            return Reply(200, f"data: {reply}" + "".join(f"\n{EVENT}{each}" for each in events))
    except InvalidStatus as refused:
        return Reply(refused.response.status_code, "")
    except ConnectionClosed as closed:
        return Reply(closed.rcvd.code - 4000 if closed.rcvd else 0, "")


def result_of(reply: Reply, door: Door, expected: str, ids: Ids) -> str:
    """Returns what a caller has got, as far as one reply shows it."""
    if reply.status in (401, 403):
        return NO_USER if reply.status == 401 else FORBIDDEN
    if expected in (LEFT_OUT, OK) and door.row.value[1] == LEFT_OUT and not reply.is_error:
        value = reply.values[0]
        visible = any(each in reply.text for name, each in ids.items() if name != "chat")
        counted = isinstance(value, int) and value > 0
        return OK if visible or counted or reply.total not in ("", "0") else LEFT_OUT
    if door.row.value[1] == SILENT and reply.status == 200 and not reply.is_error:
        return OK if EVENT in reply.text else SILENT
    if door.allowed and door.allowed in reply.text:
        return OK
    return "error" if reply.is_error else OK


async def try_door(http: httpx.AsyncClient, shared: Scene, name: str, door: Door) -> list[str]:
    """Returns what is not as the table says."""
    wrong, replies = [], {}
    needs = names_of(name, door)
    ids = await shared.ids(needs)
    for caller, expected in zip(CALLERS, door.row.value, strict=True):
        if door.fresh and caller in ("owner", "admin"):
            scene = Scene(httpx_of(http, "owner"))
            ids = await scene.ids(needs)
        elif "new_id" in needs:
            ids = await shared.ids(needs)
        reply = replies[caller] = await send(http, caller, name, door, ids)
        result = result_of(reply, door, expected, ids)
        if expected == MISSING:
            if door.taken:
                result = MISSING if door.taken in reply.text and reply.is_error else result
            else:
                unknown = {each: UNKNOWN.get(each, UNKNOWN_ID) for each in ids}
                other = await send(http, caller, name, door, unknown)
                result = (
                    MISSING if reply.same_as(other, ids, unknown) else f"{result}, not as {other}"
                )
        if expected == SAME and reply.status != 401:
            result = SAME if reply == replies["other"] else "differs"
        if result != expected:
            wrong.append(f"{name} for {caller}: {result}, not {expected}: {reply}"[:600])
    return wrong


def httpx_of(http: httpx.AsyncClient, caller: str) -> Any:
    return _Sender(http, {"x-user": caller, "x-door": "scene"})


class _Sender:
    """Sends requests of one caller."""

    def __init__(self, http: httpx.AsyncClient, headers: dict[str, str]) -> None:
        self._http = http
        self._headers = headers

    def __getattr__(self, method: str) -> Any:
        send = getattr(self._http, method)
        return lambda *args, **kwargs: send(*args, headers=self._headers, **kwargs)


# ── The matrix ──────────────────────────────────────────────────────────────────────────────


def test_the_table_has_each_door() -> None:
    doors = {each.partition(" # ")[0] for each in ALL}
    served = {f"{each.method} {each.path}" for each in ENDPOINTS}
    served |= {f"WS {path}" for path, _ in SOCKETS}
    assert served - doors == set()
    assert doors - served == {"GET /docs", "GET /openapi.json", "GET /no/such/path"}
    variants = defaultdict(set)
    for each in ALL:
        door, _, variant = each.partition(" # ")
        variants[door].add(variant)
    for door in ("POST /threads/{thread_id}/commands", "WS /threads/{thread_id}/stream/events"):
        assert {each for each in known_commands() if "subscription" not in each} <= variants[door]
    socket = variants["WS /threads/{thread_id}/stream/events"]
    assert {each for each in known_commands() if "subscription" in each} <= socket | {
        "subscription.reconnect"
    }


async def test_each_caller_gets_what_the_table_says(http: httpx.AsyncClient, log: Path) -> None:
    owner, admin = httpx_of(http, "owner"), httpx_of(http, "admin")
    shared, limit = Scene(owner), asyncio.Semaphore(AT_ONCE)
    await shared.ids({"item"})

    async def in_turn(name: str, door: Door) -> list[str]:
        async with limit:
            try:
                async with asyncio.timeout(60):
                    return await try_door(http, shared, name, door)
            except Exception as error:  # noqa: BLE001 - one of the doors that are wrong
                return [f"{name}: {error!r}"]

    try:
        results = await asyncio.gather(*(in_turn(name, door) for name, door in ALL.items()))
    finally:
        await clean(admin)
    wrong = [each for result in results for each in result]
    wrong += asks_that_differ(log)
    assert not wrong, "\n".join(wrong)


# ── Rules for all doors ─────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("method", "path", "content"),
    [
        ("GET", "/no/such/path", b""),
        ("PUT", "/threads", b"{}"),
        ("POST", "/threads", b"{"),
        ("POST", "/threads", b"[" * 100_000),
        ("GET", "/threads/not-an-id", b""),
        ("DELETE", "/mcp", b""),
        ("POST", "/a2a/none", b"\xff"),
    ],
)
async def test_without_a_user_nothing_else_is_looked_at(
    http: httpx.AsyncClient, method: str, path: str, content: bytes
) -> None:
    response = await http.request(method, path, content=content)
    assert (response.status_code, response.json()) == (401, {"detail": "no user"})


async def test_tools_that_a_user_may_not_read_are_left_out(http: httpx.AsyncClient) -> None:
    name = "POST /mcp # tools/list"
    for caller, shows in (("blind", False), ("other", True)):
        reply = await send(http, caller, name, ALL[name], {})
        tools = [tool["name"] for tool in reply.values[0]["result"]["tools"]]
        assert ("steps" in tools) is shows


async def test_each_subscription_of_a_socket_is_decided_anew(
    api: Process, withdraw: Callable[[], None]
) -> None:
    url = f"{api.url.replace('http', 'ws')}/threads/{UNKNOWN_ID}/stream/events"
    subscribe = {"id": 1, "method": "subscription.subscribe", "params": EVENTS}
    headers = {"x-user": "fickle", "x-door": "fickle"}
    replies = []
    async with connect(url, additional_headers=headers) as socket:
        for _ in range(2):
            await socket.send(json.dumps(subscribe))
            replies.append(json.loads(await socket.recv()))
            withdraw()
    assert [each["type"] for each in replies] == ["success", "error"]
    assert replies[1]["error"] == "permission_denied"


async def test_a_handshake_that_nobody_can_decide_asks_the_client_to_connect_again(
    api: Process,
) -> None:
    url = f"{api.url.replace('http', 'ws')}/threads/{UNKNOWN_ID}/stream/events"
    async with connect(url, additional_headers={"x-user": "fatal"}) as socket:
        with pytest.raises(ConnectionClosed) as closed:
            await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1012


@pytest.fixture
def withdraw(log: Path) -> Iterator[Callable[[], None]]:
    """Withdraws all rights of the user `fickle`."""
    denied = Path(f"{log}.denied")
    yield denied.touch
    denied.unlink()


def asks_that_differ(log: Path) -> list[str]:
    """Returns the doors whose questions about the owner are not those of the table."""
    questions_of: dict[str, dict[str, set[str]]] = defaultdict(dict)
    for line in log.read_text().splitlines():
        door, identity, question, keys = json.loads(line)
        if identity == "owner" and door != "scene":
            questions_of[door].setdefault(question, set(keys)).intersection_update(keys)
    wrong = []
    for name, door in ALL.items():
        expected, questions = door.questions, questions_of.get(name, {})
        if set(expected) != set(questions):
            wrong.append(f"{name}: asks {sorted(questions)}, not {sorted(expected)}")
        wrong += [
            f"{name}: {question} lacks {sorted(expected[question] - questions[question])}"
            for question in set(expected) & set(questions)
            if expected[question] - questions[question]
        ]
    return wrong


def test_the_document_has_the_table() -> None:
    """To renew it, write what `page` returns."""
    assert (DOCS / "access-matrix.md").read_text() == page()
