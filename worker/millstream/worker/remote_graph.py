"""Graphs that ask their own server: what LangGraph and its SDK need to find it. See millstream.shared.own_api."""

import functools
from typing import Any, Final

import langgraph_sdk
from langgraph.pregel.remote import RemoteGraph

from millstream.shared.own_api import connect_sdk

LEADS: Final = ("url", "client", "sync_client")  # what says where a RemoteGraph is


def connect() -> None:
    """Has clients of langgraph_sdk and RemoteGraphs that are made without a URL lead to the deployment's API.

    A repeated call changes nothing.
    """
    connect_sdk()
    made = RemoteGraph.__init__
    if hasattr(made, "__wrapped__"):
        return

    @functools.wraps(made)
    def init(self: RemoteGraph, *args: Any, **given: Any) -> None:
        if not any(given.get(name) for name in LEADS):
            how = {name: given[name] for name in ("api_key", "headers") if name in given}
            given["client"] = langgraph_sdk.get_client(**how)
            given["sync_client"] = langgraph_sdk.get_sync_client(**how)
        made(self, *args, **given)

    RemoteGraph.__init__ = init  # type: ignore[method-assign]
