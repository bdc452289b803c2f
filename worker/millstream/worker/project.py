"""langgraph.json and what it names: the file's keys, its env, its folders, objects in the user's
modules. Source: the LangGraph CLI's configuration file."""

import importlib
import importlib.util
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, Literal

import msgspec
from dotenv import dotenv_values

from millstream.shared.errors import SettingError
from millstream.worker.store.settings import StoreSettings


class GraphEntry(msgspec.Struct, frozen=True):
    """One value of `graphs` in langgraph.json, in its long form."""

    path: str
    description: str | None = None


class CheckpointerTtl(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer.ttl` of langgraph.json: what becomes of threads that nobody uses."""

    strategy: Literal["delete", "keep_latest"] = "delete"
    # minutes between two sweeps
    sweep_interval_minutes: Annotated[float, msgspec.Meta(gt=0)] = 5
    # minutes after its last use; None: only threads with a `ttl` of their own
    default_ttl: Annotated[float, msgspec.Meta(gt=0)] | None = None
    # threads dealt with in one sweep
    sweep_limit: Annotated[int, msgspec.Meta(gt=0)] = 1000


class CheckpointerConfig(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`checkpointer` of langgraph.json.

    Keys that are not known are refused: a line that does nothing would look as if it did.
    """

    ttl: CheckpointerTtl | None = None
    path: str | None = None  # './file.py:name' of a checkpointer of the user's own


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
    """The keys of langgraph.json that a worker reads; others are for the API or for image builds."""

    graphs: dict[str, str | GraphEntry]
    dependencies: list[str] = []
    env: str | dict[str, str] = {}
    auth: dict[str, object] | None = None
    checkpointer: CheckpointerConfig | None = None
    store: StoreSettings | None = None
    http: dict[str, object] = {}  # not read yet: who sets something there is told so
    webhooks: WebhooksConfig = WebhooksConfig()


def read_config(path: Path) -> ConfigFile:
    """Reads langgraph.json; raises SettingError that says what is wrong and where."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise SettingError(
            f"There is no {path.name} in {path.parent}. Name it with --config, or create one: "
            '{"dependencies": ["."], "graphs": {"agent": "./agent.py:graph"}}'
        ) from None
    except OSError as error:
        raise SettingError(f"{path} can't be read: {error.strerror}") from None
    try:
        config = msgspec.json.decode(data, type=ConfigFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise SettingError(f"{path} is not a valid langgraph.json: {error}") from None
    if not config.graphs:
        raise SettingError(f"{path} names no graph: `graphs` is empty.")
    if config.auth is not None:
        raise SettingError(
            f"{path} asks for `auth`, which this version does not enforce: the API would be open "
            "to all. Put a proxy that authenticates before it, and take `auth` out."
        )
    return config


def load_object(spec: str, folder: Path, what: str) -> Any:
    """Returns what `path/to/file.py:name` or `package.module:name` stands for.

    Raises SettingError that names `what`.
    """
    where, colon, name = spec.rpartition(":")
    if not (colon and where and name):
        raise SettingError(f"{what}: {spec!r} is not of the form './file.py:variable'.")
    try:
        module = _import(where, folder, what)
    except SettingError:
        raise
    except BaseException as error:
        line = _last_line(error, folder)
        raise SettingError(
            f"{what}: {where} can't be imported: {type(error).__name__}: {error}{line}"
        ) from error
    try:
        return getattr(module, name)
    except AttributeError:
        raise SettingError(f"{what}: {where} has no {name!r}.") from None


def _import(where: str, folder: Path, what: str) -> ModuleType:
    if not (where.endswith(".py") or "/" in where):
        return importlib.import_module(where)
    file = (folder / where).resolve()
    if not file.is_file():
        raise SettingError(f"{what}: there is no file {where} in {folder}.")
    # Under the name that its own folder would import it by, so that it exists once, and what it
    # defines can be found again when a checkpoint is read.
    for root in map(Path, sys.path):
        if file.parent == root.resolve() and file.stem.isidentifier():
            return importlib.import_module(file.stem)
    spec = importlib.util.spec_from_file_location(file.stem, file)
    if spec is None or spec.loader is None:
        raise SettingError(f"{what}: {where} is not a Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def apply_env(env: str | dict[str, str], folder: Path) -> None:
    """Sets what the process's environment does not set itself."""
    if isinstance(env, str):
        file = folder / env
        if not file.is_file():
            raise SettingError(f"env: there is no file {env} in {folder}.")
        values: dict[str, str | None] = dotenv_values(file)
    else:
        values = dict(env)
    for name, value in values.items():
        if value is not None:
            os.environ.setdefault(name, value)


def apply_dependencies(dependencies: list[str], folder: Path) -> None:
    """Puts local folders on the import path; packages are the environment's business."""
    for dependency in dependencies:
        if not dependency.startswith("."):
            continue
        place = (folder / dependency).resolve()
        if not place.is_dir():
            raise SettingError(f"dependencies: there is no folder {dependency} in {folder}.")
        for root in (place / "src", place):
            if root.is_dir() and str(root) not in sys.path:
                sys.path.insert(0, str(root))


def _last_line(error: BaseException, folder: Path) -> str:
    """Returns ' (file.py, line N)': the deepest line of the user's own code."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({Path(error.filename).name}, line {error.lineno})"
    found = ""
    trace = error.__traceback__
    while trace is not None:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.is_relative_to(folder) and ".venv" not in file.parts:
            found = f" ({file.relative_to(folder)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return found
