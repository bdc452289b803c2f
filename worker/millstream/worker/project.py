"""What a worker reads of langgraph.json. Source: the LangGraph CLI's configuration file."""

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json import read_content, read_file, require_graphs
from millstream.worker.store.settings import StoreSettings


class GraphEntry(msgspec.Struct, frozen=True):
    """One value of `graphs` in langgraph.json, in its long form."""

    path: str
    description: str | None = None
    # 'process': each run is executed in a process of its own, as code that blocks, crashes or is not
    # trusted should be
    isolation: Literal["process"] | None = None


class CheckpointerTtl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer.ttl` of langgraph.json: what becomes of threads that nobody uses."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    # minutes between two sweeps
    sweep_interval_minutes: Annotated[float, msgspec.Meta(gt=0)] = 5
    # minutes after its last use; None: only threads with a `ttl` of their own
    default_ttl: Annotated[float, msgspec.Meta(gt=0)] | None = None
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
    given: list[list[str]] | bool | None, *, parts: bool = False
) -> list[tuple[str, ...]] | Literal[True] | None:
    """Returns an allow-list as LangGraph takes it: (module, name), for JSON each part of the module by itself."""
    if isinstance(given, bool) or given is None:
        return True if given else None
    return [
        tuple(entry) if parts else (".".join(entry[:-1]), entry[-1]) for entry in given if entry
    ]


class CheckpointerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer` of langgraph.json.

    Keys that are not known are refused: a line that does nothing would look as if it did.
    """

    ttl: CheckpointerTtl | None = None
    path: str | None = None  # './file.py:name' of a checkpointer of the user's own
    serde: SerdeConfig | None = None
    backend: Literal["default", "custom"] | None = None  # which `path` tells already


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


class ConfigFile(msgspec.Struct):
    """The keys of langgraph.json that a worker reads.

    `http` is the API's (api/http/config.py), `env` and `dependencies` are any process's (shared/langgraph_json.py).
    """

    graphs: dict[str, str | GraphEntry]
    auth: dict[str, object] | None = None
    checkpointer: CheckpointerConfig | None = None
    store: StoreSettings | None = None
    webhooks: WebhooksConfig = WebhooksConfig()


def read_config(path: Path) -> ConfigFile:
    """Reads langgraph.json; raises SettingError that says what is wrong and where."""
    require_graphs(path, read_content(path))
    config = read_file(path, ConfigFile)
    if config.auth is not None:
        raise SettingError(
            f"{path} asks for `auth`, which this version does not enforce: the API would be open "
            "to all. Put a proxy that authenticates before it, and take `auth` out."
        )
    return config
