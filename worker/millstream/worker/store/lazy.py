"""The store of a project. Every graph gets it at its start; the first operation opens it.

So a worker whose graphs use no store needs neither the library nor the modules of Redis.
"""

import asyncio
import importlib
import importlib.util
import inspect
import logging
from collections.abc import Iterable
from contextlib import AbstractAsyncContextManager, AbstractContextManager, AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from langgraph.store.base import BaseStore, Op, Result, TTLConfig
from langgraph.store.memory import InMemoryStore

from millstream.shared import store_items
from millstream.shared.errors import UnavailableError
from millstream.shared.importing import load_object
from millstream.shared.langgraph_json.config import StoreSettings
from millstream.shared.redis import UNAVAILABLE, Client
from millstream.shared.redis.retry import retry_while_unavailable
from millstream.worker.store.embedding import THREADS, load_embeddings

if TYPE_CHECKING:
    from millstream.worker.store.redis_store import RedisStore

log = logging.getLogger(__name__)

NOT_INSTALLED: Final = (
    "The store needs the package langgraph-checkpoint-redis, which this worker does not have. "
    'This installs it: pip install "millstream[store]"'
)


class StoreUnavailableError(UnavailableError):
    """The store can't be used; the text names what is missing."""


class ProjectStore(BaseStore):
    """The one store of all graphs of a worker. Its first operation opens it.

    While Redis is unavailable, operations of graphs wait, as checkpoints do.

    Args:
        settings: `store` of langgraph.json.
        custom: the object that `store.path` names; None for the store in Redis.
        embeddings: the embeddings that `store.index.embed` names.
    """

    supports_ttl = True

    def __init__(
        self, settings: StoreSettings | None = None, *, custom: Any = None, embeddings: Any = None
    ) -> None:
        """Opens nothing yet."""
        self.settings: Final = settings or StoreSettings()
        self.is_configured: Final = settings is not None  # langgraph.json has the key
        ttl = self.settings.ttl
        self.ttl_config: TTLConfig | None = None
        if ttl is not None:
            self.ttl_config = {"refresh_on_read": ttl.refresh_on_read}
            if ttl.default_ttl is not None:
                self.ttl_config["default_ttl"] = ttl.default_ttl
        self._custom = custom
        self._embeddings = embeddings
        self._redis: Client | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening = asyncio.Lock()
        self._opened: BaseStore | None = None
        self._exit_stack = AsyncExitStack()

    def connect(self, redis: Client) -> None:
        """Sets the Redis that holds the items. Call it in the event loop that uses the store."""
        self._redis = redis
        self._loop = asyncio.get_running_loop()

    async def warm_up(self) -> None:
        """Opens the store before its first use if langgraph.json configures it. Logs a failure."""
        if not self.is_configured:
            return
        try:
            await self._open()
        except (StoreUnavailableError, *UNAVAILABLE) as error:
            log.warning("%s", error)
        except Exception:
            log.exception("the store can't be opened")

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations; retries while Redis is unavailable.

        Raises StoreUnavailableError if the store can't be opened.
        """
        op_list = list(ops)
        return await retry_while_unavailable("the store", lambda: self.execute_once(op_list))

    async def execute_once(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations; raises redis-py's errors while Redis is unavailable."""
        return await (await self._open()).abatch(ops)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations from a thread, as nodes do that are plain functions."""
        if self._loop is None:
            raise RuntimeError("The store is not connected.")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise asyncio.InvalidStateError(
                "A synchronous call of the store would block the event loop. "
                "Use its async methods here: await store.aget(...), aput, asearch, adelete."
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def aclose(self) -> None:
        """Closes the store if it was opened."""
        await self._exit_stack.aclose()

    async def _open(self) -> BaseStore:
        async with self._opening:
            if self._opened is None:
                create = self._open_in_redis if self._custom is None else self._open_custom
                self._opened = await create()
            return self._opened

    async def _open_in_redis(self) -> BaseStore:
        if self._redis is None:
            raise RuntimeError("The store is not connected.")
        if (obstacle := await store_items.find_obstacle(self._redis)) is not None:
            raise StoreUnavailableError(obstacle, retry_after=60)
        if importlib.util.find_spec("langgraph.store.redis") is None:
            raise StoreUnavailableError(NOT_INSTALLED, retry_after=60)
        loop, name = asyncio.get_running_loop(), f"{__package__}.redis_store"
        module = await loop.run_in_executor(THREADS, importlib.import_module, name)
        store: RedisStore = module.RedisStore(
            self._redis, self.settings.index, self._embeddings, self.ttl_config
        )
        async with AsyncExitStack() as opened:
            opened.push_async_exit(store)
            await store.setup()
            self._exit_stack = opened.pop_all()
        return store

    async def _open_custom(self) -> BaseStore:
        value = self._custom
        if not isinstance(value, BaseStore) and callable(value):
            value = value()
        if inspect.isawaitable(value):
            value = await value
        if not isinstance(value, BaseStore):
            if isinstance(value, AbstractAsyncContextManager):
                value = await self._exit_stack.enter_async_context(value)
            elif isinstance(value, AbstractContextManager):
                value = self._exit_stack.enter_context(value)
        if not isinstance(value, BaseStore):
            raise StoreUnavailableError(
                f"store.path of langgraph.json gives a {type(value).__name__}, not a BaseStore.",
                retry_after=60,
            )
        if isinstance(value, InMemoryStore):
            log.warning(
                "store.path of langgraph.json gives an %s, which is separate in each worker process: "
                "an item that one worker stores is unknown to the others, and is lost when that "
                "worker ends. Remove store.path to store items in Redis.",
                type(value).__name__,
            )
        return value


def load_store(settings: StoreSettings | None, folder: Path) -> ProjectStore:
    """Returns the store that langgraph.json configures, not connected yet.

    Raises SettingError if an object that it names can't be used.
    """
    if settings is None:
        return ProjectStore()
    if settings.path is not None:
        return ProjectStore(settings, custom=load_object(settings.path, folder, "store.path"))
    if settings.index is None:
        return ProjectStore(settings)
    return ProjectStore(settings, embeddings=load_embeddings(settings.index.embed, folder))
