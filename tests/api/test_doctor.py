"""`millstream doctor` beside an API and a worker, as a process whose output goes to a pipe."""

import asyncio
import json
import os
import sys
from typing import Any

from api.requests import System
from harness.processes import EXAMPLES


async def doctor(system: System, *arguments: str, **env: str) -> tuple[int, str]:
    """Runs the command to its end; returns its exit status and its output."""
    code = "from millstream.cli.main import main; raise SystemExit(main())"
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, "doctor", *arguments,
        env={**os.environ, "REDIS_URL": system.fleet.redis_url, **env},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


def problems(output: str) -> dict[str, list[dict[str, Any]]]:
    return {each["name"]: each["problems"] for each in json.loads(output)["checks"]}


async def test_a_running_system_and_its_project_have_no_problem_but_the_disk(
    system: System,
) -> None:
    status, output = await doctor(
        system, "--json", "--config", str(EXAMPLES), MILLSTREAM_API_URL=system.url
    )
    reported = problems(output)
    for name in ("workers", "due-runs", "api-urls", "graphs", "langgraph.json", "permissions"):
        assert reported[name] == [], name
    [problem] = reported["persistence"]  # the tests keep nothing
    assert problem["severity"] == "warning"
    assert status == 1


async def test_a_url_that_leads_past_the_api_is_named(system: System) -> None:
    status, output = await doctor(
        system, "--fail-on", "error", MILLSTREAM_API_URL=f"{system.url}/agents"
    )
    assert f"MILLSTREAM_API_URL={system.url}/agents leads to no API of Millstream" in output
    assert "\x1b" not in output
    assert status == 0
