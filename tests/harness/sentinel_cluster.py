"""A Redis master, its replica, and the sentinels that watch them, all on loopback."""

import asyncio
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from redis.asyncio import Redis

from harness.waiting import until
from millstream.cli.embedded import HOST, EmbeddedRedis, find_server
from millstream.shared.parent_death import dies_with_parent
from millstream.shared.redis import UNAVAILABLE

MASTER = "main"  # what the sentinels call it
SETTLE_SECONDS = 30.0  # for all to find each other, or to agree on another master


class Sentinel:
    """One sentinel process."""

    def __init__(self, folder: Path, master: EmbeddedRedis, quorum: int) -> None:
        folder.mkdir(parents=True)
        self._file = folder / "sentinel.conf"
        self._log = folder / "sentinel.log"
        self.port = _free_port()
        self._file.write_text(
            f"bind {HOST}\n"
            f"port {self.port}\n"
            f"dir {folder}\n"
            f"sentinel monitor {MASTER} {HOST} {master.port} {quorum}\n"
            f"sentinel down-after-milliseconds {MASTER} 500\n"
            f"sentinel failover-timeout {MASTER} 3000\n"
        )
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Starts the process, with its configuration of the last time."""
        command = [str(find_server().path), str(self._file), "--sentinel"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                dies_with_parent(command, signal.SIGKILL),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def kill(self) -> None:
        """Ends the process at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    async def ask(self, verb: str) -> Any:
        """Returns the reply to a SENTINEL command on the master; None while the sentinel does not reply."""
        async with Redis(host=HOST, port=self.port, socket_timeout=1) as client:
            try:
                command = f"SENTINEL {verb}"
                return await client.execute_command(command, MASTER)  # type: ignore[no-untyped-call]
            except UNAVAILABLE:
                return None

    async def state(self) -> dict[str, Any]:
        """Returns the sentinel's view of the master; empty while the sentinel does not reply."""
        return dict(await self.ask("MASTER") or {})


class SentinelCluster:
    """Two servers, of which one is the master, and some sentinels. All end with the cluster."""

    def __init__(self, folder: Path, *, sentinels: int = 3) -> None:
        self.servers = [
            EmbeddedRedis(folder / name, modules=False, appendfsync="no", password="")
            for name in ("a", "b")
        ]
        self.sentinels: list[Sentinel] = []
        self._folder = folder
        self._count = sentinels

    @property
    def url(self) -> str:
        """The REDIS_URL of this cluster."""
        hosts = ",".join(f"{HOST}:{sentinel.port}" for sentinel in self.sentinels)
        return f"redis+sentinel://{hosts}/{MASTER}/0"

    def __enter__(self) -> Self:
        asyncio.run(self.start())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.stop()

    async def start(self) -> None:
        """Starts all processes and waits until they know each other."""
        try:
            first, second = (server.start() for server in self.servers)
            async with client(second) as replica:
                await replica.replicaof(HOST, str(first.port))
            await self.wait_replica(second)
            for number in range(self._count):
                folder = self._folder / f"sentinel-{number}"
                self.sentinels.append(Sentinel(folder, first, self._count // 2 + 1))
                self.sentinels[-1].start()
            await self.wait_agreement(first)
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """Ends all processes."""
        for sentinel in self.sentinels:
            sentinel.kill()
        for server in self.servers:
            server.kill()

    async def wait_agreement(self, master: EmbeddedRedis) -> None:
        """Waits until every sentinel knows this master, its replica and the other sentinels."""

        async def all_know() -> bool:
            states = [await sentinel.state() for sentinel in self.sentinels]
            return all(
                state.get("port") == master.port
                and state["num-slaves"] == 1
                and state["num-other-sentinels"] == self._count - 1
                and state["flags"] == "master"
                for state in states
            )

        await until(all_know, within=SETTLE_SECONDS, what=f"that all sentinels know {master}")

    async def master(self) -> EmbeddedRedis:
        """Returns the server that is the master according to the first sentinel."""
        address = await until(lambda: self.sentinels[0].ask("GET-MASTER-ADDR-BY-NAME"))
        return next(server for server in self.servers if server.port == int(address[1]))

    async def wait_settled(self) -> EmbeddedRedis:
        """Waits until no failover is in progress. Returns the master."""
        master = await self.master()
        [replica] = [server for server in self.servers if server is not master]
        await self.wait_agreement(master)
        await self.wait_replica(replica)
        return master

    async def wait_failover(self, old: EmbeddedRedis) -> EmbeddedRedis:
        """Waits until another server is the master. Returns that server."""

        async def other() -> EmbeddedRedis | None:
            master = await self.master()
            return None if master is old else master

        master = await until(other, within=SETTLE_SECONDS, what=f"a master other than {old}")
        assert isinstance(master, EmbeddedRedis)
        return master

    async def wait_replica(self, server: EmbeddedRedis) -> None:
        """Waits until the server is a replica that has received all data of its master."""
        [other] = [each for each in self.servers if each is not server]

        async def has_all() -> bool:
            try:
                async with client(other) as master, client(server) as replica:
                    info = await master.info("replication")
                    goal = info["master_repl_offset"] if info["role"] == "master" else None
                    info = await replica.info("replication")
                    return bool(
                        info["role"] == "slave"
                        and info["master_link_status"] == "up"
                        and goal is not None
                        and info["slave_repl_offset"] >= goal
                    )
            except UNAVAILABLE:
                return False

        await until(has_all, within=SETTLE_SECONDS, what=f"that {server} has caught up")


def client(server: EmbeddedRedis) -> "Redis":
    """Returns a client of this server in any role."""
    return Redis(host=HOST, port=server.port, socket_timeout=2)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
