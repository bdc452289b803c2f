"""Connects langgraph_sdk's clients that the project's code makes without a URL to the deployment's API.

LangGraph's server runs graphs in the process that serves its API, and its SDK expects the API there. Millstream has
separate processes, so these clients connect to MILLSTREAM_API_URL. See docs/decisions/0035.
"""

import functools
import importlib.util
import sys
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from types import MappingProxyType
from typing import Any, Final

from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.shared.settings import Settings

# Headers that requests of the run's graph to the API get: those of the request for the run, and with authentication the
# token of the run, with which the graph acts as the run's user.
CALLER: Final[ContextVar[Mapping[str, str]]] = ContextVar("caller", default=MappingProxyType({}))

UNKNOWN_URL: Final = "http://millstream-api-url.invalid"
NO_URL: Final = (
    "A client of langgraph_sdk was made without a URL, and this process does not know where its API is: set "
    "MILLSTREAM_API_URL (or LANGGRAPH_API_URL) to its URL, or give the client a `url`."
)
# Headers that describe one request or its route, and are wrong for any other request.
NOT_FORWARDED: Final = frozenset({
    "accept", "accept-encoding", "connection", "content-encoding", "content-length", "content-type", "expect",
    "forwarded", "host", "keep-alive", "last-event-id", "origin", "prefer", "proxy-connection", "referer", "te",
    "trailer", "transfer-encoding", "upgrade", "user-agent", "via",
})  # fmt: skip
NOT_FORWARDED_PREFIXES: Final = ("access-control-", "if-", "sec-", "x-forwarded-")
# A client that is made with one of these acts as another user than that of its run.
CREDENTIALS: Final = frozenset({"authorization", "cookie", "x-api-key"})


def forwarded_headers(headers: Mapping[str, str]) -> dict[str, str]:
    """Returns the headers of a request that the requests of its run to the API get too."""
    return {
        name: value
        for name, value in headers.items()
        if name not in NOT_FORWARDED and not name.startswith(NOT_FORWARDED_PREFIXES)
    }


def connect_sdk() -> None:
    """Makes clients of langgraph_sdk without a URL connect to the deployment's API.

    Modules that have already imported the functions are changed too. A repeated call changes nothing.
    """
    if importlib.util.find_spec("langgraph_sdk") is None:
        return
    from langgraph_sdk import client

    for name, hook in (("get_client", _hook_of_async), ("get_sync_client", _hook_of_sync)):
        original = getattr(client, name)
        if hasattr(original, "__wrapped__"):
            continue
        wrapped = _with_default_url(original, hook)
        for module in [
            m
            for m in list(sys.modules.values())
            if getattr(m, "__dict__", {}).get(name) is original
        ]:
            setattr(module, name, wrapped)


def _with_default_url(make: Callable[..., Any], hook_of: Callable[..., Any]) -> Callable[..., Any]:
    """Returns the SDK's function with the deployment's API as the default URL."""

    @functools.wraps(make)
    def make_client(**arguments: Any) -> Any:
        if arguments.get("url"):
            return make(**arguments)
        settings = Settings.from_env()
        url = settings.api_url or settings.public_url
        client = make(**{**arguments, "url": url or UNKNOWN_URL})
        client_headers = {name.lower() for name in arguments.get("headers") or {}}
        if isinstance(arguments.get("api_key"), str):
            client_headers.add("x-api-key")
        if client_headers & CREDENTIALS:
            client_headers.add(RUN_HEADER)
        http = client.http.client
        http.event_hooks = {"request": [hook_of(bool(url), _origin(http.base_url), client_headers)]}
        return client

    return make_client


def _origin(url: Any) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _hook_of_sync(
    is_known: bool, api: tuple[str, str, int | None], client_headers: set[str]
) -> Callable[[Any], None]:
    """Returns a hook that adds the caller's headers to a request; the client's own headers take precedence.

    `api` is the API's origin: a redirect to another one gets no header of the caller.
    """

    def hook(request: Any) -> None:
        if not is_known:
            raise RuntimeError(NO_URL)
        if _origin(request.url) == api:
            added = {k: v for k, v in CALLER.get().items() if k not in client_headers}
            request.headers.update(added)

    return hook


def _hook_of_async(
    is_known: bool, api: tuple[str, str, int | None], client_headers: set[str]
) -> Callable[[Any], Any]:
    add = _hook_of_sync(is_known, api, client_headers)

    async def hook(request: Any) -> None:
        add(request)

    return hook
