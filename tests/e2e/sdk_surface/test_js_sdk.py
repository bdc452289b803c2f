"""Every method of @langchain/langgraph-sdk works. A new method of a newer SDK fails here, with its name."""

from conftest import System
from e2e import node
from harness.redis_modules import require_modules


async def test_every_method_of_the_js_sdk_is_supported(system: System) -> None:
    require_modules()
    node.require()
    seen = await node.node("surface.mjs", system.url)
    print(f"\n@langchain/langgraph-sdk: {len(seen['methods'])} methods")  # noqa: T201
    for name in seen["methods"]:
        print(f"  {name:<28}{'works' if name in seen['called'] else '-'}")  # noqa: T201
    assert seen["methods"]
    assert set(seen["methods"]) == set(seen["called"])
