"""A fixture with the replies of scripts."""

from typing import Any

import pytest

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The raw replies of the scripts, newest last, before the typed functions parse them."""
    recorded: list[Any] = []
    call = Script.__call__

    async def listen(self: Script, redis: Client, /, **arguments: Any) -> Any:
        recorded.append(await call(self, redis, **arguments))
        return recorded[-1]

    monkeypatch.setattr(Script, "__call__", listen)
    return recorded
