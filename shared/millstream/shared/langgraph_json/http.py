"""`http` of langgraph.json: which routes an API process serves, to which origins, and which headers reach graphs.

Source of the names: the LangGraph CLI's configuration file.
"""

import re
from fnmatch import fnmatchcase
from typing import Annotated, Final, Literal

import msgspec

from millstream.shared.rules.reserved_names import RUN_HEADER

# Secrets that are for the server, not for graphs or logs: passed on only where they are named in full.
SECRET: Final = frozenset({
    "authorization", "cookie", "proxy-authorization", "sec-websocket-protocol", "x-api-key",
})  # fmt: skip


# That name is reserved: nobody means it.
ANY_PAGE: Final = ("https://any.page.invalid", "http://any.page.invalid")


class Cors(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`http.cors`: which pages of other origins may call the API."""

    allow_origins: list[str] | None = None  # None: all, or what the pattern allows if there is one
    allow_methods: list[str] = msgspec.field(default_factory=lambda: ["*"])
    allow_headers: list[str] = msgspec.field(default_factory=lambda: ["*"])
    allow_credentials: bool = False
    allow_origin_regex: str | None = None
    expose_headers: list[str] = []  # beside those that the SDKs need
    max_age: int = 600  # s

    @property
    def origins(self) -> list[str]:
        """The origins that are allowed beside those of the pattern; `*` is any."""
        if self.allow_origins is None:
            return ["*"] if self.allow_origin_regex is None else []
        return self.allow_origins

    @property
    def allows_all(self) -> bool:
        """Whether any page may call, by `*` or by a pattern that fits whatever there is."""
        return any(map(self.allows, ANY_PAGE))

    def names(self, origin: str) -> bool:
        """Returns whether that origin is named, or fits the pattern; `*` names none."""
        pattern = self.allow_origin_regex
        return (origin in self.origins and origin != "*") or (
            pattern is not None and re.fullmatch(pattern, origin) is not None
        )

    def allows(self, origin: str) -> bool:
        """Returns whether a page of that origin may call; of WebSockets browsers ask nobody before."""
        return "*" in self.origins or self.names(origin)


class HeaderFilter(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Names of headers, in which `*` stands for anything; case does not matter."""

    includes: list[str] = []
    excludes: list[str] = []
    include: list[str] = []  # other spellings, which the field takes too
    exclude: list[str] = []

    def chosen(self, headers: list[tuple[str, str]]) -> dict[str, str]:
        """Returns those of a request's headers that are meant; of a repeated one, the last counts."""
        includes = [name.lower() for name in (*self.includes, *self.include)]
        excludes = [name.lower() for name in (*self.excludes, *self.exclude)]
        return {
            name: value
            for name, value in headers
            if name != RUN_HEADER
            and _fits(name, includes if name not in SECRET else [i for i in includes if i == name])
            and not _fits(name, excludes)
        }


def _fits(name: str, patterns: list[str]) -> bool:
    return any(fnmatchcase(name, pattern) for pattern in patterns)


class HttpSettings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`http` of langgraph.json; a key that is not known is refused, for it would do nothing."""

    app: str | None = None  # './file.py:name' of a Starlette or FastAPI application
    cors: Cors = Cors()
    configurable_headers: HeaderFilter | None = None  # which become entries of `configurable`
    logging_headers: HeaderFilter | None = None  # which are shown in the log, a line a request
    mount_prefix: Annotated[str, msgspec.Meta(pattern="^(/[^/?#{}]+)*/?$")] = ""
    disable_assistants: bool = False
    disable_threads: bool = False
    disable_runs: bool = False
    disable_store: bool = False
    disable_mcp: bool = False
    disable_a2a: bool = False
    disable_meta: bool = False
    disable_ui: bool = False
    disable_webhooks: bool = False
    enable_custom_route_auth: bool = False
    middleware_order: Literal["middleware_first", "auth_first"] = "middleware_first"

    @property
    def prefix(self) -> str:
        """The path under which all routes lie: '', or '/…' without a slash at its end."""
        return self.mount_prefix.rstrip("/")

    def headers_for_runs(self, headers: list[tuple[str, str]]) -> dict[str, str]:
        """Returns what a run's `configurable` takes from the request that asks for it."""
        return self.configurable_headers.chosen(headers) if self.configurable_headers else {}
