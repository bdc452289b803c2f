"""`millstream dev`: checks the project and this machine, then runs Redis, the API and the workers."""

import asyncio
import contextlib
import errno
import signal
import socket
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Final, TextIO

from millstream.cli.console import Console
from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.errors import CliError, SetupError
from millstream.cli.processes import (
    DATA_FOLDER,
    api_command,
    environment,
    read_settings,
    require_extra,
    variable,
    worker_command,
)
from millstream.cli.project import Project, read_project
from millstream.cli.supervisor import Events, Plan, Stop, Supervisor, worker_names
from millstream.cli.watch import can_watch
from millstream.shared import permissions
from millstream.shared.errors import SettingError
from millstream.shared.redis import UNAVAILABLE, connect, masked
from millstream.shared.rules.auth_kinds import choose_auth_kinds, is_loopback
from millstream.shared.rules.queue_names import DEFAULT

# Pages with which people try a server on their own machine: LangGraph Studio, and Agent Chat UI.
KNOWN_PAGES: Final = ("https://smith.langchain.com", "https://agentchat.vercel.app")
LOCAL_PAGES: Final = r"https?://(localhost|[\w.-]+\.localhost|127\.0\.0\.1|\[::1\])(:\d+)?"
LOG_JSON: Final = variable("log_json")
LOG_COLOR: Final = variable("log_color")


@dataclass(frozen=True, slots=True)
class DevOptions:
    """The options of `millstream dev`."""

    config: Path
    host: str
    port: int
    redis_url: str | None
    queues: Sequence[str]
    """The queues that the workers serve; empty: `default`, and those that langgraph.json declares."""
    workers: int
    reload: bool


def run(options: DevOptions, environ: Mapping[str, str]) -> int:
    """Runs all processes until Ctrl-C; returns the exit status. Raises CliError before it starts any."""
    for stream in (sys.stdout, sys.stderr):
        _tolerate_any_encoding(stream)
    require_extra("api")
    require_extra("worker")
    project = read_project(options.config)
    require_authentication(options.host, project, environ)
    console = Console(width=max(map(len, worker_names(options.workers))))
    reload = options.reload and can_watch()
    if options.reload and not reload:
        console.line("dev", 'no reload without: pip install "millstream[embedded]"', err=True)
    with _redis(options.redis_url, project) as (url, redis, redis_name, events):
        # After the Redis, so that a second start in the same folder fails with that reason, not with a taken port.
        require_free_port(options.host, options.port)
        plan = Plan(
            project=project,
            # Unbuffered, so that the output of a graph appears at once. Without a grace period, so that
            # a restart and a stop do not wait for the runs.
            environ={
                # Lines for people, as the console shows them. It removes the colours where there is no terminal.
                LOG_JSON: "false",
                LOG_COLOR: "true",
                **environment(environ, url),
                "PYTHONUNBUFFERED": "1",
                "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS": "0",
                # Several workers can't share a port.
                **({} if options.workers == 1 else {variable("metrics_port"): "0"}),
                **page_rules(options.host, environ),
            },
            address=local_url(options.host, options.port),
            api=api_command(options.host, options.port, project.config),
            worker=worker_command(
                project.config, options.queues or [DEFAULT], declared=not options.queues
            ),
            workers=options.workers,
            reload=reload,
            redis=redis_name,
            version=version("millstream"),
        )
        return Supervisor(plan, console, events, redis).run()


def require_authentication(host: str, project: Project, environ: Mapping[str, str]) -> None:
    """Raises CliError for an address that others can reach, if nothing says which credentials they need."""
    settings = read_settings(environ)
    try:
        choose_auth_kinds(
            settings.auth_type, host, has_custom=project.has_auth, has_jwt=settings.has_jwt
        )
    except SettingError as error:
        raise CliError(str(error)) from None


def page_rules(host: str, environ: Mapping[str, str]) -> dict[str, str]:
    """Returns variables with which only this machine's pages and two well-known ones may call a loopback address.

    The developer's browser also opens pages of strangers, and runs graphs for them otherwise.
    """
    if not is_loopback(host):
        return {}
    rules = {
        "allowed_hosts": "localhost,*.localhost,127.0.0.1,::1",
        "cors_allow_origins": ",".join(KNOWN_PAGES),
        "cors_allow_origin_regex": LOCAL_PAGES,
        "studio_access": "true",
    }
    variables = {variable(name): value for name, value in rules.items()}
    return {name: value for name, value in variables.items() if name not in environ}


