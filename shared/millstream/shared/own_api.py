"""The deployment's own API, as the project's code reaches it: langgraph_sdk's clients that are made without a URL.

LangGraph's server runs graphs in the process that serves its API, and its SDK looks for the API there. Here they
are processes apart, so these clients lead to MILLSTREAM_API_URL. See docs/decisions/0035.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from millstream.shared.settings import Settings

# The headers that a run's caller sent and that go along when its graph asks the API. What names an authenticated
# caller belongs here too.
CALLER: Final[ContextVar[Mapping[str, str]]] = ContextVar("caller", default=MappingProxyType({}))

UNKNOWN: Final = "http://millstream-api-url.invalid"
HOW: Final = (
    "A client of langgraph_sdk was made without a URL, and this process does not know where its API is: set "
    "MILLSTREAM_API_URL (or LANGGRAPH_API_URL) to its URL, or give the client a `url`."
)
# What a request says of itself and of its way: never another request's.
NOT_CARRIED: Final = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
    "forwarded", "host", "keep-alive", "last-event-id", "origin", "prefer", "proxy-connection", "referer", "te",
    "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
})  # fmt: skip
NOT_CARRIED_FAMILIES: Final = ("access-control-", "if-", "sec-", "x-forwarded-")


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns those of a request's headers that may go along with the requests that are made for it."""
    return {
        name: value
        for name, value in headers.items()
        if name not in NOT_CARRIED and not name.startswith(NOT_CARRIED_FAMILIES)
    }


def connect_sdk() -> None:
    """Has clients of langgraph_sdk that are made without a URL lead to the deployment's API.

    Modules that have imported the functions get them too; a repeated call changes nothing.
    """
    if importlib.util.find_spec("langgraph_sdk") is None:
        return
    from langgraph_sdk import client

    for name, hook in (("get_client", _hook_of_async), ("get_sync_client", _hook_of_sync)):
        made = getattr(client, name)
        if hasattr(made, "__wrapped__"):
            continue
        leading = _leading(made, hook)
        for module in [
            m for m in list(sys.modules.values()) if getattr(m, "__dict__", {}).get(name) is made
        ]:
            setattr(module, name, leading)


def _leading(make: Callable[..., Any], hook_of: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the SDK's function, with the deployment's API in place of no URL."""

    @functools.wraps(make)
    def lead(**given: Any) -> Any:
        if given.get("url"):
            return make(**given)
        settings = Settings.from_env()
        url = settings.api_url or settings.public_url
        client = make(**{**given, "url": url or UNKNOWN})
        own = {name.lower() for name in given.get("headers") or {}}
        if isinstance(given.get("api_key"), str):
            own.add("x-api-key")
        client.http.client.event_hooks = {"request": [hook_of(bool(url), own)]}
        return client

    return lead


def _hook_of_sync(known: bool, own: set[str]) -> Callable[[Any], None]:
    """Returns what adds the caller's headers to a request; those that the client was made with go before."""

    def hook(request: Any) -> None:
        if not known:
            raise RuntimeError(HOW)
        request.headers.update({k: v for k, v in CALLER.get().items() if k not in own})

    return hook


def _hook_of_async(known: bool, own: set[str]) -> Callable[[Any], Any]:
    add = _hook_of_sync(known, own)

    async def hook(request: Any) -> None:
        add(request)

    return hook
