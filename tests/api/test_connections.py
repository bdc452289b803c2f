"""Clients that send too much, too slowly, or too often do not hold up others."""

import asyncio
import json
from collections.abc import Iterator
from contextlib import AsyncExitStack

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosedError

from api.requests import STEPS, UNKNOWN_ID, System
from harness.processes import Fleet
from harness.waiting import until
from millstream.api.http.connections import MAX_HEADER_BYTES, MAX_HEADERS, MAX_QUERY_FIELDS

CONNECTIONS = 12
MESSAGE = 2000  # WEBSOCKET_MAX_MESSAGE_BYTES
GET = b"GET /info HTTP/1.1\r\nhost: a\r\n"


@pytest.fixture(scope="module")
def strict(system: System) -> Iterator[httpx.URL]:
    """An API process with small limits."""
    limits = {
        "HTTP_REQUEST_TIMEOUT_SECS": "0.5",
        "HTTP_MAX_CONNECTIONS": str(CONNECTIONS),
        "WEBSOCKET_MAX_MESSAGE_BYTES": str(MESSAGE),
    }
    with Fleet(system.fleet.redis_url, **limits) as fleet:
        yield httpx.URL(fleet.api().wait_ready().url)


class Connection:
    """A TCP connection to the API."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    @classmethod
    async def open(cls, url: httpx.URL) -> "Connection":
        return cls(*await asyncio.open_connection(url.host, url.port))

    async def send(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    async def response(self) -> bytes:
        """Returns the head of the next response; b"" if the connection ends without one."""
        try:
            async with asyncio.timeout(10):
                return await self.reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, ConnectionError):
            return b""

    async def ended(self) -> None:
        """Waits until the server has closed the connection."""
        async with asyncio.timeout(10):
            try:
                while await self.reader.read(65536):
                    pass
            except ConnectionError:
                pass

    async def close(self) -> None:
        self.writer.close()
        with_errors = await asyncio.gather(self.writer.wait_closed(), return_exceptions=True)
        assert len(with_errors) == 1


@pytest.mark.parametrize(
    "head",
    [
        GET + b"x: " + b"a" * MAX_HEADER_BYTES + b"\r\n\r\n",
        GET + b"".join(b"x%d: a\r\n" % at for at in range(MAX_HEADER_BYTES // 5)) + b"\r\n",
        b"GET /" + b"a" * MAX_HEADER_BYTES + b" HTTP/1.1\r\nhost: a\r\n\r\n",
        b"GET /threads?" + b"a=1&" * MAX_QUERY_FIELDS + b"a=1 HTTP/1.1\r\nhost: a\r\n\r\n",
        GET + b"x: " + b"a" * (64 * MAX_HEADER_BYTES),  # never complete
        GET + b"x: a\r\n" * (16 * MAX_HEADER_BYTES),
        b"POST /runs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1;"
        + b"a" * 4_000_000,
    ],
    ids=["value", "many", "url", "query", "endless value", "endless many", "endless chunk"],
)
async def test_large_heads_are_refused(strict: httpx.URL, head: bytes) -> None:
    connection = await Connection.open(strict)
    sending = asyncio.create_task(connection.send(head))
    response = await connection.response()
    assert response.startswith(b"HTTP/1.1 431 ") or response == b""  # or reset while it sends
    await connection.ended()
    sending.cancel()
    await asyncio.gather(sending, return_exceptions=True)
    await connection.close()


@pytest.mark.parametrize(("number", "status"), [(MAX_HEADERS, 200), (MAX_HEADERS + 1, 431)])
async def test_the_number_of_headers_is_limited(
    strict: httpx.URL, number: int, status: int
) -> None:
    connection = await Connection.open(strict)
    await connection.send(GET + b"x: a\r\n" * (number - 1) + b"\r\n")
    assert (await connection.response()).startswith(b"HTTP/1.1 %d " % status)
    await connection.close()


async def test_a_head_of_64_kib_is_accepted(strict: httpx.URL) -> None:
    connection = await Connection.open(strict)
    padding = MAX_HEADER_BYTES - len("/info") - len("hosta") - len("x")
    await connection.send(GET + b"x: " + b"a" * padding + b"\r\n\r\n")
    assert (await connection.response()).startswith(b"HTTP/1.1 200 ")
    await connection.close()


@pytest.mark.parametrize(
    "part",
    [
        b"GET /info",
        GET,
        b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{",
        b"POST /runs HTTP/1.1\r\nhost: a\r\ntransfer-encoding: chunked\r\n\r\n1\r\n{\r\n",
        GET + b"content-length: 9\r\n\r\n",  # which is answered before its body arrives
    ],
)
@pytest.mark.parametrize("trickle", [False, True])
async def test_a_request_that_does_not_arrive_is_ended(
    strict: httpx.URL, part: bytes, trickle: bool
) -> None:
    connection = await Connection.open(strict)
    await connection.send(part)

    async def send_more() -> None:
        while trickle:
            await asyncio.sleep(0.05)
            await connection.send(b"1\r\n \r\n" if b"chunked" in part else b"a")

    more = asyncio.create_task(send_more())
    response = await connection.response()
    assert response.startswith((b"HTTP/1.1 408 ", b"HTTP/1.1 200 ", b"HTTP/1.1 4"))
    await connection.ended()
    more.cancel()
    await asyncio.gather(more, return_exceptions=True)
    await connection.close()


async def test_a_request_in_pieces_and_several_on_one_connection_are_answered(
    strict: httpx.URL,
) -> None:
    connection = await Connection.open(strict)
    body = json.dumps(STEPS).encode()
    head = b"POST /runs/wait HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % len(body)
    for _ in range(3):
        for at in range(0, len(head), 20):
            await connection.send(head[at : at + 20])
        await connection.send(body[:5])
        await connection.send(body[5:])
        response = await connection.response()
        assert response.startswith(b"HTTP/1.1 200 ")
        # The response takes longer than a request may; the connection stays open.
        async with asyncio.timeout(10):
            while (await connection.reader.readline()).strip() != b"0":
                pass
            await connection.reader.readline()
    await connection.close()


async def test_two_host_headers_are_refused(strict: httpx.URL) -> None:
    connection = await Connection.open(strict)
    await connection.send(GET + b"host: b\r\n\r\n")
    assert (await connection.response()).startswith(b"HTTP/1.1 400 ")
    await connection.ended()
    await connection.close()


async def test_a_post_that_asks_for_an_upgrade_is_answered(strict: httpx.URL) -> None:
    upgrade = b"connection: upgrade\r\nupgrade: websocket\r\ncontent-length: 2\r\n\r\n{}"
    for path in (b"/threads", b"/threads/%s/stream/events" % UNKNOWN_ID.encode()):
        connection = await Connection.open(strict)
        await connection.send(b"POST " + path + b" HTTP/1.1\r\nhost: a\r\n" + upgrade)
        assert (await connection.response())[:10] in (b"HTTP/1.1 2", b"HTTP/1.1 4")
        await connection.close()


STREAM = b"POST /threads/%s/stream/events HTTP/1.1\r\nhost: a\r\n" % UNKNOWN_ID.encode()
CHANNELS = b'{"channels":["values"]}'
STREAM += b"content-length: %d\r\n\r\n" % len(CHANNELS) + CHANNELS


async def test_more_connections_than_allowed_get_503(strict: httpx.URL) -> None:
    async with AsyncExitStack() as opened:
        held = []
        for _ in range(CONNECTIONS - 1):
            connection = await Connection.open(strict)
            opened.push_async_callback(connection.close)
            held.append(connection)
            await connection.send(STREAM)
            assert (await connection.response()).startswith(b"HTTP/1.1 200 ")
        async with httpx.AsyncClient(base_url=strict) as client:
            assert (await client.get("/info")).status_code == 503
        await held[0].close()
        async with httpx.AsyncClient(base_url=strict) as client:
            await until(lambda: accepts(client))


@pytest.mark.parametrize(
    "part",
    [
        b"",
        b"GET /info",
        b"POST /runs HTTP/1.1\r\nhost: a\r\ncontent-length: 9\r\n\r\n{",
        GET + b"\r\n",  # complete, and its connection stays open
    ],
)
async def test_a_connection_that_waits_makes_room_for_another_one(
    strict: httpx.URL, part: bytes
) -> None:
    async with AsyncExitStack() as opened:
        held = []
        for _ in range(3 * CONNECTIONS):
            connection = await Connection.open(strict)
            opened.push_async_callback(connection.close)
            await connection.send(part)
            held.append(connection)
        async with httpx.AsyncClient(base_url=strict) as client:
            for _ in range(3):
                assert await accepts(client)
        await held[0].ended()


async def accepts(client: httpx.AsyncClient) -> bool:
    response = await client.get("/info", headers={"connection": "close"})
    return response.status_code == 200


async def test_websockets_inflate_nothing_and_take_no_large_message(strict: httpx.URL) -> None:
    url = f"ws://{strict.host}:{strict.port}/threads/{UNKNOWN_ID}/stream/events"
    async with connect(url) as websocket:
        assert "sec-websocket-extensions" not in websocket.response.headers  # type: ignore[union-attr]
        await websocket.send("x" * MESSAGE)
        assert json.loads(await websocket.recv())["type"] == "error"
        await websocket.send("x" * (MESSAGE + 1))
        with pytest.raises(ConnectionClosedError) as closed:
            await websocket.recv()
        assert closed.value.rcvd is not None
        assert closed.value.rcvd.code == 1009
