"""Reports the graphs of a worker, and routes each to a queue: see offer_graphs.lua."""

from collections.abc import Mapping, Sequence
from typing import Final

from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.queue_names import DEFAULT
from millstream.shared.scripts.script import Script, pairs

SCRIPT = Script("queues/offer_graphs")
# An offer is renewed in its second half. So it lasts for a minute at least, longer than the restart of a fleet takes:
# its graphs stay in its queue.
SERVED_SECONDS: Final = 120.0
# All workers of a project repeat its declarations, so that a removed one may end soon.
DECLARED_SECONDS: Final = 10.0


async def offer_graphs(
    redis: Client,
    queues: Sequence[str],
    graphs: Mapping[str, str | None],
    *,
    served_ttl: float = SERVED_SECONDS,
    declared_ttl: float = DECLARED_SECONDS,
) -> dict[str, str]:
    """Reports that a worker offers graphs; returns the queue that each graph's runs are admitted to.

    Args:
        queues: names of the queues that the worker serves.
        graphs: graph id → the queue that langgraph.json declares for it, or None.
        served_ttl: seconds after which the offer in a queue expires, if no worker repeats it.
        declared_ttl: seconds after which the declaration expires, if no worker repeats it.
    """
    chosen = await SCRIPT(
        redis,
        offers=keys.offers(),
        routes=keys.routes(),
        queues=keys.queues(),
        preferred=DEFAULT,
        served_ttl=int(served_ttl * 1_000_000),
        declared_ttl=int(declared_ttl * 1_000_000),
        served=queues,
        graphs=pairs({graph_id: declared or "" for graph_id, declared in graphs.items()}),
    )
    return dict(zip(graphs, (name.decode() for name in chosen), strict=True))
