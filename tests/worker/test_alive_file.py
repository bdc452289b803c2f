"""The file by which a container's health check knows that a worker works."""

import asyncio
import os
from pathlib import Path

import pytest

from harness.waiting import until
from millstream.shared.errors import SettingError
from millstream.worker.background import Service, Services
from millstream.worker.maintenance import alive_file


def age(path: Path, seconds: float) -> float:
    """Makes the file that old. Returns its new time."""
    then = path.stat().st_mtime - seconds
    os.utime(path, (then, then))
    return then


async def test_the_file_is_touched_until_all_other_services_have_stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alive_file, "EVERY", 0.01)
    path = tmp_path / "alive"

    async def drain() -> None:
        then = age(path, 60)
        await until(lambda: path.stat().st_mtime > then + 50, what="a touch during the drain")

    idle = asyncio.Event().wait
    async with Services([alive_file.service(path), Service("dispatch", idle, drain)]) as services:
        await until(path.exists)
        os.rename(path, tmp_path / "moved")
        await until(path.exists, what="a new file")
        stop = asyncio.Event()
        stop.set()
        await services.until(stop)


def test_the_file_of_an_earlier_process_is_removed(tmp_path: Path) -> None:
    path = tmp_path / "alive"
    path.touch()
    alive_file.clear(path)
    assert not path.exists()


def test_a_file_that_cannot_be_written_is_an_error_of_the_setting(tmp_path: Path) -> None:
    with pytest.raises(SettingError, match=r"MILLSTREAM_ALIVE_FILE=.*No such file or directory"):
        alive_file.clear(tmp_path / "missing" / "alive")
