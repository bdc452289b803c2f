"""What hostile clients send: each attack is executed in a process of its own, by `hostile.measure`."""

import asyncio
import json
import socket
import sys
import uuid
from collections.abc import Awaitable, Callable
from typing import Any, Final

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

MIB: Final = 2**20
BODY: Final = 16 * MIB - 1024  # HTTP_MAX_REQUEST_BODY_BYTES, with room for what is around the value
HOLD_SECONDS: Final = 1.0  # for which an attack keeps its connections
ATTACK_SECONDS: Final = 40.0  # the longest time of an attack
JSON_RPC: Final = {"accept": "application/json, text/event-stream"}
THREAD: Final = str(uuid.uuid4())
EVENTS: Final = f"/threads/{THREAD}/stream/events"

Attack = Callable[[str, int], Awaitable[None]]
ATTACKS: Final[dict[str, Attack]] = {}


def attack(name: str) -> Callable[[Attack], Attack]:
    """Lists an attack."""

    def listed(function: Attack) -> Attack:
        ATTACKS[name] = function
        return function

    return listed


# ── Raw connections ─────────────────────────────────────────────────────────────────────────


def head(method: str, path: str, length: int | str, **headers: str) -> bytes:
    lines = [f"{method} {path} HTTP/1.1", "host: a", "content-type: application/json"]
    lines += [f"content-length: {length}"] if length != "" else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode()


async def exchange(host: str, port: int, *parts: bytes, hold: float = 0.0) -> bytes:
    """Sends the parts on a new connection. Returns the beginning of the response."""
    try:
        reader, writer = await asyncio.open_connection(host, port)
    except OSError:
        return b""
    try:
        for part in parts:
            writer.write(part)
            await writer.drain()
        if hold:
            await asyncio.sleep(hold)
            return b""
        return await reader.read(300)
    except OSError:
        return b""
    finally:
        writer.close()


async def post(host: str, port: int, path: str, body: bytes, **headers: str) -> None:
    answer = await exchange(host, port, head("POST", path, len(body), **headers), body)
    sys.stdout.write(f"{answer[9:12].decode()} ")


