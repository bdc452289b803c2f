"""`/docs` in a real browser: its policy is kept, nothing is loaded from other hosts, and its requests work.

`PICTURES=docs/pictures` keeps the screenshots that the docs show.
"""

import asyncio
import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from conftest import System
from e2e.browser.node_packages import CHROMIUM, FOLDER, needs_browser, run_npm
from harness.processes import Fleet
from millstream.api.reference import SUBJECTS
from millstream.api.routes import ENDPOINTS

DRIVE = Path(__file__).with_name("docs_page.mjs")
pytestmark = needs_browser


@pytest.fixture
def mounted(system: System, tmp_path: Path) -> Iterator[str]:
    """The URL of an API with a prefix. Clients outside have another one, which the page can't reach."""
    config = tmp_path / "langgraph.json"
    http = {"mount_prefix": "/agents"}
    config.write_text(json.dumps({"graphs": {"steps": "./nowhere.py:graph"}, "http": http}))
    with Fleet(system.fleet.redis_url) as fleet:
        api = fleet.api(config, MILLSTREAM_PUBLIC_URL="https://agents.example")
        yield api.wait_ready().url


@pytest.fixture
def pictures(tmp_path: Path) -> str:
    """The folder for the screenshots."""
    return str(Path(os.environ.get("PICTURES", tmp_path)).resolve())


async def test_the_page_keeps_its_policy_and_its_requests_work(mounted: str, pictures: str) -> None:
    run_npm()
    process = await asyncio.create_subprocess_exec(
        "node", str(DRIVE), f"{mounted}/docs", str(CHROMIUM), pictures,
        cwd=FOLDER, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    async with asyncio.timeout(100):
        out, errors = await process.communicate()
    assert process.returncode == 0, errors.decode()
    seen = json.loads(out)

    assert (seen["violations"], seen["problems"]) == ([], [])
    assert {
        url for url in seen["requests"] if not url.startswith((f"{mounted}/", "data:"))
    } == set()
    # Everything is listed, runs first.
    assert seen["subjects"] == [subject.name for subject in SUBJECTS.values()]
    assert seen["operations"] == len(ENDPOINTS)
    # Examples are sent as they stand. The id that the server assigned replaces that of the example.
    assert {seen[name][0] for name in ("waited", "created", "cancelled", "followed")} == {"200"}
    run_id = json.loads(seen["created"][1])["run_id"]
    assert f'"run_id":"{run_id}"' in seen["streaming"][1]
    # Events are shown before the stream has ended.
    assert "event: end" not in seen["streaming"][1]
    assert "event: end" in seen["streamed"][1]
    assert '"interrupted"' in seen["streamed"][1]
