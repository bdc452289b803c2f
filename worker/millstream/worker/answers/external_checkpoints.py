"""Copies and prunings of threads whose checkpoints another checkpointer keeps.

Of Millstream's own one script does them. Here the thread is looked at before and after, and what the
checkpointer can't do is refused.
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
    except BaseException:  # half a copy, or one that is no thread
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
