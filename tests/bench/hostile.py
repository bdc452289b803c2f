"""What one hostile client costs an API: memory above rest, and how long another client's `/ok` waits.

Each attack runs in a process of its own, beside a client that sends `/ok` every few ms. The column `stall` is the CPU
time that the API used for others while that client waited: how long it would wait on a quiet machine. Other load makes
`longest` longer, and `stall` not.
"""

import subprocess
import sys
import tempfile
import threading
import time
from http.client import HTTPConnection, HTTPException
from pathlib import Path
from typing import Final, Self
from urllib.parse import urlsplit

from bench.attacks import ATTACK_SECONDS, ATTACKS
from harness.processes import FreshFleet, Process
from millstream.cli.embedded import EmbeddedRedis

MAX_MIB: Final = 64  # above rest, for one client
MAX_STALL_MS: Final = 100
PROBE_SECONDS: Final = 0.003
IDLE_MS: Final = 15.0  # of CPU in 0.3 s


class Probe:
    """Another client: sends `/ok` every few ms on one connection, from a thread."""

    def __init__(self, api: Process) -> None:
        self._address = urlsplit(api.url)
        self._pid = api.pid
        self.waits_ms: list[float] = []
        self.stalls_ms: list[float] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        connection = HTTPConnection(str(self._address.hostname), self._address.port, timeout=60)
        begun, cpu = time.perf_counter(), cpu_ms(self._pid)
        while not self._ended.is_set():
            try:
                connection.request("GET", "/ok")
                connection.getresponse().read()
            except (
                OSError,
                HTTPException,
            ):  # its connection made room: it opens another one, as clients do
                connection.close()
                continue
            self.waits_ms.append((time.perf_counter() - begun) * 1000)
            self.stalls_ms.append(cpu_ms(self._pid) - cpu)
            self._ended.wait(PROBE_SECONDS)
            begun, cpu = time.perf_counter(), cpu_ms(self._pid)
        connection.close()


def cpu_ms(pid: int) -> float:
    """Returns the CPU time of all threads of a process so far."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e6


def memory_mib(process: Process, name: str) -> float:
    """Returns VmRSS or VmHWM of a process."""
    for line in Path(f"/proc/{process.pid}/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def measure(api: Process, name: str) -> tuple[float, float, float, str]:
    """Returns MiB above rest, the longest stall and the longest wait in ms, and the statuses of the responses."""
    is_idle = False
    while not is_idle:  # the attack before may not be over
        before = cpu_ms(api.pid)
        time.sleep(0.3)
        is_idle = cpu_ms(api.pid) - before < IDLE_MS
    Path(f"/proc/{api.pid}/clear_refs").write_text("5")  # the peak begins anew
    rest = memory_mib(api, "VmRSS")
    with Probe(api) as probe:
        url = urlsplit(api.url)
        result = subprocess.run(
            [sys.executable, "-m", "bench.attacks", name, str(url.hostname), str(url.port)],
            cwd=Path(__file__).parents[1],
            capture_output=True,
            text=True,
            check=False,
            timeout=ATTACK_SECONDS + 20,
        )
    peak = memory_mib(api, "VmHWM") - rest
    assert api.process.poll() is None, "the API has ended"
    assert result.returncode == 0, result.stderr
    return peak, max(probe.stalls_ms), max(probe.waits_ms), result.stdout


def run(scale: float, only: str = "") -> None:
    """Prints a row for each attack whose name has the text, with `*` if it exceeds MAX_MIB or MAX_STALL_MS.

    With a scale below 1, only the first attacks are executed.
    """
    print(f"{'MiB':>6}{'stall ms':>10}{'longest ms':>12}  attack")
    with (
        tempfile.TemporaryDirectory() as folder,
        EmbeddedRedis(Path(folder), appendonly=False) as redis,
        FreshFleet(redis.url) as fleet,
    ):
        worker = fleet.worker()
        api = fleet.api(
            HTTP_MAX_CONNECTIONS="384", HTTP_REQUEST_TIMEOUT_SECS="5", LOG_LEVEL="ERROR"
        )
        worker.wait_ready()
        api.wait_ready()
        names = [name for name in ATTACKS if only in name]
        for name in names[: max(1, int(len(names) * scale))]:
            mib, stall, max_ms, statuses = measure(api, name)
            mark = " " if mib <= MAX_MIB and stall <= MAX_STALL_MS else "*"
            print(f"{mib:>6.0f}{stall:>10.0f}{max_ms:>12.0f} {mark}{name}  {statuses}", flush=True)
