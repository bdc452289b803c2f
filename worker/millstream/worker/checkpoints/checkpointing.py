"""The port to checkpoints, and the choice of the checkpointer: Millstream's, the library's, or the project's."""

import inspect
import logging
from collections.abc import AsyncIterator
from contextlib import (
    AbstractAsyncContextManager,
    AbstractContextManager,
    AsyncExitStack,
    asynccontextmanager,
)
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.serde.encrypted import EncryptedSerializer

from millstream.shared import keys, threads
from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json.config import CheckpointerConfig, SerdeConfig
from millstream.shared.observer import UNOBSERVED, RunObserver
from millstream.shared.redis import Client, masked
from millstream.shared.scripts import Claim
from millstream.shared.scripts.checkpoints.namespace import CheckpointNamespace
from millstream.shared.scripts.threads.store_state import StagedNamespace
from millstream.shared.sealing import open_key_ring
from millstream.shared.settings import Settings
from millstream.shared.threads import checkpoints
from millstream.worker.checkpoints.encryption import CheckpointCipher
from millstream.worker.checkpoints.external import ShieldedSaver
from millstream.worker.checkpoints.saver import FencedSaver, Guard
from millstream.worker.checkpoints.serializer import MessageSerializer
from millstream.worker.checkpoints.staged import StagedSaver

log = logging.getLogger(__name__)

SETUP_SECONDS: Final = 60.0  # for which one worker may create the library's indexes

NO_MODULES: Final = """\
CHECKPOINTER=langgraph-redis needs RediSearch and RedisJSON, which the Redis at {url} lacks.
Use Redis 8 or Redis Stack, or leave CHECKPOINTER=millstream, which needs no modules."""


class UnsupportedError(Exception):
    """The project's checkpointer lacks an operation, which the text names."""


class RollbackUnsupportedError(UnsupportedError):
    """The checkpointer can't delete the checkpoints of one run."""


@dataclass(frozen=True, slots=True)
class Staging:
    """The saver of one update of a thread's state, and the writes that it holds back."""

    saver: BaseCheckpointSaver[Any]
    namespaces: dict[CheckpointNamespace, StagedNamespace]
    """The writes that one script has yet to store."""
    is_stored_at_once: bool
    """Whether the saver stores each write at once, before the update has ended."""


