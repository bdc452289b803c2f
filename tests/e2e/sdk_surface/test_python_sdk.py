"""Every method of langgraph_sdk, with each of its parameters, works: a newer SDK's new one fails here."""

from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client

from conftest import System
from e2e.sdk_surface.recorder import Recorder, methods
from e2e.sdk_surface.scenario import everything
from harness.redis_modules import require_modules


def show(kind: str, seen: dict[str, set[str]], all_of_it: dict[str, set[str]]) -> None:
    """Prints the table: the methods, and what was called of them."""
    print(f"\n{kind}: {len(all_of_it)} methods")  # noqa: T201
    for name, parameters in all_of_it.items():
        called = seen.get(name)
        mark = "-" if called is None else f"works, {len(called & parameters)} of {len(parameters)}"
        print(f"  {name:<28}{mark} parameters")  # noqa: T201


@pytest.mark.filterwarnings("ignore:`checkpoint_during` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_every_method_works_with_every_parameter(system: System, kind: str) -> None:
    require_modules()
    if kind == "async":
        async with get_client(url=system.url) as client:
            await check(client, kind)
    else:
        with get_sync_client(url=system.url) as client:
            await check(client, kind)


async def check(client: Any, kind: str) -> None:
    recorder = Recorder(client)
    expected = methods(client)
    try:
        await everything(recorder)
    finally:
        show(f"langgraph_sdk, {kind}", recorder.seen, expected)
    assert set(recorder.seen) == set(expected)
    missing = {name: expected[name] - recorder.seen[name] for name in recorder.seen}
    assert not {name: left for name, left in missing.items() if left}
