"""Copies and prunes threads whose checkpoints an external checkpointer stores.

With Millstream's own checkpointer the API calls one script instead. Here no script guards the thread, so its status is
checked separately. A checkpointer that lacks the method leads to RefusedError.
"""

import uuid
from collections.abc import Callable
from typing import Any

from millstream.shared import threads
from millstream.shared.errors import ConflictError, RefusedError
from millstream.shared.wire import Call
from millstream.worker.answers.context import AnswerContext
from millstream.worker.checkpoints.checkpointing import UnsupportedError
from millstream.worker.encode import encode


async def copy(context: AnswerContext, call: Call) -> bytes:
    """`copy`: creates a thread with the state of another. Reply: `{"thread_id"}`.

    Arguments: thread_id; `metadata` of the copy, if it is not that of the thread, and the thread's metadata from which
    it was made, `before`.

    Raises NotFoundError, ConflictError (a run is active), RefusedError (the checkpointer can't copy).
    """
    source, target = call.arguments["thread_id"], str(uuid.uuid4())
    await threads.idle_epoch(context.redis, source)
    try:
        await context.checkpointing.copy(source, target)
        await threads.copy_thread(context.redis, source, target, restamp=_restamp(call))
    except UnsupportedError as error:
        raise RefusedError(str(error)) from None
    except BaseException:  # the copy is incomplete, or has no thread
        await context.checkpointing.delete(target)
        raise
    return encode({"thread_id": target})


def _restamp(call: Call) -> Callable[[dict[str, Any]], dict[str, Any]] | None:
    if "metadata" not in call.arguments:
        return None

    def restamp(metadata: dict[str, Any]) -> dict[str, Any]:
        if metadata != call.arguments["before"]:
            raise ConflictError("The thread's metadata is being changed. Try again.")
        result: dict[str, Any] = call.arguments["metadata"]
        return result

    return restamp


async def prune(context: AnswerContext, call: Call) -> bytes:
    """`prune`: deletes all but the newest checkpoints of a thread. Arguments: thread_id.

    Raises NotFoundError, ConflictError (a run is active), RefusedError (the checkpointer can't prune).
    """
    thread_id = call.arguments["thread_id"]
    try:
        await context.checkpointing.prune(thread_id)
    except UnsupportedError as error:
        raise RefusedError(str(error)) from None
    return encode({})
