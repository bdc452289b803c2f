"""The processes of a project's `auth`, for tests."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from millstream.shared.access import User
from millstream.shared.auth_process.processes import AuthProcesses, command

CASES = Path(__file__).parents[1] / "graphs" / "odd_auth.py"
REQUEST_CLASS = "starlette.requests:Request"
ADA = User.of({"identity": "ada", "permissions": ["x"]})


def config(folder: Path, path: str) -> Path:
    """Writes a langgraph.json whose `auth.path` is `path`; returns its path."""
    file = folder / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"g": "./g.py:graph"}, "auth": {"path": path}}))
    return file


def unstarted(folder: Path, path: str, *, timeout: float = 30, processes: int = 1) -> AuthProcesses:
    """Returns the processes of the object that `path` names."""
    argv = command(config(folder, path), REQUEST_CLASS)
    return AuthProcesses(argv, processes=processes, timeout=timeout)


@asynccontextmanager
async def started(folder: Path, path: str, **arguments: Any) -> AsyncIterator[AuthProcesses]:
    """Runs the processes in the block."""
    processes = unstarted(folder, path, **arguments)
    await processes.start()
    try:
        yield processes
    finally:
        await processes.aclose()


def request(case: str, **arguments: Any) -> dict[str, Any]:
    """Returns the arguments of a request with this token."""
    return {
        "authorization": f"Bearer {case}", "path": "/threads", "method": "GET", "path_params": {},
        "query_params": {}, "headers": [], **arguments,
    }  # fmt: skip


def scope(body: bytes = b"", **arguments: Any) -> dict[str, Any]:
    """Returns the scope of a request."""
    return {
        "type": "http", "method": "POST", "path": "/threads/search", "raw_path": b"/threads/search",
        "query_string": b"q=1&q=2", "root_path": "", "scheme": "https", "http_version": "1.1",
        "client": ("9.9.9.9", 1), "server": ("api.example", 443), "path_params": {},
        "headers": [(b"host", b"api.example"), (b"cookie", b"a=b")], **arguments,
    }  # fmt: skip