def local_url(host: str, port: int) -> str:
    """Returns the URL with which this machine reaches a server that listens on that address."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(host, host)
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def require_free_port(host: str, port: int) -> None:
    """Raises SetupError if the API can't listen on that address."""
    reason = _bind_error(host, port)
    if reason is None:
        return
    if reason != errno.EADDRINUSE:
        raise SetupError(f"The API can't listen on {host}, port {port}: {reason}.")
    others = range(port + 1, min(port + 100, 65536))
    free = next((other for other in others if _bind_error(host, other) is None), None)
    hint = "" if free is None else f" Stop what uses it, or use --port {free}."
    raise SetupError(f"Port {port} is already in use.{hint}")


def _bind_error(host: str, port: int) -> str | int | None:
    """Returns None if the port is free, EADDRINUSE if it is taken, otherwise the error message."""
    try:
        family, kind, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind) as probe:
            # As servers do: closing connections of an earlier process do not block the port.
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        return errno.EADDRINUSE if error.errno == errno.EADDRINUSE else str(error.strerror)
    return None


@contextlib.contextmanager
def _redis(
    url: str | None, project: Project
) -> Iterator[tuple[str, EmbeddedRedis | None, str, Events]]:
    """Yields the URL of a Redis that answers, the server if it is embedded, a text that names it, and the events.

    The events get a Stop on Ctrl-C and the like, until the Redis is stopped.
    """
    signals = _Signals()
    with signals.caught():
        if url is not None:
            asyncio.run(_require_usable_redis(url))
            signals.interrupt = False
            yield url, None, masked(url), signals.events
            return
        redis = EmbeddedRedis(_data_folder(project))
        try:
            redis.start()
            signals.interrupt = False
            name = f"embedded, port {redis.port}, data in {redis.directory}"
            yield redis.url, redis, name, signals.events
        finally:
            signals.interrupt = False
            redis.stop()


class _Signals:
    """Turns Ctrl-C and similar signals into events, or into KeyboardInterrupt while nothing reads the events."""

    def __init__(self) -> None:
        self.events = Events()
        self.interrupt = True

    @contextlib.contextmanager
    def caught(self) -> Iterator[None]:
        """Handles the signals within the block."""
        before = {
            signum: signal.getsignal(signum)
            for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        }
        for signum, handler in before.items():
            # nohup ignores SIGHUP on purpose. A script's shell ignores SIGINT for its background
            # processes, but a SIGINT that is sent later must stop the command.
            if signum != signal.SIGHUP or handler != signal.SIG_IGN:
                signal.signal(signum, self._on_signal)
        try:
            yield
        finally:
            for signum, handler in before.items():
                signal.signal(signum, handler)

    def _on_signal(self, signum: int, frame: FrameType | None) -> None:
        if self.interrupt:
            raise KeyboardInterrupt
        self.events.put(Stop())


def _data_folder(project: Project) -> Path:
    folder = project.folder / DATA_FOLDER
    try:
        folder.mkdir(mode=0o700, exist_ok=True)  # it holds conversations
        (folder / ".gitignore").write_text("*\n")
    except OSError as error:
        raise SetupError(f"{folder} can't be used: {error.strerror}.") from None
    return folder


async def _require_usable_redis(url: str) -> None:
    """Raises CliError if the Redis does not answer, or its user lacks permissions."""
    try:
        redis = connect(url, connections=2, reply_timeout=5)
    except SettingError as error:
        raise CliError(str(error)) from None
    try:
        await permissions.require(redis)
    except SettingError as error:
        raise SetupError(str(error)) from None
    except UNAVAILABLE as error:
        reason = str(error).replace(url, masked(url))
        raise SetupError(f"No Redis answers at {masked(url)}: {reason}") from None
    finally:
        await redis.aclose()


def _tolerate_any_encoding(stream: TextIO) -> None:
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors="replace")
