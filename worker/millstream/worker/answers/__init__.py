"""What the API may ask: one file a subject, each verb once in the table."""

from collections.abc import Awaitable, Callable
from typing import Final

from millstream.shared.wire import Call
from millstream.worker.answers import state, update
from millstream.worker.answers.means import Means

__all__ = ["VERBS", "Means"]

# Each returns JSON; what it refuses is one of the errors in `shared.calls.KINDS`.
VERBS: Final[dict[str, Callable[[Means, Call], Awaitable[bytes]]]] = {
    "state": state.get,
    "history": state.history,
    "update": update.update,
    "seed": update.seed,
}
