"""How a script is loaded and called: by its hash, with the source only where Redis lacks it."""

import hashlib
import re
from collections.abc import Sequence
from importlib.resources import files
from typing import Any, Final, cast

from redis.exceptions import NoScriptError

from millstream.shared.redis import Client

Word = str | bytes | int | float


PART: Final = re.compile(r"^-- with (\w+)$", re.MULTILINE)


def _read(name: str) -> str:
    return files(__package__).joinpath(f"{name}.lua").read_text("utf-8")


class Script:
    """One .lua file of this folder; a line `-- with part` brings in another's functions."""

    def __init__(self, name: str) -> None:
        self.name: Final = name
        self.source: Final = PART.sub(lambda part: _read(part[1]), _read(name))
        self.sha: Final = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Client, keys: Sequence[str], args: Sequence[Word]) -> Any:
        """Runs the script atomically; returns its reply with strings as bytes."""
        words = cast("Any", (*keys, *args))
        try:
            return await redis.evalsha(self.sha, len(keys), *words)  # type: ignore[misc]
        except NoScriptError:
            return await redis.eval(self.source, len(keys), *words)  # type: ignore[misc]

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


def pairs(fields: dict[str, Any]) -> list[Any]:
    """Returns `[field, value, …]`, as scripts take a mapping."""
    return [word for item in fields.items() for word in item]
