"""The keys of langgraph.json that have an effect. Source: the LangGraph CLI's configuration file.

`http` is in http.py, `auth` in auth.py. A section refuses a key that it does not know: the line would look as if it had
an effect.
"""

from typing import Annotated, Any, Literal

import msgspec

from millstream.shared.langgraph_json.auth import AuthConfig
from millstream.shared.langgraph_json.http import HttpSettings

Positive = Annotated[float, msgspec.Meta(gt=0)]


class GraphEntry(msgspec.Struct, frozen=True):
    """One value of `graphs` in langgraph.json, in its long form."""

    path: str
    description: str | None = None
    # 'process': each run is executed in a process of its own, as code that blocks, crashes or is not
    # trusted should be
    isolation: Literal["process"] | None = None
    queue: str | None = None  # gets the graph's runs, unless their assistant names another


class CheckpointerTtl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer.ttl` of langgraph.json: what becomes of threads that nobody uses."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    # minutes between two sweeps
    sweep_interval_minutes: Positive = 5
    # minutes after its last use; None: only threads with a `ttl` of their own
    default_ttl: Positive | None = None
    # threads dealt with in one sweep
    sweep_limit: Annotated[int, msgspec.Meta(gt=0)] = 1000


class SerdeConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer.serde` of langgraph.json: of which classes stored objects may be."""

    # [module, …, name] each; true: all; null: LangGraph's own alone
    allowed_msgpack_modules: list[list[str]] | bool | None = True
    allowed_json_modules: list[list[str]] | bool | None = None
    pickle_fallback: bool = False  # for what LangGraph's serializer does not know

    def arguments(self) -> dict[str, Any]:
        """Returns what a JsonPlusSerializer is made with."""
        return {
            "allowed_msgpack_modules": _pairs(self.allowed_msgpack_modules),
            "allowed_json_modules": _pairs(self.allowed_json_modules, parts=True),
            "pickle_fallback": self.pickle_fallback,
        }


def _pairs(
    allowed: list[list[str]] | bool | None, *, parts: bool = False
) -> list[tuple[str, ...]] | Literal[True] | None:
    """Returns an allow-list as LangGraph takes it: (module, name), for JSON each part of the module by itself."""
    if isinstance(allowed, bool) or allowed is None:
        return True if allowed else None
    return [
        tuple(entry) if parts else (".".join(entry[:-1]), entry[-1]) for entry in allowed if entry
    ]


class CheckpointerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer` of langgraph.json."""

    ttl: CheckpointerTtl | None = None
    path: str | None = None  # './file.py:name' of a checkpointer of the user's own
    serde: SerdeConfig | None = None
    backend: Literal["default", "custom"] | None = None  # `path` says the same


class WebhookUrls(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`webhooks.url` of langgraph.json: which URLs a run may have called."""

    require_https: bool = False
    allowed_domains: list[str] = []
    allowed_ports: list[int] = []
    max_url_length: Annotated[int, msgspec.Meta(gt=0)] = 65536
    disable_loopback: bool = True


class WebhooksConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`webhooks` of langgraph.json."""

    env_prefix: str = "LG_WEBHOOK_"  # of the variables that headers may name
    url: WebhookUrls = WebhookUrls()
    headers: dict[str, str] = {}  # `${{ env.LG_WEBHOOK_TOKEN }}` stands for a variable


class IndexSettings(msgspec.Struct, frozen=True):
    """`store.index`: what makes items searchable by meaning."""

    embed: Annotated[str, msgspec.Meta(min_length=1)]  # 'provider:model' or 'path.py:function'
    dims: Annotated[int, msgspec.Meta(gt=0, le=32768)]  # numbers of one embedding
    # Paths in the value; $ is all of it.
    fields: list[str] = msgspec.field(default_factory=lambda: ["$"])


class TTLSettings(msgspec.Struct, frozen=True):
    """`store.ttl`: how long items live. Redis lets them go by itself, so no sweep is needed."""

    default_ttl: Positive | None = None  # minutes
    refresh_on_read: bool = True
    sweep_interval_minutes: Positive | None = None  # without effect: see reader.NOT_DONE


class StoreSettings(msgspec.Struct, frozen=True):
    """`store`."""

    index: IndexSettings | None = None
    ttl: TTLSettings | None = None
    path: Annotated[str, msgspec.Meta(min_length=1)] | None = None  # a store of the user's own


class ProjectConfig(msgspec.Struct, frozen=True):
    """All of them: what a worker, an API and the command read of the file."""

    graphs: dict[str, str | GraphEntry]
    checkpointer: CheckpointerConfig = CheckpointerConfig()
    store: StoreSettings | None = None
    webhooks: WebhooksConfig = WebhooksConfig()
    http: HttpSettings = HttpSettings()
    auth: AuthConfig | None = None
    dependencies: list[Any] = []  # packages, which are installed beforehand, and folders
    env: str | list[Any] | dict[str, Any] = ""  # a file's name; names; or names with their values
