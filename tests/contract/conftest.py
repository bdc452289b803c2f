"""Clients for contract tests: empty at the start, without a leaked key at the end."""

from typing import Any

import pytest

from millstream.shared.redis import Client
from millstream.shared.scripts.script import Script


@pytest.fixture
def replies(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the scripts replied, newest last: the words that the typed functions make sense of."""
    heard: list[Any] = []
    call = Script.__call__

    async def listen(self: Script, redis: Client, /, **given: Any) -> Any:
        heard.append(await call(self, redis, **given))
        return heard[-1]

    monkeypatch.setattr(Script, "__call__", listen)
    return heard