def value(item: bytes, size: int) -> bytes:
    """Returns a list of about `size` bytes."""
    return b"[" + item * (size // len(item)) + b"0]"


def run_of(content: bytes) -> bytes:
    return b'{"assistant_id":"none","input":{"items":' + content + b"}}"


# ── Attacks ─────────────────────────────────────────────────────────────────────────────────


@attack("nothing")
async def _nothing(host: str, port: int) -> None:
    await asyncio.sleep(2)


@attack("4 headers of 100 MB")
async def _large_headers(host: str, port: int) -> None:
    flood = [b"GET /info HTTP/1.1\r\nx: ", *[b"a" * MIB] * 100]
    await asyncio.gather(*(exchange(host, port, *flood) for _ in range(4)))


@attack("100 heads of 64 KiB, all small headers")
async def _many_headers(host: str, port: int) -> None:
    lines = b"".join(b"x%d: a\r\n" % number for number in range(6500))
    await asyncio.gather(
        *(exchange(host, port, b"GET /info HTTP/1.1\r\n" + lines + b"\r\n") for _ in range(100))
    )


@attack("2,000 half requests")
async def _half_requests(host: str, port: int) -> None:
    await asyncio.gather(
        *(
            exchange(host, port, b"POST /runs HTTP/1.1\r\nx: ", hold=HOLD_SECONDS)
            for _ in range(2000)
        )
    )


@attack("1,200 unfinished bodies of 100 B, and 384 connections at most")
async def _unfinished(host: str, port: int) -> None:
    request = head("POST", "/runs", 200) + b'{"input": "' + b"a" * 89
    await asyncio.gather(*(exchange(host, port, request, hold=HOLD_SECONDS) for _ in range(1200)))


@attack("32 bodies of 16 MiB that never end")
async def _endless_bodies(host: str, port: int) -> None:
    parts = [head("POST", "/runs", BODY), b'{"input":"', *[b"a" * MIB] * 15]
    await asyncio.gather(*(exchange(host, port, *parts, hold=3) for _ in range(32)))


@attack("4 chunked bodies without an end")
async def _endless_chunks(host: str, port: int) -> None:
    request = head("POST", "/runs", "", transfer_encoding="chunked")
    chunk = b"%x\r\n" % MIB + b"a" * MIB + b"\r\n"
    await asyncio.gather(*(exchange(host, port, request, *[chunk] * 250) for _ in range(4)))


@attack("8 bodies of 16 MiB of [{},{},…")
async def _many_objects(host: str, port: int) -> None:
    await asyncio.gather(
        *(post(host, port, "/runs", run_of(value(b"{},", BODY))) for _ in range(8))
    )


for name, item in (
    ("{},", b"{},"),
    ("[],", b"[],"),
    ("1,", b"1,"),
    ('{"a":0},', b'{"a":0},'),
    ('"ab",', b'"ab",'),
):

    @attack(f"8 inputs of 120,000 x {name}")
    async def _allowed_values(host: str, port: int, item: bytes = item) -> None:
        count = 120_000 // (2 if b":" in item else 1)
        body = run_of(value(item, count * len(item)))
        await asyncio.gather(*(post(host, port, "/runs/wait", body) for _ in range(8)))


@attack("8 objects of 100,000 names")
async def _many_names(host: str, port: int) -> None:
    names = b"{" + b",".join(b'"n%d":0' % number for number in range(100_000)) + b"}"
    for path in ("/runs", "/threads", "/threads/search", "/assistants/search"):
        body = b'{"assistant_id":"none","input":0,"metadata":' + names + b"}"
        await asyncio.gather(*(post(host, port, path, body) for _ in range(2)))


@attack("lists of 200,000 invalid items")
async def _invalid_items(host: str, port: int) -> None:
    items = value(b"0,", 400_000)
    for path, field in (
        ("/threads/prune", "thread_ids"),
        ("/threads/search", "ids"),
        ("/runs/cancel", "run_ids"),
        ("/runs", "stream_mode"),
        ("/runs", "interrupt_before"),
        ("/store/items/search", "namespace_prefix"),
        (EVENTS, "channels"),
    ):
        await post(host, port, path, b'{"assistant_id":"none","%s":%s}' % (field.encode(), items))
    await post(host, port, "/runs/batch", items)


@attack("metadata of 1 MiB in 60,000 terms, searched and stored")
async def _many_terms(host: str, port: int) -> None:
    names = b"{" + b",".join(b'"n%d":%d' % (number, number) for number in range(55_000)) + b"}"
    for path in ("/threads", "/threads/search", "/threads/count", "/assistants"):
        body = b'{"graph_id":"steps","metadata":' + names + b"}"
        await asyncio.gather(*(post(host, port, path, body) for _ in range(3)))


@attack("4 numbers of 16 MiB digits")
async def _huge_numbers(host: str, port: int) -> None:
    await asyncio.gather(*(post(host, port, "/runs", run_of(b"9" * BODY)) for _ in range(4)))


@attack("4 numbers of 16 MiB digits with exponent")
async def _huge_floats(host: str, port: int) -> None:
    digits = b"1." + b"9" * (BODY - 10) + b"e5"
    await asyncio.gather(*(post(host, port, "/runs", run_of(digits)) for _ in range(4)))


@attack('16 MiB of [[[[…, and of {"a":{"a":…')
async def _deep(host: str, port: int) -> None:
    for opening in (b"[", b'{"a":'):
        await post(host, port, "/runs", opening * (BODY // len(opening)))


@attack("250 levels, 400 times wide")
async def _deep_and_wide(host: str, port: int) -> None:
    await post(host, port, "/runs", run_of(value(b"[" * 240 + b"]" * 240 + b",", 400 * 481)))
    await post(host, port, "/runs", run_of(value(b"[" * 260 + b"]" * 260 + b",", 400 * 521)))


@attack("8 texts of 16 MiB, with escapes")
async def _large_texts(host: str, port: int) -> None:
    for text in (
        b"a" * BODY,
        b"\\u00e9" * (BODY // 6),
        b"\\\\" * (BODY // 2),
        b'\\"' * (BODY // 2),
    ):
        body = b'{"assistant_id":"none","input":"%s"}' % text
        await asyncio.gather(*(post(host, port, "/runs", body) for _ in range(2)))


@attack("NaN, half surrogates and syntax errors after 16 MiB")
async def _late_errors(host: str, port: int) -> None:
    for content in (
        value(b"1000000,", BODY)[:-2] + b"NaN]",
        b'["%s\\ud800"]' % (b"a" * (BODY - 50)),
        b"[" + b'"ab",' * 60_000 + b"NaN]",
    ):
        await post(host, port, "/runs", run_of(content))


@attack("gzip and deflate bodies of 16 MiB")
async def _compressed(host: str, port: int) -> None:
    import gzip

    bomb = gzip.compress(b"0" * (100 * MIB))
    for _ in range(8):
        await post(host, port, "/runs", bomb, content_encoding="gzip")


@attack("200 x Last-Event-ID, queries and paths of 60 KiB")
async def _large_parameters(host: str, port: int) -> None:
    long = "1" * 60_000
    heads = [
        head("GET", f"/threads/{THREAD}/stream", "", last_event_id=long),
        head("GET", f"/threads/{THREAD}/runs?" + "limit=1&" * 7500, ""),
        head("GET", f"/threads/{THREAD}/runs/{THREAD}/stream?" + "stream_mode=values&" * 3000, ""),
        head("GET", f"/threads/{THREAD}/stream?" + "".join(f"a{n}=1&" for n in range(7000)), ""),
        head("GET", "/threads/" + "%41" * 20_000, ""),
    ]
    for each in heads:
        await asyncio.gather(*(exchange(host, port, each, hold=0.2) for _ in range(40)))


async def socket_of(host: str, port: int, *frames: str | bytes, **options: Any) -> None:
    try:
        async with connect(f"ws://{host}:{port}{EVENTS}", max_size=None, **options) as websocket:
            for frame in frames:
                await websocket.send(frame)
            async with asyncio.timeout(10):
                for _ in frames:
                    await websocket.recv()
    except (ConnectionClosed, TimeoutError, OSError):
        pass


@attack("6 WebSocket messages of 300 MB, deflated")
async def _inflating(host: str, port: int) -> None:
    await asyncio.gather(
        *(socket_of(host, port, "0" * (300 * MIB), compression="deflate") for _ in range(2))
    )


@attack("WebSocket messages of 4 MiB of [{},{},…")
async def _socket_objects(host: str, port: int) -> None:
    frame = value(b"{},", 4 * MIB - 100).decode()
    await asyncio.gather(*(socket_of(host, port, *[frame] * 4) for _ in range(8)))


@attack("20 WebSockets with 100 subscriptions of 4,000 namespaces")
async def _subscriptions(host: str, port: int) -> None:
    params = {"channels": ["values"], "namespaces": [[f"n{number}"] for number in range(4000)]}
    frames = [
        json.dumps({"id": number, "method": "subscription.subscribe", "params": params})
        for number in range(101)
    ]
    await asyncio.gather(*(socket_of(host, port, *frames) for _ in range(20)))


@attack("MCP: 4 calls of 16 MiB, and of 200,000 values")
async def _mcp(host: str, port: int) -> None:
    for content in (b'"%s"' % (b"a" * (BODY - 1024)), value(b"{},", 360_000)):
        call = b'{"jsonrpc":"2.0","id":1,"method":"tools/call","params":{"name":"steps","arguments":{"items":%s}}}'
        await asyncio.gather(
            *(post(host, port, "/mcp/", call % content, **JSON_RPC) for _ in range(4))
        )


@attack("A2A: 4 messages of 16 MiB, and of 200,000 values")
async def _a2a(host: str, port: int) -> None:
    for content in (b'"%s"' % (b"a" * (BODY - 1024)), value(b"{},", 360_000)):
        for version, part in (
            ("message/send", b'{"kind":"data","data":{"x":%s}}'),
            ("SendMessage", b'{"data":{"x":%s}}'),
        ):
            message = b'{"messageId":"m","role":"ROLE_USER","parts":[%s]}' % (part % content)
            call = b'{"jsonrpc":"2.0","id":1,"method":"%s","params":{"message":%s}}'
            body = call % (version.encode(), message)
            await asyncio.gather(*(post(host, port, "/a2a/steps", body) for _ in range(2)))


if __name__ == "__main__":  # one attack, for `hostile.measure`
    socket.setdefaulttimeout(ATTACK_SECONDS)
    name, host, port = sys.argv[1:]
    try:
        asyncio.run(asyncio.wait_for(ATTACKS[name](host, int(port)), ATTACK_SECONDS))
    except InvalidStatus as error:  # with authentication, sockets are refused at their handshake
        print(error.response.status_code)
