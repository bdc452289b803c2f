"""The store of a project: what graphs are given when they start, opened when one first uses it.

So a worker needs neither the library nor the modules of Redis while none of its graphs keeps anything.
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
    """The store can't be used: it says what is missing."""


class ProjectStore(BaseStore):
    """A store that is one for all graphs of the worker, and opens itself.

    What a graph stores waits while Redis is away, as its checkpoints do.

    Args:
        settings: `store` of langgraph.json.
        custom: what `store.path` names; None for the store in Redis.
        embeddings: what `store.index.embed` names.
    """

    supports_ttl = True

    def __init__(
        self, settings: StoreSettings | None = None, *, custom: Any = None, embeddings: Any = None
    ) -> None:
        """Opens nothing yet."""
        self.settings: Final = settings or StoreSettings()
        self.wanted: Final = settings is not None  # langgraph.json speaks of it
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
        self._open_things = AsyncExitStack()

    def connect(self, redis: Client) -> None:
        """Says where the items are; called in the event loop that the store is then used in."""
        self._redis = redis
        self._loop = asyncio.get_running_loop()

    async def warm(self) -> None:
        """Opens the store before anybody asks, if the project speaks of it; logs if it can't."""
        if not self.wanted:
            return
        try:
            await self._open()
        except (StoreUnavailableError, *UNAVAILABLE) as error:
            log.warning("%s", error)
        except Exception:
            log.exception("the store can't be opened")

    async def abatch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations; waits while Redis is away.

        Raises StoreUnavailableError if there can be no store here.
        """
        listed = list(ops)
        return await retry_while_unavailable("the store", lambda: self.execute_once(listed))

    async def execute_once(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations; raises redis-py's errors while Redis is away."""
        return await (await self._open()).abatch(ops)

    def batch(self, ops: Iterable[Op]) -> list[Result]:
        """Executes the operations from a thread; nodes that are plain functions run in one."""
        if self._loop is None:
            raise RuntimeError("The store is not connected.")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = None
        if running is self._loop:
            raise asyncio.InvalidStateError(
                "The store was called without await in the event loop, which would stand still. "
                "Use its async methods here: await store.aget(...), aput, asearch, adelete."
            )
        return asyncio.run_coroutine_threadsafe(self.abatch(ops), self._loop).result()

    async def aclose(self) -> None:
        """Closes what was opened."""
        await self._open_things.aclose()

    async def _open(self) -> BaseStore:
        async with self._opening:
            if self._opened is None:
                make = self._make if self._custom is None else self._make_custom
                self._opened = await make()
            return self._opened

    async def _make(self) -> BaseStore:
        if self._redis is None:
            raise RuntimeError("The store is not connected.")
        if (lacking := await store_items.find_obstacle(self._redis)) is not None:
            raise StoreUnavailableError(lacking, retry_after=60)
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
            self._open_things = opened.pop_all()
        return store

    async def _make_custom(self) -> BaseStore:
        made = self._custom
        if not isinstance(made, BaseStore) and callable(made):
            made = made()
        if inspect.isawaitable(made):
            made = await made
        if not isinstance(made, BaseStore):
            if isinstance(made, AbstractAsyncContextManager):
                made = await self._open_things.enter_async_context(made)
            elif isinstance(made, AbstractContextManager):
                made = self._open_things.enter_context(made)
        if not isinstance(made, BaseStore):
            raise StoreUnavailableError(
                f"store.path of langgraph.json gives a {type(made).__name__}, not a BaseStore.",
                retry_after=60,
            )
        if isinstance(made, InMemoryStore):
            log.warning(
                "store.path of langgraph.json gives an %s, of which each worker process has its own: "
                "with several workers what one of them stores the others do not find, and it is "
                "gone when the worker ends. Leave store.path out to keep items in Redis.",
                type(made).__name__,
            )
        return made


def load_store(settings: StoreSettings | None, folder: Path) -> ProjectStore:
    """Returns the store that langgraph.json describes; nothing is connected yet.

    Raises SettingError if what it names can't be used.
    """
    if settings is None:
        return ProjectStore()
    if settings.path is not None:
        return ProjectStore(settings, custom=load_object(settings.path, folder, "store.path"))
    if settings.index is None:
        return ProjectStore(settings)
    return ProjectStore(settings, embeddings=load_embeddings(settings.index.embed, folder))
