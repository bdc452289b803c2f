"""An API process: uvicorn with the application, and a stop after which clients reconnect."""

import argparse
import gc
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import Final

import uvicorn
from starlette.applications import Starlette

from millstream.api.app import create_app
from millstream.api.auth.description import describe_security
from millstream.api.auth.opening import OpenProjectAuth, open_kinds
from millstream.api.auth.project import open_project_auth, project_processes
from millstream.api.http import middleware
from millstream.api.http.access_log import AccessLog, LoggedError
from millstream.api.http.connections import limited_protocol, max_connections
from millstream.api.http.context import process_in
from millstream.api.http.public_url import ProxyHeaders
from millstream.shared import logs
from millstream.shared.auth_process.processes import AuthProcesses
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.auth import AuthConfig
from millstream.shared.metrics.metrics import open_api_metrics
from millstream.shared.redis import check_url
from millstream.shared.rules.auth_kinds import AuthKind, choose_auth_kinds, is_loopback
from millstream.shared.setting import ON
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import open_tracer

log = logging.getLogger(__name__)

STOP_WITHIN: Final = 4  # s for open requests after the signal to stop
# s. Clients and load balancers keep an idle connection for 5 to 60 s. They must close it first: a server that closes
# first breaks off a request that is on its way.
KEEP_IDLE_CONNECTIONS: Final = 75


class _ExpectedBreaks(logging.Filter):
    """Drops log records about streams that are broken off on purpose when the process stops."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "without completing response" not in record.getMessage()


class _LoggedBefore(logging.Filter):
    """Drops uvicorn's log records of exceptions that http/access_log.py has logged with the request's id."""

    def filter(self, record: logging.LogRecord) -> bool:
        return record.exc_info is None or record.exc_info[0] is not LoggedError


class Server(uvicorn.Server):
    """Ends the open streams on a signal to stop, and prints a line when it accepts connections."""

    def __init__(
        self,
        config: uvicorn.Config,
        app: Starlette,
        prefix: str,
        kinds: Sequence[AuthKind],
        auth_processes: AuthProcesses | None = None,
    ) -> None:
        """Does not start yet.

        Args:
            config: for uvicorn.
            app: what it serves.
            prefix: the path before the routes, '' for none.
            kinds: the credentials that are accepted.
            auth_processes: are started before the server.
        """
        super().__init__(config)
        self.failure: SettingError | None = None  # why it has not started
        self._app = app
        self._prefix = prefix
        self._kinds = kinds
        self._auth_processes = auth_processes

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Starts to listen, and prints one line for the parent process."""
        try:
            if self._auth_processes is not None:
                # Not in the lifespan, whose errors uvicorn logs with a traceback.
                await self._auth_processes.start()
        except SettingError as error:
            self.failure, self.should_exit = error, True
            return
        await super().startup(sockets)
        if self.started:
            host, port = self.servers[0].sockets[0].getsockname()[:2]
            url_host = f"[{host}]" if ":" in host else host
            ready = {
                "url": f"http://{url_host}:{port}{self._prefix}",
                "pid": os.getpid(),
                "auth": ",".join(self._kinds),
            }
            sys.stdout.write(f"millstream-ready {json.dumps(ready)}\n")
            sys.stdout.flush()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Ends the open streams. uvicorn calls this on SIGTERM and SIGINT."""
        process = process_in(self._app)
        if process is not None:
            process.shut_down()
            logging.getLogger("uvicorn.error").addFilter(_ExpectedBreaks())
        super().handle_exit(signal.Signals(sig), frame)


def main() -> None:
    """Reads the arguments and serves. Exits with status 1 and a message if it can't start."""
    parser = argparse.ArgumentParser(prog="millstream api")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=2024)
    parser.add_argument("--config", type=Path, help="path of a langgraph.json; its `http` is used")
    arguments = parser.parse_args()
    try:
        settings = Settings.from_env()
        check_url(settings.redis_url)
        logs.configure("api", settings)
        project = middleware.load(arguments.config, settings)
        kinds = choose_auth_kinds(
            settings.auth_type,
            arguments.host,
            has_custom=project.auth is not None,
            has_jwt=settings.has_jwt,
        )
        if settings.studio_access in ON and not is_loopback(arguments.host):
            raise SettingError(
                "MILLSTREAM_STUDIO_ACCESS: any client may call itself LangGraph Studio, so it is for loopback alone "
                f"(--host is {arguments.host})."
            )
        auth = project.auth if AuthKind.CUSTOM in kinds else None
        processes, open_project = _project_auth(arguments.config, auth, settings)
        open_auth = open_kinds(kinds, open_project)
        tracer = open_tracer(settings)
        metrics = open_api_metrics(settings)
    except SettingError as error:
        sys.stderr.write(f"{error}\n")
        sys.exit(1)
    logs.configure("api", settings, traceparent=tracer.traceparent)
    logging.getLogger("uvicorn.error").addFilter(_LoggedBefore())
    http = project.http
    app = create_app(
        settings,
        http,
        tracer=tracer,
        metrics=metrics,
        open_auth=open_auth,
        security=describe_security(kinds, None if auth is None else auth.openapi),
    )
    config = uvicorn.Config(
        ProxyHeaders(
            AccessLog(
                middleware.wrap_app(app, http, project.app, settings),
                excluded=settings.excluded_paths,
                prefix=http.prefix,
                headers=http.logging_headers,
            ),
            settings.forwarded_allow_ips,
            http.prefix,
        ),
        proxy_headers=False,  # ProxyHeaders reads more of these headers
        host=arguments.host,
        port=arguments.port,
        access_log=False,
        log_level="warning",
        log_config=None,
        timeout_graceful_shutdown=STOP_WITHIN,
        timeout_keep_alive=KEEP_IDLE_CONNECTIONS,
        server_header=False,
        http=limited_protocol(settings.request_timeout),
        limit_concurrency=max_connections(settings),
        ws="websockets-sansio",
        ws_max_size=settings.max_message,
        ws_per_message_deflate=False,  # a small message could inflate to one of any size
    )
    if AuthKind.NOOP in kinds and not is_loopback(arguments.host):
        log.warning(
            "AUTH_TYPE=noop: every client that reaches %s may read and change everything.",
            arguments.host or "this machine",
        )
    server = Server(config, app, http.prefix, kinds, processes)
    gc.collect()
    gc.freeze()  # else each collection looks at all modules, while all clients wait
    server.run()
    if server.failure:
        sys.stderr.write(f"{server.failure}\n")
        sys.exit(1)


def _project_auth(
    config: Path | None, auth: AuthConfig | None, settings: Settings
) -> tuple[AuthProcesses | None, OpenProjectAuth | None]:
    """Returns the processes of the project's `auth`, and what opens it with them; None if it is not used."""
    if config is None or auth is None:
        return None, None
    processes = project_processes(config, settings)
    return processes, lambda settings: open_project_auth(processes, auth, settings)
