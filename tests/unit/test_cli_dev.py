"""`millstream dev` from its first check to its last process, with stand-ins for API and worker."""

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from millstream.cli.dev import local_url, require_free_port
from millstream.cli.embedded import EmbeddedRedis
from millstream.cli.errors import SetupError

# `millstream dev` with an API and a worker that only print that they are ready, and their graphs.
DEV = """
import os, signal, sys
from pathlib import Path
from millstream.cli import dev
signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a script's shell does for the background
CHILD = '''
import json, os, signal
url = os.environ["REDIS_URL"]
facts = {"url": "http://there", "auth": "noop", "graphs": ["chat"], "jobs": 3, "pid": os.getpid()}
print("millstream-ready " + json.dumps(facts), flush=True)
print("pid", os.getpid(), "redis", url, flush=True)
signal.pause()
'''
dev.api_command = dev.worker_command = lambda *args, **kwargs: [sys.executable, "-c", CHILD]
dev.require_extra = lambda extra: None
options = dev.DevOptions(Path(sys.argv[1]), "127.0.0.1", int(sys.argv[2]), None, "default", 1, False)
sys.exit(dev.run(options, os.environ))
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    content = {"graphs": {"chat": "./chat.py:graph"}}
    (tmp_path / "langgraph.json").write_text(json.dumps(content))
    return tmp_path


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("127.0.0.1", "http://127.0.0.1:2025"), ("0.0.0.0", "http://127.0.0.1:2025"),
        ("::", "http://[::1]:2025"), ("::1", "http://[::1]:2025"), ("box", "http://box:2025"),
    ],
)  # fmt: skip
def test_a_wildcard_address_becomes_a_loopback_url(host: str, url: str) -> None:
    assert local_url(host, 2025) == url


class Dev:
    """A running `millstream dev`, with the processes that it has started."""

    def __init__(self, folder: Path, port: int) -> None:
        command = [sys.executable, "-c", DEV, str(folder), str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.text = ""
        assert self.process.stdout is not None
        pids = []
        for line in self.process.stdout:
            self.text += line
            if match := re.search(r"│ pid (\d+) redis (\S+)", line):
                pids.append(int(match[1]))
                self.redis_url = match[2]
            if len(pids) == 2 and "Ctrl-C stops everything" in self.text:
                break
        else:
            raise AssertionError(self.text)
        self.watches = [os.pidfd_open(pid) for pid in pids]

    def children_end(self) -> bool:
        """Waits until the API and the worker have ended."""
        return all(select.select([watch], [], [], 10)[0] for watch in self.watches)

    def redis_answers(self) -> bool:
        address = urlsplit(self.redis_url)
        try:
            socket.create_connection((address.hostname, address.port), timeout=1).close()
        except OSError:
            return False
        return True

    def close(self) -> None:
        for watch in self.watches:
            os.close(watch)
        if self.process.poll() is None:
            self.process.kill()
        self.process.communicate()


@pytest.fixture
def dev(folder: Path, port: int) -> Iterator[Dev]:
    if sys.platform != "linux":
        pytest.skip("watches processes by their descriptors")
    dev = Dev(folder, port)
    yield dev
    dev.close()


@pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_everything_within_5_seconds(dev: Dev, signum: signal.Signals) -> None:
    assert dev.redis_answers()
    dev.process.send_signal(signum)
    assert dev.process.wait(5) == 0
    assert dev.children_end()
    assert not dev.redis_answers()


def test_no_process_survives_a_killed_dev(dev: Dev, folder: Path) -> None:
    dev.process.kill()
    assert dev.children_end()
    with EmbeddedRedis(folder / ".millstream"):  # the lock is free again
        pass


def test_dev_ends_with_its_redis(dev: Dev) -> None:
    match = re.search(r"embedded, port \d+, data in (\S+)", dev.text)
    assert match
    log = Path(match[1], "redis.log").read_text()
    os.kill(int(log.partition(":")[0]), signal.SIGKILL)
    text, _ = dev.process.communicate(timeout=5)
    assert dev.process.returncode == 1
    assert "Redis ended by itself with status -9" in text
    assert dev.children_end()


def test_the_data_folder_is_ignored_by_git_and_serves_one_dev(dev: Dev, folder: Path) -> None:
    assert (folder / ".millstream" / ".gitignore").read_text() == "*\n"
    with pytest.raises(SetupError, match="already running in this folder"):
        EmbeddedRedis(folder / ".millstream").start()


def test_a_taken_port_is_an_error_that_names_a_free_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(SetupError) as failure:
            require_free_port("127.0.0.1", port)
    match = re.fullmatch(
        rf"Port {port} is already in use\. Stop what uses it, or use --port (\d+)\.",
        str(failure.value),
    )
    assert match
    assert int(match[1]) > port


def test_an_address_of_another_machine_is_an_error(port: int) -> None:
    with pytest.raises(SetupError, match=f"The API can't listen on 192.0.2.1, port {port}: "):
        require_free_port("192.0.2.1", port)


def test_a_free_port_is_accepted(port: int) -> None:
    require_free_port("127.0.0.1", port)
