"""The built site."""

import fcntl
import functools
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from e2e.node import MISSING


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the HTML. Skips the test without Zensical (docs.lock) or npm, which downloads mermaid."""
    pytest.importorskip("zensical")
    if "npm" in MISSING:
        pytest.skip("npm is not installed")
    from docsite.building import BUILD, build

    BUILD.parent.mkdir(exist_ok=True)
    with (BUILD.parent / "docs.lock").open("w") as lock:  # of the download
        fcntl.flock(lock, fcntl.LOCK_EX)
        return build(tmp_path_factory.mktemp("site"))


@pytest.fixture(scope="session")
def site_url(site: Path) -> Iterator[str]:
    """The address of the site on a static web server, with a slash."""
    serve = functools.partial(_Quiet, directory=str(site))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), serve) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}/"
        server.shutdown()
