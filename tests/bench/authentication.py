"""Measures what a question to the project's `auth` costs: the time of one, of many at a time, and CPU of both sides."""

import asyncio
import json
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.project import ProjectAuth, open_project_auth, project_processes
from millstream.shared.langgraph_json.auth import AuthConfig, UserCacheConfig
from millstream.shared.settings import Settings

AUTH_FILE: Final = Path(__file__).parents[1] / "graphs" / "tenants.py"
CONCURRENT: Final = 100
Question = Callable[[], Awaitable[object]]


def a_request() -> AuthRequest:
    """Returns a request with the headers that an SDK sends."""

    async def body() -> bytes:
        return b""

    headers = {
        "host": "127.0.0.1:2024", "accept": "*/*", "accept-encoding": "gzip, deflate", "connection": "keep-alive",
        "user-agent": "langgraph-sdk-py/0.4.14", "authorization": "Bearer alice-token", "content-length": "120",
        "content-type": "application/json",
    }  # fmt: skip
    scope = {
        "type": "http", "method": "POST", "path": "/threads/search", "raw_path": b"/threads/search",
        "query_string": b"",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }  # fmt: skip
    return AuthRequest(scope, body, dict)


async def measure(questions: int, cpu_seconds: Callable[[list[int]], float]) -> None:
    """Prints one row for each kind of question."""
    config = AuthConfig("./auth.py:auth", cache=UserCacheConfig(cache_keys=["authorization"]))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "langgraph.json")
        content = {"graphs": {"g": "./g.py:g"}, "auth": {"path": f"{AUTH_FILE}:auth"}}
        path.write_text(json.dumps(content))  # noqa: ASYNC240 - before anything is measured
        settings = Settings()
        async with (
            open_project_auth(
                project_processes(path, settings), AuthConfig("./auth.py:auth"), settings
            ) as uncached,
            open_project_auth(project_processes(path, settings), config, settings) as cached,
        ):
            user = await uncached.authenticator.authenticate(a_request())
            value = {"metadata": {"a": 1}, "limit": 10, "offset": 0, "status": None, "values": None}
            rows: list[tuple[str, ProjectAuth, Question]] = [
                (
                    "authenticate",
                    uncached,
                    lambda: uncached.authenticator.authenticate(a_request()),
                ),
                (
                    "authenticate, cached",
                    cached,
                    lambda: cached.authenticator.authenticate(a_request()),
                ),
                (
                    "handler",
                    uncached,
                    lambda: uncached.authorizer.decide(user, "threads.search", value),
                ),
            ]
            print(
                f"{'question':<24}{'µs, one':>10}{'µs, many':>10}{'CPU API':>10}{'CPU child':>10}"
            )
            for name, auth, question in rows:
                pids = auth.processes.pids
                for _ in range(CONCURRENT):
                    await question()
                before, started, cpu = cpu_seconds(pids), time.perf_counter(), time.process_time()
                for _ in range(questions):
                    await question()
                one, api = time.perf_counter() - started, time.process_time() - cpu
                child = cpu_seconds(pids) - before
                started = time.perf_counter()
                for _ in range(questions // CONCURRENT):
                    await asyncio.gather(*(question() for _ in range(CONCURRENT)))
                many = (time.perf_counter() - started) / (questions // CONCURRENT * CONCURRENT)
                figures = [one / questions, many, api / questions, child / questions]
                print(f"{name:<24}" + "".join(f"{figure * 1e6:>10.0f}" for figure in figures))
