"""The checkpointers of a worker: how one is chosen, messages at start, and encryption."""

import asyncio
import json
import textwrap
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import empty_checkpoint
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from harness.redis_modules import require_modules
from millstream.cli.embedded import EmbeddedRedis
from millstream.shared import keys
from millstream.shared.errors import SealedError, SettingError
from millstream.shared.langgraph_json import read_project
from millstream.shared.langgraph_json.config import CheckpointerConfig, CheckpointerTtl
from millstream.shared.redis import Client, connect
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.scripts import Claim
from millstream.shared.settings import Settings
from millstream.shared.wire import PROTOCOL, RunSpec
from millstream.worker.checkpoints.checkpointing import (
    Checkpointing,
    ExternalCheckpoints,
    RollbackUnsupportedError,
    open_checkpointing,
)
from millstream.worker.checkpoints.external import ShieldedSaver
from millstream.worker.checkpoints.saver import FencedSaver
from millstream.worker.checkpoints.serializer import MessageSerializer
from millstream.worker.checkpoints.unstorable import UnstorableError

KEY = "a key of thirty-two bytes, here."
LIBRARY = Settings(checkpointer="langgraph-redis")


def on(thread_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": thread_id, "checkpoint_ns": ""}}


def a_claim(thread_id: str) -> Claim:
    spec = RunSpec(
        protocol=PROTOCOL, run_id=str(uuid.uuid4()), thread_id=thread_id, assistant_id="a",
        graph_id="g", queue="default", strategy="enqueue", temporary=False, metadata=b"{}",
        kwargs=b"{}",
    )  # fmt: skip
    return Claim(spec, keys.job_id(thread_id, spec.run_id), 1, 1, None, 0)


async def put(saver: Any, thread_id: str, value: Any) -> RunnableConfig:
    """Stores a checkpoint with one value, and a pending write with the same value."""
    checkpoint = empty_checkpoint()
    version = saver.get_next_version(None, None)
    checkpoint["channel_values"] = {"v": value}
    checkpoint["channel_versions"] = {"v": version}
    at: RunnableConfig = await saver.aput(
        on(thread_id), checkpoint, {"source": "loop", "step": 1, "parents": {}}, {"v": version}
    )
    await saver.aput_writes(at, [("v", value)], str(uuid.uuid4()))
    return at


async def value_in(saver: Any, thread_id: str) -> Any:
    loaded = await saver.aget_tuple(on(thread_id))
    return None if loaded is None else loaded.checkpoint["channel_values"]["v"]


@pytest.fixture
async def plain_redis(tmp_path: Path) -> AsyncIterator[Client]:
    """A client on a server without modules."""
    with EmbeddedRedis(tmp_path / "plain", appendonly=False, modules=False) as server:
        client = connect(server.url)
        try:
            yield client
        finally:
            await client.aclose()


def opened(redis: Client, settings: Settings, folder: Path, **config: Any) -> Any:
    return open_checkpointing(redis, settings, CheckpointerConfig(**config), folder)


# ── langgraph.json ──────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("checkpointer", "problem"),
    [
        ({"ttl": {"strategy": "shred"}}, "strategy"),
        ({"ttl": {"default_ttl": 0}}, "default_ttl"),
        ({"ttl": {"default_ttl": "soon"}}, "default_ttl"),
        ({"ttl": {"sweep_interval_minutes": -1}}, "sweep_interval_minutes"),
        ({"ttl": {"sweep_limit": 0}}, "sweep_limit"),
        ({"ttl": {"refresh": True}}, "refresh"),
        ({"path": 7}, "path"),
        ({"backend": "x"}, "backend"),
    ],
)
def test_an_invalid_entry_is_named(tmp_path: Path, checkpointer: Any, problem: str) -> None:
    file = tmp_path / "langgraph.json"
    file.write_text(json.dumps({"graphs": {"g": "./g.py:g"}, "checkpointer": checkpointer}))
    with pytest.raises(SettingError, match=problem):
        read_project(file)


def test_valid_entries_are_read(tmp_path: Path) -> None:
    file = tmp_path / "langgraph.json"
    ttl: dict[str, Any] = {"strategy": "keep_latest", "default_ttl": 43200}
    ttl |= {"sweep_interval_minutes": 10, "sweep_limit": 50}
    checkpointer = {"path": "./s.py:s", "ttl": ttl}
    file.write_text(json.dumps({"graphs": {"g": "./g.py:g"}, "checkpointer": checkpointer}))
    assert read_project(file).config.checkpointer == CheckpointerConfig(
        ttl=CheckpointerTtl("keep_latest", 10, 43200, 50), path="./s.py:s"
    )


# ── Encryption ──────────────────────────────────────────────────────────────────────────────


