"""Every method of langgraph_sdk works with each parameter. A new method of a newer SDK fails here."""

from typing import Any

import pytest
from langgraph_sdk import get_client, get_sync_client

from conftest import System
from e2e.sdk_surface.recorder import Recorder, methods
from e2e.sdk_surface.scenario import everything
from harness.redis_modules import require_modules


def print_table(kind: str, seen: dict[str, set[str]], expected: dict[str, set[str]]) -> None:
    """Prints each method and the number of parameters that were used."""
    print(f"\n{kind}: {len(expected)} methods")  # noqa: T201
    for name, parameters in expected.items():
        called = seen.get(name)
        mark = "-" if called is None else f"works, {len(called & parameters)} of {len(parameters)}"
        print(f"  {name:<28}{mark} parameters")  # noqa: T201


@pytest.mark.filterwarnings("ignore:`checkpoint_during` is deprecated:DeprecationWarning")
@pytest.mark.parametrize("kind", ["async", "sync"])
async def test_every_parameter_of_every_method_is_supported(system: System, kind: str) -> None:
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
        print_table(f"langgraph_sdk, {kind}", recorder.seen, expected)
    assert set(recorder.seen) == set(expected)
    missing = {name: expected[name] - recorder.seen[name] for name in recorder.seen}
    assert not {name: left for name, left in missing.items() if left}