class Checkpointing(Protocol):
    """Every operation on checkpoints that the other parts of a worker use.

    No other module tests the class of a saver.
    """

    @property
    def saver(self) -> BaseCheckpointSaver[Any]:
        """The checkpointer for reads outside of runs; it has no lease."""

    @property
    def is_external(self) -> bool:
        """Whether the checkpoints are stored where Millstream's scripts can't reach them."""

    def bind(self, claim: Claim, guard: Guard) -> BaseCheckpointSaver[Any]:
        """Returns the checkpointer of the claimed run's graph."""

    def stage_update(self) -> Staging:
        """Returns the staging of one update of a thread's state."""

    async def roll_back(self, claim: Claim) -> None:
        """Deletes all checkpoints and writes that the claimed run stored; may be repeated.

        Raises:
            FencedError: the lease is lost.
            RollbackUnsupportedError: the checkpointer can't do it.
        """

    async def delete(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread; may be repeated."""

    async def copy(self, source: str, target: str) -> None:
        """Copies all checkpoints of a thread to another; raises UnsupportedError."""

    async def prune(self, thread_id: str) -> None:
        """Deletes all but the newest checkpoints of a thread.

        Raises:
            NotFoundError: there is no such thread.
            ConflictError: a run is active on it.
            UnsupportedError: the checkpointer can't do it.
        """


class FencedCheckpoints:
    """Millstream's own checkpointer: every write of a run carries its fence."""

    is_external: Final = False

    def __init__(
        self,
        redis: Client,
        serde: SerializerProtocol | None = None,
        observer: RunObserver = UNOBSERVED,
    ) -> None:
        """`serde` replaces Millstream's serializer."""
        self._redis = redis
        self._saver = FencedSaver(redis, serde=serde, observer=observer)

    @property
    def saver(self) -> FencedSaver:
        """The saver for reads; it is bound to no run."""
        return self._saver

    def bind(self, claim: Claim, guard: Guard) -> FencedSaver:
        """Returns a saver whose writes are refused once the claim's lease is lost."""
        return self._saver.bind(claim, guard)

    def stage_update(self) -> Staging:
        """Returns a copy of the saver that holds its writes back, for scripts.store_state to store."""
        saver = StagedSaver.copy_of(self._saver)
        return Staging(saver, saver.staged, is_stored_at_once=False)

    async def roll_back(self, claim: Claim) -> None:
        """Deletes what the run stored, in every namespace; raises FencedError."""
        await checkpoints.roll_back(self._redis, claim)

    async def delete(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        await self._saver.adelete_thread(thread_id)

    async def copy(self, source: str, target: str) -> None:
        """Copies all checkpoints of a thread to another."""
        await self._saver.acopy_thread(source, target)

    async def prune(self, thread_id: str) -> None:
        """Deletes all but the newest checkpoints of a thread; raises NotFoundError, ConflictError."""
        await checkpoints.prune(self._redis, thread_id, keep_latest=True)


class ExternalCheckpoints:
    """Another saver. Nothing is fenced, and an update of a state is stored write by write.

    A rollback, a copy and a pruning need methods that the saver may lack.
    """

    is_external: Final = True

    def __init__(self, redis: Client, saver: BaseCheckpointSaver[Any]) -> None:
        """The caller opens and closes `saver`."""
        self._redis = redis
        self._saver = ShieldedSaver(saver)

    @property
    def saver(self) -> ShieldedSaver:
        """The one saver for all uses."""
        return self._saver

    @property
    def _name(self) -> str:
        """The class name of the project's saver."""
        return type(self._saver.inner).__name__

    def bind(self, claim: Claim, guard: Guard) -> ShieldedSaver:
        """Returns the one saver: it knows no claims."""
        return self._saver

    def stage_update(self) -> Staging:
        """Returns the saver itself: it holds nothing back."""
        return Staging(self._saver, {}, is_stored_at_once=True)

    async def roll_back(self, claim: Claim) -> None:
        """Deletes by run; raises RollbackUnsupportedError if the saver can't."""
        try:
            await self._saver.adelete_for_runs([claim.spec.run_id])
        except NotImplementedError:
            raise RollbackUnsupportedError(
                f"{self._name} can't delete the checkpoints of one run: the run was "
                "stopped, and its checkpoints stay."
            ) from None

    async def delete(self, thread_id: str) -> None:
        """Deletes all checkpoints of a thread."""
        await self._saver.adelete_thread(thread_id)

    async def copy(self, source: str, target: str) -> None:
        """Copies all checkpoints of a thread; raises UnsupportedError if the saver can't."""
        try:
            await self._saver.acopy_thread(source, target)
        except NotImplementedError:
            raise self._unsupported_error("copy a thread (acopy_thread)") from None

    async def prune(self, thread_id: str) -> None:
        """Prunes an idle thread. A run that begins meanwhile is not noticed: no script guards the thread.

        Raises NotFoundError, ConflictError (a run is active), UnsupportedError (the saver can't).
        """
        await threads.idle_epoch(self._redis, thread_id)
        try:
            await self._saver.aprune([thread_id], strategy="keep_latest")
        except NotImplementedError:
            raise self._unsupported_error("prune a thread (aprune)") from None

    def _unsupported_error(self, operation: str) -> UnsupportedError:
        return UnsupportedError(f"The project's checkpointer, {self._name}, can't {operation}.")


@asynccontextmanager
async def open_checkpointing(
    redis: Client,
    settings: Settings,
    config: CheckpointerConfig,
    folder: Path,
    observer: RunObserver = UNOBSERVED,
) -> AsyncIterator[Checkpointing]:
    """Opens the checkpointer that the settings and langgraph.json (in `folder`) name.

    Raises SettingError, whose text names what is missing or contradictory.
    """
    if config.path is None and settings.checkpointer == "millstream":
        yield FencedCheckpoints(redis, build_serializer(settings, config.serde), observer)
        return
    if config.serde is not None:
        log.warning(
            "checkpointer.serde of langgraph.json has no effect: only Millstream's own checkpointer uses it."
        )
    if config.ttl is not None:
        raise SettingError(
            "checkpointer.ttl of langgraph.json works with Millstream's own checkpointer alone: "
            "remove it, or remove CHECKPOINTER and checkpointer.path."
        )
    async with AsyncExitStack() as stack:
        if config.path is None:
            yield ExternalCheckpoints(redis, await _open_library_saver(redis, settings))
        elif settings.checkpointer != "millstream":
            raise SettingError(
                f"CHECKPOINTER={settings.checkpointer} and checkpointer.path of langgraph.json "
                "name two checkpointers: remove one of them."
            )
        else:
            yield ExternalCheckpoints(redis, await _open_project_saver(config.path, folder, stack))


def build_serializer(settings: Settings, serde: SerdeConfig | None) -> SerializerProtocol:
    """Returns the serializer that langgraph.json configures. It encrypts if LANGGRAPH_AES_KEY is set."""
    inner = MessageSerializer(**(serde.arguments() if serde is not None else {}))
    key_ring = open_key_ring(settings)
    if not key_ring.is_sealing:
        return inner
    cipher = CheckpointCipher(key_ring, [settings.aes_key, *settings.earlier_keys])
    return EncryptedSerializer(cipher, inner)


async def _open_library_saver(redis: Client, settings: Settings) -> BaseCheckpointSaver[Any]:
    """Returns langgraph-checkpoint-redis' saver after it has created its indexes."""
    if settings.aes_key:
        raise SettingError(
            "LANGGRAPH_AES_KEY encrypts Millstream's own checkpoints; CHECKPOINTER=langgraph-redis "
            "would store plain text: remove one of them."
        )
    try:
        from millstream.worker.checkpoints.library_saver import LibrarySaver
    except ImportError:
        raise SettingError(
            "CHECKPOINTER=langgraph-redis needs a package that is missing: "
            'pip install "millstream[store]"'
        ) from None
    client: Any = redis
    if None in await client.execute_command("COMMAND INFO", "FT.CREATE", "JSON.SET"):
        raise SettingError(NO_MODULES.format(url=masked(settings.redis_url)))
    saver = LibrarySaver(redis)
    # If several workers created an index at once, all but one would fail.
    async with redis.lock(keys.leader_lock("set-up"), timeout=SETUP_SECONDS):
        await saver.asetup()
    return saver


async def _open_project_saver(
    path: str, folder: Path, stack: AsyncExitStack
) -> BaseCheckpointSaver[Any]:
    """Returns the saver that `path` names, directly or through a function or context manager."""
    value = load_object(path, folder, "checkpointer")
    try:
        if not isinstance(value, BaseCheckpointSaver) and callable(value):
            value = value()
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, BaseCheckpointSaver):
            if isinstance(value, AbstractAsyncContextManager):
                value = await stack.enter_async_context(value)
            elif isinstance(value, AbstractContextManager):
                value = stack.enter_context(value)
    except Exception as error:
        raise SettingError(
            f"checkpointer: {path} can't be opened: {type(error).__name__}: {error}"
        ) from error
    if not isinstance(value, BaseCheckpointSaver):
        raise SettingError(
            f"checkpointer: {path} gives a {type(value).__name__}: it must be a checkpointer "
            "(BaseCheckpointSaver), a function that returns one, or a context manager of one."
        )
    if isinstance(value, InMemorySaver):
        log.warning(
            "checkpointer: %s gives an %s, which is separate in each worker process: with several "
            "workers a thread has a different state in each of them, and the state is lost when the "
            "worker ends. Remove checkpointer.path to store checkpoints in Redis.",
            path,
            type(value).__name__,
        )
    return value