async def test_with_an_encryption_key_redis_has_no_plain_text(
    saver_redis: Client, tmp_path: Path
) -> None:
    secret = "the secret that nobody may read"
    async with opened(saver_redis, Settings(aes_key=KEY), tmp_path) as checkpointing:
        at = await put(checkpointing.saver, "t", {"deep": [secret]})
        await checkpointing.saver.aput(at, empty_checkpoint(), {"author": secret}, {})
        for key in [key async for key in saver_redis.scan_iter()]:
            assert secret.encode() not in await saver_redis.dump(key)
        loaded = await checkpointing.saver.aget_tuple(at)
        assert loaded.checkpoint["channel_values"] == {"v": {"deep": [secret]}}
        assert loaded.pending_writes[0][2] == {"deep": [secret]}
    async with opened(saver_redis, Settings(aes_key=KEY[::-1]), tmp_path) as other:
        with pytest.raises(SealedError, match="neither LANGGRAPH_AES_KEY nor one of"):
            await other.saver.aget_tuple(at)


async def test_an_encryption_key_is_rotated(saver_redis: Client, tmp_path: Path) -> None:
    old, new = "o" * 32, "n" * 24
    async with opened(saver_redis, Settings(aes_key=old), tmp_path) as checkpointing:
        await put(checkpointing.saver, "old", "told long ago")
    both = Settings(aes_key=new, aes_fallback_keys=f"{'x' * 16},{old}")
    async with opened(saver_redis, both, tmp_path) as checkpointing:
        assert await value_in(checkpointing.saver, "old") == "told long ago"
        await put(checkpointing.saver, "new", "told today")
    async with opened(saver_redis, Settings(aes_key=new), tmp_path) as checkpointing:
        assert await value_in(checkpointing.saver, "new") == "told today"
        with pytest.raises(SealedError, match="LANGGRAPH_AES_FALLBACK_KEYS"):
            await value_in(checkpointing.saver, "old")


async def test_checkpoints_that_langgraph_encrypted_are_read(
    saver_redis: Client, tmp_path: Path
) -> None:
    """As versions did that encrypted checkpoints alone, with AES-EAX and without the name of a key."""
    serde = EncryptedSerializer.from_pycryptodome_aes(MessageSerializer(), key=b"o" * 32)
    await put(FencedSaver(saver_redis, serde=serde), "t", "told long ago")
    both = Settings(aes_key=KEY, aes_fallback_keys="o" * 32)
    async with opened(saver_redis, both, tmp_path) as checkpointing:
        assert await value_in(checkpointing.saver, "t") == "told long ago"
    async with opened(saver_redis, Settings(aes_key=KEY), tmp_path) as checkpointing:
        with pytest.raises(SealedError, match="neither LANGGRAPH_AES_KEY nor one of"):
            await value_in(checkpointing.saver, "t")


async def test_unencrypted_checkpoints_are_read_after_a_key_is_set(
    saver_redis: Client, tmp_path: Path
) -> None:
    await put(FencedSaver(saver_redis), "t", "plain")
    async with opened(saver_redis, Settings(aes_key=KEY), tmp_path) as checkpointing:
        assert await value_in(checkpointing.saver, "t") == "plain"


def test_a_key_of_a_wrong_length_is_rejected_and_not_printed() -> None:
    with pytest.raises(SettingError, match="LANGGRAPH_AES_KEY is 5 bytes") as refused:
        Settings.from_env({"LANGGRAPH_AES_KEY": "short"})
    assert "short" not in str(refused.value)
    with pytest.raises(SettingError, match="FALLBACK_KEYS is 5 bytes") as refused:
        Settings.from_env(
            {"LANGGRAPH_AES_KEY": KEY, "LANGGRAPH_AES_FALLBACK_KEYS": f"{'o' * 16},short"}
        )
    assert "short" not in str(refused.value)
    text = repr(Settings(aes_key=KEY, aes_fallback_keys="o" * 16))
    assert KEY not in text
    assert "o" * 16 not in text
    with pytest.raises(SettingError, match="without LANGGRAPH_AES_KEY"):
        Settings.from_env({"LANGGRAPH_AES_FALLBACK_KEYS": "o" * 16})


