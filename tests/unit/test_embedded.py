"""The embedded Redis starts, keeps its data, locks its folder, and ends with its parent."""

import os
import select
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from millstream.cli import embedded
from millstream.cli.embedded import MIN_VERSION, EmbeddedRedis, Server, find_server
from millstream.cli.errors import SetupError


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def server(folder: Path) -> Iterator[EmbeddedRedis]:
    with EmbeddedRedis(folder, modules=False) as server:
        yield server


def client(server: EmbeddedRedis) -> "redis.Redis":
    return redis.Redis.from_url(server.url, single_connection_client=True)


def test_the_server_answers_once_started(server: EmbeddedRedis) -> None:
    with client(server) as connection:
        assert connection.ping()
        assert connection.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
        assert connection.config_get("bind") == {"bind": "127.0.0.1"}
        assert connection.info("server")["process_id"] == server.pid


def test_only_its_owner_can_use_the_server(server: EmbeddedRedis, folder: Path) -> None:
    with pytest.raises(redis.AuthenticationError):
        redis.Redis(port=server.port, single_connection_client=True)
    url = folder / "redis.url"
    assert url.read_text().strip() == server.url
    assert url.stat().st_mode & 0o777 == 0o600
    arguments = Path(f"/proc/{server.pid}/cmdline")
    if arguments.exists():
        assert server.password.encode() not in arguments.read_bytes()
    server.stop()
    assert not url.exists()


def test_a_server_without_a_password(folder: Path) -> None:
    with EmbeddedRedis(folder, modules=False, password="") as server, client(server) as connection:
        assert "@" not in server.url
        assert connection.ping()


@pytest.mark.parametrize("crash", [False, True])
def test_data_and_port_survive_a_restart(server: EmbeddedRedis, crash: bool) -> None:
    url = server.url
    with client(server) as connection:
        connection.set("k", "v")
    if crash:
        server.kill()
    else:
        server.stop()
    server.start()
    assert server.url == url
    with client(server) as connection:
        assert connection.get("k") == b"v"


def test_without_appendonly_nothing_is_kept(folder: Path) -> None:
    server = EmbeddedRedis(folder, appendonly=False, modules=False)
    for _ in range(2):
        with server, client(server) as connection:
            assert connection.get("k") is None
            connection.set("k", "v")


def test_a_folder_serves_one_server_at_a_time(server: EmbeddedRedis, folder: Path) -> None:
    with pytest.raises(SetupError, match="already running in this folder"):
        EmbeddedRedis(folder).start()
    server.stop()
    with EmbeddedRedis(folder, modules=False):
        pass


def test_stop_ends_all_processes_and_is_idempotent(server: EmbeddedRedis) -> None:
    pid = server.pid
    server.stop()
    server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
    with pytest.raises(RuntimeError, match="not running"):
        _ = server.pid


def test_a_taken_port_raises_with_the_log(server: EmbeddedRedis, tmp_path: Path) -> None:
    with pytest.raises(SetupError, match="Address already in use"):
        EmbeddedRedis(tmp_path / "other", port=server.port).start()
    with client(server) as connection:
        assert connection.ping()


def test_a_server_that_dies_raises_with_its_output(folder: Path, tmp_path: Path) -> None:
    broken = tmp_path / "redis-server"
    broken.write_text("#!/bin/sh\necho it hurts; exit 3\n")
    broken.chmod(0o755)
    with pytest.raises(SetupError, match="did not start\\.\nit hurts"):
        EmbeddedRedis(folder, server=Server(broken, (), (8, 0, 0))).start()
    with EmbeddedRedis(folder, modules=False):  # the folder is free again
        pass


def test_modules_that_fail_to_load_are_skipped(folder: Path, tmp_path: Path) -> None:
    installed = find_server()
    module = tmp_path / "redisearch.so"
    module.write_text("no library")
    module.chmod(0o755)
    server = EmbeddedRedis(folder, server=Server(installed.path, (module,), installed.version))
    with server, client(server) as connection:
        assert server.modules == ()
        assert connection.ping()


def test_modules_are_loaded_if_present(folder: Path) -> None:
    installed = find_server()
    if not installed.modules:
        pytest.skip("no modules for this machine")
    with EmbeddedRedis(folder) as server, client(server) as connection:
        assert server.modules == installed.modules
        assert connection.execute_command("JSON.SET", "k", "$", "{}") == b"OK"
        assert connection.execute_command("FT._LIST") == []


def test_wait_returns_when_the_server_is_killed(server: EmbeddedRedis) -> None:
    os.kill(server.pid, 9)
    assert server.wait() == -9
    assert "Ready to accept connections" in server.last_log_lines()


def test_a_folder_that_cannot_be_created_raises(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match="can't be used"):
        EmbeddedRedis(tmp_path / "file" / "data").start()


def test_a_recent_server_on_path_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(embedded, "_packaged_server", lambda: None)
    monkeypatch.delenv(embedded.SERVER_VARIABLE, raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/usr/bin{os.pathsep}/bin")
    fake = tmp_path / "redis-server"
    for version, serves in (("6.2.6", False), ("7.0.0", True)):
        fake.write_text(f"#!/bin/sh\necho Redis server v={version} sha=0\n")
        fake.chmod(0o755)
        if serves:
            assert find_server().path == fake
            assert find_server().version == MIN_VERSION
        else:
            with pytest.raises(SetupError, match=r"millstream\[embedded\]"):
                find_server()


def test_the_chosen_server_wins_and_gets_no_modules(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = tmp_path / "valkey-server"
    fake.write_text("#!/bin/sh\necho Valkey server v=8.1.0 sha=0\n")
    fake.chmod(0o755)
    monkeypatch.setenv(embedded.SERVER_VARIABLE, str(fake))
    assert find_server() == Server(fake, (), (8, 1, 0))
    monkeypatch.setenv(embedded.SERVER_VARIABLE, str(tmp_path / "nowhere"))
    with pytest.raises(SetupError, match=r"MILLSTREAM_REDIS_SERVER=.*7\.0\.0 or newer"):
        find_server()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux ties a child to its parent")
def test_the_server_dies_with_its_parent(folder: Path) -> None:
    program = (
        "import signal, sys; from pathlib import Path\n"
        "from millstream.cli.embedded import EmbeddedRedis\n"
        "server = EmbeddedRedis(Path(sys.argv[1]), modules=False).start()\n"
        "print(server.pid, flush=True); signal.pause()\n"
    )
    starter = subprocess.Popen([sys.executable, "-c", program, folder], stdout=subprocess.PIPE)
    with starter:
        assert starter.stdout is not None
        watch = os.pidfd_open(int(starter.stdout.readline()))
        try:
            starter.kill()
            assert select.select([watch], [], [], 10)[0], "the server has outlived its starter"
        finally:
            os.close(watch)
    with EmbeddedRedis(folder, modules=False):  # waits for the lock of the ending server
        pass
