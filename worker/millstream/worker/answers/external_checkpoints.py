"""Copies and prunes threads whose checkpoints an external checkpointer stores.

For Millstream's own checkpointer the API calls one script instead. Here the thread is checked before and after, and
a method that the checkpointer lacks is refused.
"""

import uuid

from millstream.shared import threads
from millstream.shared.errors import RefusedError
from millstream.shared.wire import Call
from millstream.worker.answers.context import AnswerContext
from millstream.worker.checkpoints.checkpointing import UnsupportedError
from millstream.worker.encode import encode


async def copy(context: AnswerContext, call: Call) -> bytes:
    """`copy`: a new thread with the state of another. Arguments: thread_id. Answers `{"thread_id"}`.

    Raises NotFoundError, ConflictError (a run is active), RefusedError (the checkpointer can't).
    """
    source, target = call.arguments["thread_id"], str(uuid.uuid4())
    await threads.idle_epoch(context.redis, source)
    try:
        await context.checkpointing.copy(source, target)
        await threads.copy_thread(context.redis, source, target)
    except UnsupportedError as error:
        raise RefusedError(str(error)) from None
    except BaseException:  # an incomplete copy, or one without a thread
        await context.checkpointing.delete(target)
        raise
    return encode({"thread_id": target})


async def prune(context: AnswerContext, call: Call) -> bytes:
    """`prune`: keeps the newest checkpoints of a thread. Arguments: thread_id.

    Raises NotFoundError, ConflictError (a run is active), RefusedError (the checkpointer can't).
    """
    thread_id = call.arguments["thread_id"]
    try:
        await context.checkpointing.prune(thread_id)
    except UnsupportedError as error:
        raise RefusedError(str(error)) from None
    return encode({})
