"""The example page on `useStream` in a real browser.

`PICTURES=docs/pictures` keeps the screenshots that the docs show.
"""

import asyncio
import functools
import http.server
import json
import os
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from conftest import System
from e2e.browser.node_packages import CHROMIUM, FOLDER, needs_browser, run_npm
from harness.waiting import until

DRIVE = Path(__file__).with_name("drive.mjs")
FOX = (
    "The quick brown fox jumps over the lazy dog, while twenty small tokens stream out one by one."
)
pytestmark = needs_browser


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@pytest.fixture(scope="module")
def page() -> Iterator[str]:
    """The address of the page on a static web server."""
    run_npm(["npm", "run", "build"])
    serve = functools.partial(_Quiet, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}/index.html"
        server.shutdown()


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """The folder for the screenshots."""
    return str(Path(os.environ.get("PICTURES", tmp_path)).resolve())


async def test_the_chat_page_streams_resumes_asks_and_stops(
    system: System, page: str, pictures: str
) -> None:
    process = await asyncio.create_subprocess_exec(
        "node", str(DRIVE), f"{page}?api={system.url}", str(CHROMIUM), pictures,
        cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen = json.loads(out)

    assert seen["errors"] == []
    # Tokens appear one by one, and after a reload in the middle of the run the page continues.
    assert FOX.startswith(seen["early"])
    assert len(seen["early"]) < len(seen["resumed"]) <= len(FOX)
    assert seen["after_reload"] == ["Tell me about the fox", FOX]
    # A second tab joins the run of the first.
    assert len(seen["second_early"]) < len(FOX)
    assert seen["tabs"][0] == seen["tabs"][1] == ["Tell me about the fox", FOX, "Once more", FOX]
    # Two messages at once are answered one after the other.
    first, second = seen["both"]
    assert first == second
    assert sorted(first[4::2]) == ["From the first", "From the second"]
    assert first[5::2] == [FOX, FOX]
    # The run waits for approval, over a reload too, and resumes with the answer.
    assert seen["question"] == "Send the mail to all customers?"
    assert (seen["approved"], seen["asked_again"]) == ("The mail is on its way.", 0)
    # The Stop button ends the run, not only the stream.
    thread = seen["stopped_thread"]
    async with httpx.AsyncClient(base_url=system.url) as client:

        async def interrupted() -> bool:
            [run] = (await client.get(f"/threads/{thread}/runs")).json()
            return bool(run["status"] == "interrupted")

        await until(interrupted, within=5, what="the stopped run's end")
