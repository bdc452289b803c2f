"""An nginx in front of one API or several."""

import os
import re
import shutil
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Final

DEPLOY: Final = Path(__file__).parents[2] / "deploy"
DEPLOYED: Final = DEPLOY / "proxies" / "nginx.conf"
OF_COMPOSE: Final = DEPLOY / "compose.nginx.conf"
# A package's configuration, with its own folders and timeouts so short that silence reaches them.
MAIN: Final = """
pid nginx.pid;
error_log error.log warn;
worker_processes 1;
events {{ worker_connections 256; }}
http {{
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi; scgi_temp_path scgi;
    proxy_read_timeout 2s; proxy_send_timeout 2s; send_timeout 2s; keepalive_timeout 65s;
    {http}
}}
"""
BARE: Final = """
server { listen 127.0.0.1:8080; location / { proxy_pass http://127.0.0.1:2024; } }
"""


def program() -> str | None:
    """Returns the path of nginx. It is often only on an administrator's PATH."""
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")


def included(api: str, config: str, *, http: str = "", listen: str = "") -> str:
    """Returns the whole configuration for `config`, a file of conf.d in which 2024 stands for the API's port."""
    config = re.sub(r"listen [\w.:]*8080;", f"listen 127.0.0.1:8080{listen};", config)
    return MAIN.format(http=http + config.replace("127.0.0.1:2024", api.removeprefix("http://")))


def of_compose(folder: Path, apis: Sequence[str]) -> str:
    """Returns the configuration of compose.yaml with what differs outside of its containers.

    That is: the addresses for which the name `api` stands there, folders, and timeouts, scaled from 60 s to 2 s.
    """
    servers = " ".join(f"server {api.removeprefix('http://')};" for api in apis)
    config = OF_COMPOSE.read_text()
    for pattern, replacement in (
        (r"listen 8080;", "listen 127.0.0.1:8080;"),
        (r"server api:2024 resolve;", servers),
        (r"/tmp/", f"{folder}/"),
        (r"/dev/stderr", "error.log"),
        (r"/dev/stdout", "access.log"),
        (r"worker_processes auto;", "worker_processes 1;"),
        (r"worker_shutdown_timeout 10s;", "worker_shutdown_timeout 1s;"),
        (r"((?:read|send)_timeout) 60s;", r"\1 2s;"),
    ):
        config, count = re.subn(pattern, replacement, config)
        assert count, f"{OF_COMPOSE.name} has no {pattern}"
    return config


class Nginx:
    """A running nginx. In its whole configuration 127.0.0.1:8080 stands for its address."""

    def __init__(self, folder: Path, config: str) -> None:
        folder.mkdir(exist_ok=True)
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = config.replace("127.0.0.1:8080", f"127.0.0.1:{self.port}")
        # As root it would drop its rights, and with them access to this folder.
        user = "user root root;\n" if os.getuid() == 0 else ""
        (folder / "nginx.conf").write_text(f"daemon off;\n{user}{config}")
        path = program()
        assert path is not None
        self.folder = folder
        self._process = subprocess.Popen(
            [path, "-p", str(folder), "-c", "nginx.conf", "-e", "error.log"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def stop(self) -> None:
        """Ends it at once and closes its connections."""
        self._process.terminate()
        self._process.wait(10)

    def drain(self) -> None:
        """Asks it to end as a container runtime does. It accepts no more connections and lets open requests end."""
        self._process.send_signal(signal.SIGQUIT)

    def has_ended(self) -> bool:
        """Returns whether it has ended. Fails if it ended with an error."""
        assert self._process.poll() in (None, 0), self.errors()
        return self._process.poll() is not None

    def listens(self) -> bool:
        """Returns whether it accepts connections. Fails if it has ended with an error."""
        assert self._process.poll() in (None, 0), self.errors()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def errors(self) -> str:
        """Returns its error log."""
        return self._log("error.log")

    def requests(self) -> str:
        """Returns its access log."""
        return self._log("access.log")

    def _log(self, name: str) -> str:
        log = self.folder / name
        return log.read_text() if log.exists() else ""
