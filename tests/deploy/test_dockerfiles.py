"""The Dockerfiles: what their images hold, and health checks that run here for real."""

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

import pytest

from conftest import System
from deploy.dockerfile import environment, last, stages
from millstream.shared.settings import Settings

ROOT: Final = Path(__file__).parents[2]
IMAGES: Final = ["api", "worker"]
HADOLINT: Final = Path(sys.executable).with_name("hadolint")


def path_of(image: str) -> Path:
    return ROOT / "deploy" / f"{image}.Dockerfile"


@pytest.mark.skipif(
    not HADOLINT.exists(), reason="hadolint is not installed: make test installs it"
)
@pytest.mark.parametrize("image", IMAGES)
def test_hadolint_finds_nothing(image: str) -> None:
    check = subprocess.run([HADOLINT, path_of(image)], capture_output=True, text=True, check=False)
    assert check.returncode == 0, check.stdout


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_runs_one_command_as_a_user_that_is_not_root(image: str) -> None:
    stage = stages(path_of(image))[-1]
    user, group = last(stage, "USER").text.split(":")
    assert user == group == "10001"
    assert last(stage, "STOPSIGNAL").text == "SIGTERM"
    assert last(stage, "CMD").command[:2] == ["millstream", image]
    assert not [each for each in stage if each.name == "ENTRYPOINT"]
    assert {"PYTHONDONTWRITEBYTECODE", "HOME"} <= environment(stage).keys()


@pytest.mark.parametrize("image", IMAGES)
def test_an_image_holds_locked_packages_and_no_installer(image: str) -> None:
    build, final = stages(path_of(image))
    assert f"--require-hashes -r deploy/{image}.lock" in " ".join(each.text for each in build)
    assert not re.search(r"\b(apt|apt-get|pip|curl|gcc)\b", " ".join(each.text for each in final))
    copied = [each.text.split() for each in build if each.name == "COPY"]
    sources = [
        source for arguments in copied if "--from" not in arguments[0] for source in arguments[:-1]
    ]
    allowed = (ROOT / ".dockerignore").read_text()
    for source in sources:
        assert (ROOT / source).exists()
        assert re.search(rf"^!({re.escape(source)}|deploy/\*\.lock)$", allowed, re.MULTILINE)


def test_both_images_have_the_same_python() -> None:
    bases = {stage[0].text.split()[0] for image in IMAGES for stage in stages(path_of(image))}
    assert len(bases) == 1


def check_health(image: str, *, port: int = 0, alive_file: Path | None = None) -> bool:
    """Runs the health check of an image as its container does. `port` replaces that of the image."""
    command = last(stages(path_of(image))[-1], "HEALTHCHECK").command
    script = command[-1]
    if port:
        assert "/2024 " in script
        script = script.replace("/2024 ", f"/{port} ")
    assert "python" not in script
    env = {"PATH": os.environ["PATH"], "MILLSTREAM_ALIVE_FILE": str(alive_file)}
    run = subprocess.run(
        [*command[:-1], script], env=env, timeout=10, capture_output=True, check=False
    )
    return run.returncode == 0


@pytest.fixture
async def failing_server() -> AsyncIterator[int]:
    """The port of a server whose every response is a 503, as an API's without Redis."""

    async def respond(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(respond, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def test_an_api_is_healthy_while_it_can_admit_runs(system: System) -> None:
    assert check_health("api", port=int(system.url.rpartition(":")[2]))


async def test_an_api_is_unhealthy_without_redis_or_without_a_process(failing_server: int) -> None:
    assert not await asyncio.to_thread(check_health, "api", port=failing_server)
    assert not check_health("api", port=1)


def test_a_worker_is_healthy_while_it_touches_its_file(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    assert not check_health("worker", alive_file=path)
    path.touch()
    assert check_health("worker", alive_file=path)
    then = path.stat().st_mtime - 70
    os.utime(path, (then, then))
    assert not check_health("worker", alive_file=path)


def test_the_image_of_workers_names_the_file_that_its_health_check_reads() -> None:
    stage = stages(path_of("worker"))[-1]
    path = Settings.from_env(environment(stage)).alive_file
    assert path.startswith("/tmp/")
    assert '"$MILLSTREAM_ALIVE_FILE"' in last(stage, "HEALTHCHECK").command[-1]
