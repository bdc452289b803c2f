"""The line of a request, for each way in which a response can go."""

import logging
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from millstream.api.http.access_log import AccessLog, LoggedError

Part = Callable[[Receive, Send], Coroutine[Any, Any, None]]
START: dict[str, Any] = {"type": "http.response.start", "status": 200, "headers": []}
EVENTS = {**START, "headers": [(b"content-type", b"text/event-stream; charset=utf-8")]}


def scope(path: str = "/x", **more: Any) -> dict[str, Any]:
    return {
        "type": "http", "method": "GET", "path": path, "raw_path": path.encode(), "headers": [],
        "client": ("10.0.0.1", 5), **more,
    }  # fmt: skip


def body(data: bytes = b"", *, more: bool = False) -> Message:
    return {"type": "http.response.body", "body": data, "more_body": more}


class Client:
    """One request to an application, with what the client got and what was logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog
        caplog.set_level(logging.INFO, "millstream.access")
        self.messages: list[Message] = [{"type": "http.disconnect"}]  # that the application gets
        self.sent: list[Any] = []

    async def request(self, part: Part, request: Scope | None = None, **settings: Any) -> None:
        async def receive() -> Message:
            return self.messages.pop(0)

        async def send(message: Message) -> None:
            self.sent.append(message)

        async def app(_: Scope, receive: Receive, send: Send) -> None:
            await part(receive, send)

        application: ASGIApp = AccessLog(app, **settings)
        await application(request or scope(), receive, send)

    @property
    def lines(self) -> list[Any]:
        return self._caplog.records

    @property
    def headers(self) -> list[str]:
        return [name.decode() for name, _ in self.sent[0]["headers"]]


@pytest.fixture
def client(caplog: pytest.LogCaptureFixture) -> Client:
    return Client(caplog)


async def responds(_: Receive, send: Send) -> None:
    await send(START)
    await send(body(b"\n\n"))


async def test_a_response_has_the_id_once(client: Client) -> None:
    await client.request(responds)
    assert client.headers == ["x-request-id"]

    async def sends_an_id(_: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"x-request-id", b"theirs")]})
        await send(body())

    client.sent = []
    await client.request(sends_an_id)
    assert client.sent[0]["headers"] == [(b"x-request-id", b"theirs")]
    assert [line.status for line in client.lines] == [200, 200]
    assert not any(hasattr(line, name) for line in client.lines for name in ("frames", "complete"))


async def test_the_events_of_a_stream_are_counted(client: Client) -> None:
    async def streams(_: Receive, send: Send) -> None:
        await send(EVENTS)
        await send(body(b": heartbeat\r\nevent: a\r\ndata: 1\r\n\r\n", more=True))
        await send(body(b"data: 1\n\ndata: 2\n\n", more=True))
        await send(body())

    await client.request(streams)
    assert [line.frames for line in client.lines] == [3]


async def test_a_client_that_left_before_the_response_has_status_499(client: Client) -> None:
    async def reads_the_body(receive: Receive, _: Send) -> None:
        assert (await receive())["type"] == "http.disconnect"
        raise ClientDisconnect

    async def responds_too_late(receive: Receive, send: Send) -> None:
        await receive()
        await send({**START, "status": 500})
        await send(body())

    async def gives_up(receive: Receive, _: Send) -> None:
        await receive()

    for part in (reads_the_body, responds_too_late, gives_up):
        client.messages = [{"type": "http.disconnect"}]
        await client.request(part)
    assert [(line.status, line.complete, line.levelname) for line in client.lines] == [
        (499, False, "INFO")
    ] * 3


async def test_a_client_that_left_a_stream_is_on_its_line(client: Client) -> None:
    async def streams(receive: Receive, send: Send) -> None:
        await send(EVENTS)
        await receive()
        await send(body())  # some frameworks complete the response nevertheless

    await client.request(streams)
    assert [(line.status, line.complete) for line in client.lines] == [(200, False)]


async def test_reading_on_after_the_response_is_not_leaving(client: Client) -> None:
    async def reads_on(receive: Receive, send: Send) -> None:
        await responds(receive, send)
        await receive()

    await client.request(reads_on)
    assert not hasattr(client.lines[0], "complete")


async def test_an_exception_is_logged_once_and_marked(client: Client) -> None:
    async def fails(_: Receive, __: Send) -> None:
        raise ValueError("secret?x")

    with pytest.raises(LoggedError) as raised:
        await client.request(fails)
    assert raised.value.__cause__ is None
    error, line = client.lines
    assert (error.levelname, error.getMessage()) == ("ERROR", "GET /x failed")
    assert error.exc_info[0] is ValueError
    assert (line.levelname, line.status) == ("INFO", 500)


@pytest.mark.parametrize(
    ("path", "more", "is_logged"),
    [
        ("/ok", {}, False),
        ("/agents/ok", {}, False),
        ("/proxy/agents/ok", {"root_path": "/proxy"}, False),
        ("/ok/", {}, True),
        ("/okay", {}, True),
        ("/static/a/b", {}, False),
        ("/x/static/a", {}, True),
    ],
)
async def test_excluded_paths_are_exact_or_beginnings(
    client: Client, path: str, more: dict[str, Any], is_logged: bool
) -> None:
    excluded = ["/ok", "/static/*"]
    await client.request(responds, scope(path, **more), excluded=excluded, prefix="/agents")
    assert len(client.lines) == is_logged
    assert client.headers == ["x-request-id"]


@pytest.mark.parametrize(
    ("messages", "status"),
    [
        (["accept", "send", "send", ("close", 4422)], 4422),
        (["accept", "send", "left"], 1001),
        ([("close", 1000)], 403),
        (["accept"], 101),
    ],
)
async def test_a_web_socket_is_one_line(client: Client, messages: list[Any], status: int) -> None:
    client.messages = [{"type": "websocket.disconnect", "code": 1001}]

    async def serves(receive: Receive, send: Send) -> None:
        for message in messages:
            if message == "left":
                await receive()
            elif isinstance(message, tuple):
                await send({"type": "websocket.close", "code": message[1]})
            else:
                await send({"type": f"websocket.{message}"})

    await client.request(serves, scope(type="websocket"))
    [line] = client.lines
    assert (line.status, getattr(line, "frames", 0)) == (status, messages.count("send"))
    assert hasattr(line, "complete") == (status == 101)


async def test_a_lifespan_is_no_request(client: Client) -> None:
    async def starts(_: Receive, send: Send) -> None:
        await send({"type": "lifespan.startup.complete"})

    await client.request(starts, {"type": "lifespan"})
    assert client.lines == []
