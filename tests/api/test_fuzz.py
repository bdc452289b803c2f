"""No request causes a server error, hangs, leaks a key or ends a process: `make fuzz` is the long form."""

import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from api.fuzz_requests import Fuzzer, FuzzRequest
from harness.leaks import leaked
from harness.processes import EXAMPLES, Fleet, Process
from harness.waiting import until
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared.redis import connect as connect_redis

SECONDS = float(os.environ.get("FUZZ_SECONDS", "8"))  # of sending, in all
SEED = int(os.environ.get("FUZZ_SEED", time.time_ns() % 1_000_000))
CLIENTS = 6
HANGS_SECONDS = 60.0  # without a response
READ_SECONDS = 0.3  # of a stream
AUTH_FILE = Path(__file__).parents[1] / "graphs" / "tenants.py"
USERS = (None, "Bearer alice-token", "Bearer bob-token", "Bearer no-such-token")


@dataclass
class Figures:
    """What the requests led to."""

    statuses: Counter[int] = field(default_factory=Counter)
    doors: Counter[str] = field(default_factory=Counter)
    errors: list[str] = field(default_factory=list)  # requests with a status of 500 or more
    hung: list[str] = field(default_factory=list)
    leaked: list[str] = field(default_factory=list)
    dead: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        statuses = " ".join(f"{status}:{count}" for status, count in sorted(self.statuses.items()))
        return (
            f"fuzz, seed {SEED}: inputs tried {sum(self.doors.values())} on {len(self.doors)} doors · "
            f"5xx {len(self.errors)} · hung {len(self.hung)} · leaked keys {len(self.leaked)} · "
            f"dead processes {len(self.dead)}\n  {statuses}"
        )


class System:
    """An API without authentication, one with it, and a worker, on a Redis of their own."""

    def __init__(
        self, redis_url: str, open_api: Process, closed_api: Process, worker: Process
    ) -> None:
        self.redis_url = redis_url
        self.apis = [open_api, closed_api]
        self.worker = worker


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    folder = tmp_path_factory.mktemp("fuzz")
    config = folder / "langgraph.json"
    graphs = {"steps": "./nowhere.py:graph"}  # the API reads no graphs
    config.write_text(json.dumps({"graphs": graphs, "auth": {"path": f"{AUTH_FILE}:auth"}}))
    env = {"KEEPALIVE_INTERVAL_SECS": "0.2", "CALL_TIMEOUT_SECS": "50"}
    with EmbeddedRedis(folder, appendonly=False) as redis, Fleet(redis.url, **env) as fleet:
        worker = fleet.worker(EXAMPLES, N_JOBS_PER_WORKER="20")
        apis = [fleet.api(), fleet.api(config, RATE_LIMIT_FAILED_AUTH="none")]
        open_api, closed_api = (api.wait_ready() for api in apis)
        yield System(redis.url, open_api, closed_api, worker.wait_ready())


async def send(client: httpx.AsyncClient, fuzzer: Fuzzer, request: FuzzRequest) -> int:
    """Returns the status of the response. Of a stream, reads the beginning."""
    built = client.build_request(
        request.method, request.path, headers=request.headers, content=request.body
    )
    response = await client.send(built, stream=True)
    try:
        with suppress(TimeoutError, httpx.RemoteProtocolError):
            async with asyncio.timeout(READ_SECONDS):
                content = await response.aread()
                if response.headers.get("content-type") == "application/json" and content.strip():
                    fuzzer.learn(json.loads(content))
    finally:
        await response.aclose()
    return response.status_code


async def talk(url: str, request: FuzzRequest, headers: dict[str, str]) -> int:
    """Sends the frames of a WebSocket, and waits for a reply to each."""
    address = url.replace("http", "ws", 1) + request.path
    try:
        async with connect(address, additional_headers=headers, open_timeout=None) as socket:
            for frame in request.frames:
                await socket.send(frame.decode("utf-8", "replace"))
                while json.loads(await socket.recv())["type"] in ("event", "gap"):
                    pass
    except InvalidStatus as refused:
        return refused.response.status_code
    except ConnectionClosed as closed:
        code = closed.rcvd.code if closed.rcvd else 1006
        return code if code >= 4000 else 500
    return 101


async def fuzz(system: System, figures: Figures) -> None:
    deadline = time.monotonic() + SECONDS

    async def client_of(number: int) -> None:
        fuzzer = Fuzzer(SEED + number)
        api = system.apis[number % 2]
        user = USERS[number // 2 % len(USERS)] if number % 2 else None
        headers = {"authorization": user} if user else {}
        async with httpx.AsyncClient(
            base_url=api.url, headers=headers, timeout=None, follow_redirects=False
        ) as client:
            while time.monotonic() < deadline:
                request = fuzzer.next()
                described = f"{request.method} {request.path[:200]} {(request.body or b'')[:500]!r} {request.frames}"
                figures.doors[request.door] += 1
                try:
                    async with asyncio.timeout(HANGS_SECONDS):
                        status = (
                            await talk(api.url, request, headers)
                            if request.frames
                            else await send(client, fuzzer, request)
                        )
                except TimeoutError:
                    figures.hung.append(described)
                    continue
                figures.statuses[status] += 1
                if 500 <= status < 1000:
                    figures.errors.append(f"{status} {described}")

    await asyncio.gather(*(client_of(number) for number in range(CLIENTS)))


@pytest.fixture
async def client(fuzzed: System) -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(base_url=fuzzed.apis[0].url, timeout=60) as client:
        yield client


async def test_no_request_fails_hangs_leaks_or_kills(
    fuzzed: System, client: httpx.AsyncClient
) -> None:
    figures = Figures()
    await fuzz(fuzzed, figures)
    for cron in (await client.post("/runs/crons/search", json={"limit": 1000})).json():
        await client.delete(f"/runs/crons/{cron['cron_id']}")
    # A run after all of the others, of an assistant that no request has changed: the worker works.
    hello = {"messages": [{"role": "user", "content": "hello"}]}
    body = {"assistant_id": "nested_chat", "input": hello}
    answer = await client.post("/runs/wait", json=body)
    assert len(answer.json()["messages"]) == 2
    processes = {"API": fuzzed.apis[0], "API with auth": fuzzed.apis[1], "worker": fuzzed.worker}
    figures.dead = [name for name, each in processes.items() if each.process.poll() is not None]
    redis = connect_redis(fuzzed.redis_url)

    async def is_clean() -> bool:
        figures.leaked = await leaked(redis)
        return not figures.leaked

    try:
        with suppress(AssertionError):
            await until(is_clean, within=15)
    finally:
        await redis.aclose()
    sys.stdout.write(f"\n{figures}\n")
    for problems in (figures.errors, figures.hung, figures.leaked, figures.dead):
        assert not problems, "\n".join([str(figures), *problems[:10]])
    assert len(figures.doors) >= 20  # of about 150; how many in this time depends on the machine
