"""Turns texts into vectors: `store.index.embed` of langgraph.json."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from langchain_core.embeddings import Embeddings
from langgraph.store.base import ensure_embeddings
from langgraph.store.base.embed import EmbeddingsLambda

from millstream.shared.errors import SettingError
from millstream.shared.importing import load_object

KEY: Final = "store.index.embed"
# Separate from the threads of nodes, which may all be waiting for the store.
THREADS: Final = ThreadPoolExecutor(8, thread_name_prefix="store")


def load_embeddings(spec: str, folder: Path) -> Embeddings:
    """Returns the embeddings that `provider:model` or `./path.py:name` names.

    The name may be of a function from texts to vectors, sync or async, or of an Embeddings object.

    Raises SettingError if the object does not exist, has another type, or needs a package that is missing.
    """
    source = spec.rpartition(":")[0]
    if source.endswith(".py") or "/" in source:
        value = load_object(spec, folder, KEY)
        if not (isinstance(value, Embeddings) or callable(value)) or isinstance(value, type):
            raise SettingError(
                f"{KEY}: {spec} is a {type(value).__name__}: it must be a function from texts to "
                "vectors, or an Embeddings object."
            )
        return ensure_embeddings(value)
    if not source:
        raise SettingError(f"{KEY}: {spec!r} is neither 'provider:model' nor './path.py:name'.")
    try:
        return ensure_embeddings(spec)
    except Exception as error:  # a package that is missing, an unknown provider, a key not set
        raise SettingError(f"{KEY}: {spec!r} can't be used: {error}") from error


async def embed(embeddings: Embeddings, texts: list[str]) -> list[Any]:
    """Returns a vector for each text; raises the errors of the embeddings."""
    if _is_async(embeddings):
        return await embeddings.aembed_documents(texts)
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(THREADS, embeddings.embed_documents, texts)


def _is_async(embeddings: Embeddings) -> bool:
    if isinstance(embeddings, EmbeddingsLambda):
        return hasattr(embeddings, "afunc")
    return type(embeddings).aembed_documents is not Embeddings.aembed_documents
