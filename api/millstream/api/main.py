"""An API process: uvicorn around the app, with a stop that lets clients come back."""

import argparse
import json
import logging
import os
import signal
import socket
import sys
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from millstream.api.app import create_app
from millstream.api.http import middleware
from millstream.api.http.context import process_in
from millstream.api.http.public_url import ProxyHeaders
from millstream.shared.errors import SettingError
from millstream.shared.redis import check_url
from millstream.shared.settings import Settings

STOP_WITHIN: Final = 4  # s for open requests, once the process is told to stop
# s. Longer than clients and load balancers keep an idle connection (5 to 60 s), so that it is
# they who close it: a server that closes first breaks off the request that is just being sent.
KEEP_IDLE_CONNECTIONS: Final = 75


class _ExpectedBreaks(logging.Filter):
    """Keeps quiet about streams that are broken off on purpose, when the process stops."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


class Server(uvicorn.Server):
    """Tells the open streams when it is told to stop, and says when it accepts connections."""

    def __init__(self, config: uvicorn.Config, app: Starlette, prefix: str) -> None:
        """`prefix` is the path below which the routes are, '' for none."""
        super().__init__(config)
        self._app = app
        self._prefix = prefix

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen; prints one line for whoever started the process."""
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            shown = f"[{host}]" if ":" in host else host
            ready = {"url": f"http://{shown}:{port}{self._prefix}", "pid": os.getpid()}
            sys.stdout.write(f"millstream-ready {json.dumps(ready)}\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by uvicorn on SIGTERM and SIGINT."""
        process = process_in(self._app)
        if process is not None:
            process.shut_down()
            logging.getLogger("uvicorn.error").addFilter(_ExpectedBreaks())
        super().handle_exit(signal.Signals(sig), frame)


def main() -> None:
    """Reads the arguments and serves; exits with 1 and a sentence if it can't start."""
    parser = argparse.ArgumentParser(prog="millstream api")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2024)
    parser.add_argument("--config", type=Path, help="a langgraph.json, of which `http` is read")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env()
        check_url(settings.redis_url)
        http, own = middleware.load(arguments.config)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    level = settings.log_level
    logging.basicConfig(level=level, format="%(levelname)-7s %(name)s: %(message)s")
    app = create_app(settings, http)
    config = uvicorn.Config(
        ProxyHeaders(
            middleware.wrap_app(app, http, own), settings.forwarded_allow_ips, http.prefix
        ),
        proxy_headers=False,  # for those are done with more of them above
        host=arguments.host,
        port=arguments.port,
        access_log=False,
        log_level="warning",
        log_config=None,
        timeout_graceful_shutdown=STOP_WITHIN,
        timeout_keep_alive=KEEP_IDLE_CONNECTIONS,
        server_header=False,
        ws="websockets-sansio",
        ws_max_size=settings.max_body,
    )
    Server(config, app, http.prefix).run()
