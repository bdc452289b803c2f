"""The commands of the API and of the worker, and their environment."""

import contextlib
import importlib.util
import sys
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Final, Literal

from millstream.cli.embedded import URL_FILE
from millstream.cli.errors import CliError, SetupError
from millstream.shared.errors import SettingError
from millstream.shared.settings import DEFAULT_REDIS_URL, Settings

DATA_FOLDER: Final = ".millstream"  # of `millstream dev`, in the project's folder

Extra = Literal["api", "worker"]

# A package that only this extra installs.
_MARKERS: Final[dict[Extra, str]] = {"api": "starlette", "worker": "langgraph"}


def _variables(name: str) -> tuple[str, ...]:
    return next(tuple(each.metadata["names"]) for each in fields(Settings) if each.name == name)


_REDIS_NAMES: Final = _variables("redis_url")


def variable(name: str) -> str:
    """Returns the environment variable of a setting."""
    return _variables(name)[0]


def is_set(name: str, environ: Mapping[str, str]) -> bool:
    """Returns whether the environment has a setting."""
    return any(environ.get(each, "").strip() for each in _variables(name))


def api_command(host: str, port: int, config: Path | None) -> list[str]:
    """Returns the command of an API process; `config` is a langgraph.json whose `http` it reads."""
    command = [*_python("millstream.api"), "--host", host, "--port", str(port)]
    return command if config is None else [*command, "--config", str(config)]


def worker_command(config: Path, queues: Sequence[str], *, declared: bool = False) -> list[str]:
    """Returns the command of a worker process.

    With `declared`, it also serves the queues that its langgraph.json declares for graphs.
    """
    options = [part for name in queues for part in ("--queue", name)]
    command = [*_python("millstream.worker"), "--config", str(config), *options]
    return [*command, "--declared"] if declared else command


def try_graphs_command(config: Path) -> list[str]:
    """Returns the command of a process that loads the project's graphs and ends."""
    return [*_python("millstream.worker.try_graphs"), "--config", str(config)]


def environment(environ: Mapping[str, str], redis_url: str | None) -> dict[str, str]:
    """Returns `environ` with the Redis URL, if there is one."""
    return {**environ, **({} if redis_url is None else {_REDIS_NAMES[0]: redis_url})}


def find_redis_url(option: str | None, environ: Mapping[str, str]) -> str | None:
    """Returns the Redis URL of the option, else of the environment; None if neither is set."""
    candidates = [option, *(environ.get(name) for name in _REDIS_NAMES)]
    return next((text.strip() for text in candidates if text and text.strip()), None)


def operator_redis_url(option: str | None, environ: Mapping[str, str]) -> str:
    """Returns the Redis URL for a command of operators.

    It is that of the option, else of the environment, else of a `millstream dev` that runs in this folder, else the
    default.
    """
    url = find_redis_url(option, environ)
    if url is None:
        with contextlib.suppress(OSError):
            url = (Path(DATA_FOLDER) / URL_FILE).read_text(encoding="utf-8").strip()
    return url or DEFAULT_REDIS_URL


def read_settings(environ: Mapping[str, str]) -> Settings:
    """Reads the settings; raises CliError, which names the invalid variable."""
    try:
        return Settings.from_env(environ)
    except SettingError as error:
        raise CliError(str(error)) from None


def require_extra(extra: Extra) -> None:
    """Raises SetupError if the packages of the API or of the worker are not installed."""
    if importlib.util.find_spec(_MARKERS[extra]) is None:
        raise SetupError(
            f"The packages of the {extra} are not installed here. Install them with:\n"
            f'  pip install "millstream[{extra}]"'
        )


def _python(module: str) -> list[str]:
    # -P: otherwise a file of the project named like a package (redis.py) would hide the package.
    return [sys.executable, "-P", "-m", module]
