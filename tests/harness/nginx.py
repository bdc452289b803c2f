"""An nginx in front of an API."""

import os
import re
import shutil
import socket
import subprocess
from pathlib import Path
from typing import Final

DEPLOYED: Final = Path(__file__).parents[2] / "deploy" / "proxies" / "nginx.conf"
# A package's configuration, with its own folders and timeouts so short that silence reaches them.
MAIN: Final = """
daemon off;
{user}
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


class Nginx:
    """A running nginx. In `config`, a file of conf.d, 8080 stands for its port and 2024 for the API's."""

    def __init__(
        self, folder: Path, api: str, config: str, *, http: str = "", listen: str = ""
    ) -> None:
        folder.mkdir()
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        config = re.sub(r"listen [\w.:]*8080;", f"listen 127.0.0.1:{self.port}{listen};", config)
        config = config.replace("127.0.0.1:2024", api.removeprefix("http://"))
        (folder / "nginx.conf").write_text(
            MAIN.format(
                # As root it would drop its rights, and with them access to this folder.
                user="user root root;" if os.getuid() == 0 else "",
                http=http + config,
            )
        )
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

    def listens(self) -> bool:
        """Returns whether it accepts connections. Fails if it has ended."""
        assert self._process.poll() is None, self.errors()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def errors(self) -> str:
        """Returns its error log."""
        log = self.folder / "error.log"
        return log.read_text() if log.exists() else ""
