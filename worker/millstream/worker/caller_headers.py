"""Headers of a run's client in the config of its graph: the graph reads them, and nothing stores them.

LangGraph copies entries of `configurable` to the metadata of checkpoints, which other clients of the thread read.
"""

from collections.abc import Mapping
from typing import Any, Final

from langchain_core.runnables import RunnableConfig

NAMES: Final = "__millstream_caller_headers"  # in `configurable`: the names of the headers in it


def add(configurable: dict[str, Any], headers: Mapping[str, str]) -> dict[str, Any]:
    """Returns `configurable` with the headers, which win over entries of the same name."""
    return {**configurable, **headers, NAMES: tuple(headers)} if headers else configurable


def without(config: RunnableConfig) -> RunnableConfig:
    """Returns the config for a checkpointer: without the headers."""
    configurable = config.get("configurable", {})
    names = configurable.get(NAMES)
    if not names:
        return config
    others = {name: value for name, value in configurable.items() if name not in (*names, NAMES)}
    return {**config, "configurable": others}
