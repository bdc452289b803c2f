"""Lazy imports run outside of the event loop, and are retried after a failure."""

import sys
import threading
from pathlib import Path

import pytest

from millstream.api.lazy_import import load

SLOW = "import threading, time\ntime.sleep(0.001)\nTHREAD = threading.get_ident()\n"


async def test_a_module_is_imported_in_a_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "asked_for_late.py").write_text(SLOW)
    await load("asked_for_late")
    await load("asked_for_late")
    assert threading.get_ident() != sys.modules["asked_for_late"].THREAD


async def test_a_failed_import_is_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ModuleNotFoundError):
        await load("comes_later")
    (tmp_path / "comes_later.py").write_text(SLOW)
    monkeypatch.syspath_prepend(str(tmp_path))  # clears the caches of the import system
    await load("comes_later")
    assert "comes_later" in sys.modules