async def test_a_key_without_the_encryption_package_is_rejected(
    saver_redis: Client, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(SettingError, match="millstream\\[encryption\\]"):
        async with opened(saver_redis, Settings(aes_key=KEY), tmp_path):
            pass


# ── The library's ───────────────────────────────────────────────────────────────────────────


async def test_many_workers_set_up_the_librarys_saver_at_once(
    redis_server: EmbeddedRedis, tmp_path: Path
) -> None:
    require_modules()
    client = connect(redis_server.url)  # indexes exist only in database 0
    thread_id = str(uuid.uuid4())

    async def one() -> Any:
        async with opened(client, LIBRARY, tmp_path) as checkpointing:
            return checkpointing.saver

    try:
        savers = await asyncio.gather(*(one() for _ in range(8)))
        await put(savers[0], thread_id, 1)
        assert await value_in(savers[7], thread_id) == 1
        await savers[3].adelete_thread(thread_id)
        assert await value_in(savers[7], thread_id) is None
        assert not await client.exists(keys.leader_lock("set-up"))
    finally:
        await client.aclose()


async def test_the_librarys_saver_without_modules_is_rejected(
    plain_redis: Client, tmp_path: Path
) -> None:
    with pytest.raises(SettingError, match="RediSearch and RedisJSON"):
        async with opened(plain_redis, LIBRARY, tmp_path):
            pass


@pytest.mark.parametrize(
    ("settings", "config", "reason"),
    [
        (Settings(checkpointer="langgraph-redis", aes_key=KEY), {}, "plain text"),
        (LIBRARY, {"path": "./s.py:s"}, "two checkpointers"),
        (LIBRARY, {"ttl": CheckpointerTtl()}, "ttl"),
        (Settings(), {"path": "./s.py:s", "ttl": CheckpointerTtl()}, "ttl"),
    ],
)
async def test_contradictory_entries_are_rejected(
    saver_redis: Client, tmp_path: Path, settings: Settings, config: Any, reason: str
) -> None:
    with pytest.raises(SettingError, match=reason):
        async with opened(saver_redis, settings, tmp_path, **config):
            pass


# ── The user's own ──────────────────────────────────────────────────────────────────────────

PROJECT = """
    from contextlib import asynccontextmanager, contextmanager
    from langgraph.checkpoint.memory import InMemorySaver

    closed = []
    saver = InMemorySaver()

    def factory():
        return InMemorySaver()

    async def coroutine():
        return InMemorySaver()

    @asynccontextmanager
    async def opened():
        yield InMemorySaver()
        closed.append("opened")

    @contextmanager
    def held():
        yield InMemorySaver()
        closed.append("held")

    def number():
        return 7

    def broken():
        raise OSError("no route")
"""


@pytest.fixture
def project(tmp_path: Path) -> str:
    name = f"own_{uuid.uuid4().hex}"
    (tmp_path / f"{name}.py").write_text(textwrap.dedent(PROJECT))
    return f"./{name}.py"


async def test_an_in_memory_saver_is_logged(
    saver_redis: Client, tmp_path: Path, project: str, caplog: pytest.LogCaptureFixture
) -> None:
    async with opened(saver_redis, Settings(), tmp_path, path=f"{project}:saver"):
        [reason] = [r.getMessage() for r in caplog.records if "InMemorySaver" in r.getMessage()]
        assert "separate in each worker process" in reason


class NoGuard:
    """Allows every write."""

    def check(self) -> None:
        """The run is not stopped."""

    def refuse(self, error: UnstorableError) -> None:
        """Nothing is refused."""

    async def before_write(self) -> None:
        """There is nothing to wait for."""


@pytest.mark.parametrize(
    "name", ["saver", "InMemorySaver", "factory", "coroutine", "opened", "held"]
)
async def test_an_external_saver_is_used(
    saver_redis: Client, tmp_path: Path, project: str, name: str
) -> None:
    path = f"{project}:{name}"
    checkpointing: Checkpointing
    async with opened(saver_redis, Settings(), tmp_path, path=path) as checkpointing:
        saver = checkpointing.bind(a_claim("t"), NoGuard())
        assert isinstance(saver, ShieldedSaver)
        await put(saver, "t", 1)
        assert await value_in(checkpointing.saver, "t") == 1
        assert saver.get_tuple(on("t")) is not None
        assert await saver_redis.dbsize() == 0
        with pytest.raises(RollbackUnsupportedError, match="InMemorySaver"):
            await checkpointing.roll_back(a_claim("t"))


@pytest.mark.parametrize(
    ("name", "reason"), [("number", "a int"), ("broken", "no route"), ("missing", "missing")]
)
async def test_an_object_that_is_no_saver_is_rejected(
    saver_redis: Client, tmp_path: Path, project: str, name: str, reason: str
) -> None:
    with pytest.raises(SettingError, match=reason):
        async with opened(saver_redis, Settings(), tmp_path, path=f"{project}:{name}"):
            pass


class Slow(InMemorySaver):
    """Writes slowly, in two halves."""

    halves: int = 0

    async def aput(self, *args: Any) -> RunnableConfig:
        self.halves += 1
        await asyncio.sleep(0.05)
        self.halves += 1
        return await super().aput(*args)

    async def adelete_for_runs(self, run_ids: Any) -> None:
        self.halves = -1


async def test_a_started_write_ends_before_the_cancel(real_redis: Client) -> None:
    slow = Slow()
    writing = asyncio.create_task(put(ExternalCheckpoints(real_redis, slow).saver, "t", 1))
    await asyncio.sleep(0.01)
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing
    assert slow.halves == 2
    assert await value_in(slow, "t") == 1


async def test_a_saver_that_deletes_by_run_rolls_back(real_redis: Client) -> None:
    slow = Slow()
    await ExternalCheckpoints(real_redis, slow).roll_back(a_claim("t"))
    assert slow.halves == -1


async def test_the_fenced_saver_is_the_default(saver_redis: Client, tmp_path: Path) -> None:
    async with opened(saver_redis, Settings(), tmp_path) as checkpointing:
        claim = a_claim("t")
        run = keys.run("t", claim.spec.run_id)
        await saver_redis.hset(run, mapping={"fence": 1, "status": RunStatus.RUNNING.value})  # type: ignore[misc]
        await put(checkpointing.bind(claim, NoGuard()), "t", 1)
        await checkpointing.roll_back(claim)
        assert await value_in(checkpointing.saver, "t") is None
