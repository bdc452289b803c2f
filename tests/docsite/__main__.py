"""`make docs`: builds the site, serves it, and builds it again when a page changes."""

import argparse
import functools
import http.server
import sys
import threading
from typing import Any

from watchfiles import watch

from docsite.building import BuildError, build
from docsite.pages import DOCS, ROOT, UnknownPageError
from docsite.staging import BrokenLinkError

PROBLEMS = (BuildError, BrokenLinkError, UnknownPageError)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Prints nothing."""


def main() -> int:
    """Runs until Ctrl-C; with --once it only builds. Returns the exit status."""
    parser = argparse.ArgumentParser(prog="make docs", description=__doc__)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--once", action="store_true", help="build, and do not serve")
    arguments = parser.parse_args()
    try:
        html = build()
    except PROBLEMS as problem:
        sys.stderr.write(f"{problem}\n")
        return 1
    sys.stdout.write(f"{html.relative_to(ROOT)}\n")
    if not arguments.once:
        serve = functools.partial(_Quiet, directory=str(html))
        with http.server.ThreadingHTTPServer(("127.0.0.1", arguments.port), serve) as server:
            threading.Thread(target=server.serve_forever, daemon=True).start()
            sys.stdout.write(f"http://127.0.0.1:{arguments.port}/  (Ctrl-C stops it)\n")
            _rebuild()
    return 0


def _rebuild() -> None:
    for _ in watch(DOCS, *ROOT.glob("*.md")):
        try:
            build()
        except PROBLEMS as problem:
            sys.stderr.write(f"{problem}\n")


if __name__ == "__main__":
    sys.exit(main())
