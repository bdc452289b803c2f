"""Gives RemoteGraphs and SDK clients of the project's code the deployment's API. See millstream.shared.own_api."""

import functools
from typing import Any, Final

import langgraph_sdk
from langchain_core.runnables import RunnableConfig
from langgraph.pregel.remote import RemoteGraph

from millstream.shared.own_api import connect_sdk
from millstream.worker import private_entries

TARGETS: Final = ("url", "client", "sync_client")  # arguments that set the server of a RemoteGraph


def connect() -> None:
    """Makes RemoteGraphs and clients of langgraph_sdk that get no URL call the deployment's API.

    A repeated call changes nothing.
    """
    connect_sdk()
    original = RemoteGraph.__init__
    if hasattr(original, "__wrapped__"):
        return

    @functools.wraps(original)
    def init(self: RemoteGraph, *args: Any, **kwargs: Any) -> None:
        if not any(kwargs.get(name) for name in TARGETS):
            options = {name: kwargs[name] for name in ("api_key", "headers") if name in kwargs}
            kwargs["client"] = langgraph_sdk.get_client(**options)
            kwargs["sync_client"] = langgraph_sdk.get_sync_client(**options)
        original(self, *args, **kwargs)

    RemoteGraph.__init__ = init  # type: ignore[method-assign]
    sanitize = RemoteGraph._sanitize_config

    @functools.wraps(sanitize)
    def without_private(self: RemoteGraph, config: RunnableConfig) -> RunnableConfig:
        """Leaves the user and the caller's headers out of requests, which may go to another deployment."""
        return sanitize(self, private_entries.without(config))

    RemoteGraph._sanitize_config = without_private  # type: ignore[method-assign]
