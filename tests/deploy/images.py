"""Builds the environments of both images in an empty folder, runs a graph across them, and measures them.

`make images` runs it. The steps are those of the Dockerfiles. What a container adds is missing: its file system, and
the Python of its base.
"""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from deploy.dockerfile import environment, last, stages
from millstream.cli.embedded import EmbeddedRedis

ROOT: Final = Path(__file__).parents[2]
PIP: Final = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
START_SECONDS: Final = 60.0
USER: Final = 10001  # of the images


@dataclass
class Figures:
    """What is measured of one image."""

    packages: int
    megabytes: float
    start: float = 0.0
    memory: float = 0.0
    drain: float = 0.0


def run(*command: Any) -> str:
    """Runs a command; returns its output. Raises CalledProcessError with it."""
    return subprocess.run(
        [str(each) for each in command], cwd=ROOT, check=True, capture_output=True, text=True
    ).stdout


def build(image: str, folder: Path, wheel: Path) -> Figures:
    """Makes the environment of an image."""
    python = folder / "bin" / "python"
    run(sys.executable, "-m", "venv", "--without-pip", "--copies", folder)
    install = [*PIP, "--python", python, "install", "--quiet"]
    run(*install, "--require-hashes", "-r", f"deploy/{image}.lock")
    run(*install, "--no-deps", "--no-index", wheel)
    run(*PIP, "--python", python, "check")
    packages = len(json.loads(run(*PIP, "--python", python, "list", "--format", "json")))
    size = sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
    return Figures(packages, size / 1e6)


def free_port() -> int:
    """Returns a port that nothing listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def user_for(python: Path) -> int | None:
    """Returns the user of the images, or None where that user can't run this Python or is out of reach."""
    if os.getuid() != 0:
        return None
    code = "import sys; print(sys.base_prefix, sys.version)"
    outputs = {
        subprocess.run(
            [python, "-c", code], user=user, cwd="/", capture_output=True, check=False
        ).stdout
        for user in (0, USER)
    }
    return USER if len(outputs) == 1 else None


class Container:
    """The process of an image, with its variables, its command and its user."""

    def __init__(self, image: str, folder: Path, project: Path, **env: str) -> None:
        stage = stages(ROOT / "deploy" / f"{image}.Dockerfile")[-1]
        self.env = {**environment(stage), "PATH": f"{folder / 'bin'}:/usr/bin:/bin", **env}
        self.command = last(stage, "CMD").command
        self._health = last(stage, "HEALTHCHECK").command
        if image == "api":
            self.command = [*self.command[:-1], str(free_port())]
        begin = time.monotonic()
        self.process = subprocess.Popen(
            self.command,
            cwd=project,
            env=self.env,
            user=user_for(folder / "bin" / "python"),
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        self.start = time.monotonic() - begin
        assert line.startswith("millstream-ready "), f"{image} did not start"
        self.ready = json.loads(line.removeprefix("millstream-ready "))

    def healthy(self) -> bool:
        """Runs the health check of the image."""
        port = self.ready.get("url", "").rpartition(":")[2]
        command = [each.replace("/2024 ", f"/{port} ") for each in self._health]
        return subprocess.run(command, env=self.env, check=False).returncode == 0

    def memory(self) -> float:
        """Returns the resident memory of the process in MB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        match = re.search(r"VmRSS:\s+(\d+) kB", status)
        assert match
        return int(match[1]) / 1e3

    def stop(self) -> float:
        """Sends SIGTERM; returns the seconds until the process has ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(START_SECONDS)
        assert status in (0, -signal.SIGTERM), f"it ended with {status}"
        return time.monotonic() - begin


@contextmanager
def started(image: str, folder: Path, project: Path, **env: str) -> Iterator[Container]:
    """The process of an image; it has ended afterwards."""
    container = Container(image, folder, project, **env)
    try:
        yield container
    finally:
        container.process.kill()
        container.process.wait()


def send(url: str, body: dict[str, Any] | None = None) -> Any:
    """Sends a POST, or without a body a GET; returns the JSON of the response."""
    content = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, content, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=START_SECONDS) as response:
        return json.load(response)


def wait(condition: Any, what: str) -> None:
    """Waits for a condition. Fails after a minute."""
    deadline = time.monotonic() + START_SECONDS
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def build_all(folder: Path) -> dict[str, Figures]:
    """Builds the wheel and both environments."""
    run(sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder / "wheels")
    [wheel] = (folder / "wheels").glob("*.whl")
    return {image: build(image, folder / image, wheel) for image in ("api", "worker")}


def check(folder: Path, figures: dict[str, Figures]) -> None:
    """Runs a graph across both environments, and measures them."""
    project = folder / "project"
    shutil.copytree(ROOT / "examples", project, ignore=shutil.ignore_patterns("__pycache__"))
    alive = Path(tempfile.mkdtemp()) / "alive"
    alive.parent.chmod(0o777)
    with (
        EmbeddedRedis(folder / "redis", appendonly=False) as redis,
        started("api", folder / "api", folder, REDIS_URL=redis.url) as api,
        started(
            "worker",
            folder / "worker",
            project,
            REDIS_URL=redis.url,
            MILLSTREAM_ALIVE_FILE=str(alive),
            METRICS_PORT=str(free_port()),
        ) as worker,
    ):
        wait(worker.healthy, "the worker is healthy")
        wait(api.healthy, "the API is healthy")
        chat = {"assistant_id": "chat", "input": {"messages": [{"role": "user", "content": "hi"}]}}
        state = send(f"{api.ready['url']}/runs/wait", chat)
        assert state["messages"][-1]["type"] == "ai", state
        for image, process in (("api", api), ("worker", worker)):
            figures[image].start = process.start
            figures[image].memory = process.memory()
        threads = f"{api.ready['url']}/threads"
        runs = f"{threads}/{send(threads, {})['thread_id']}/runs"
        slow = {"configurable": {"tokens": 100, "delay": 0.02}}  # 2 s
        run_id = send(runs, {**chat, "config": slow})["run_id"]
        wait(lambda: send(f"{runs}/{run_id}")["status"] == "running", "the run has begun")
        figures["worker"].drain = worker.stop()
        assert send(f"{runs}/{run_id}")["status"] == "success"
        figures["api"].drain = api.stop()
    written = [path for path in (folder / "project").rglob("*") if path.name == "__pycache__"]
    assert not written, written
    shutil.rmtree(alive.parent)


def main() -> None:
    """Prints the figures of both images."""
    with tempfile.TemporaryDirectory(prefix="millstream-images-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        figures = build_all(folder)
        check(folder, figures)
    rows = [
        "| Image | Packages | MB | Start, s | Memory at rest, MB | Stop, s (worker: a run of 2 s) |"
    ]
    rows += ["|---|---|---|---|---|---|"]
    for image, each in figures.items():
        figures_of_image = (
            f"{each.packages} | {each.megabytes:.0f} | {each.start:.1f} | {each.memory:.0f}"
        )
        rows.append(f"| {image} | {figures_of_image} | {each.drain:.2f} |")
    sys.stdout.write("\n".join([*rows, ""]))


if __name__ == "__main__":
    main()
