"""The token with which the graph of a run calls the API as the user of the run, and as nobody else.

It names the run and has a secret of the run's record. It is valid while the run is executed: no key signs it, so no key
can leak, and the end of the run revokes it.
"""

import hmac
import secrets
import uuid
from typing import Final

from millstream.shared import keys
from millstream.shared.access import User, unpack_user
from millstream.shared.redis import Client
from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.sealing import key_ring_of
from millstream.shared.sealing.structs import unpack_sealed_spec
from millstream.shared.wire import RunSpec, require_plain

SECRET_BYTES: Final = 24
MAX_TOKEN_CHARS: Final = 200


def new_secret() -> str:
    """Returns the secret of a new run."""
    return secrets.token_urlsafe(SECRET_BYTES)


def token_of(spec: RunSpec) -> str:
    """Returns the token of a run; '' for a run without a user."""
    return f"{spec.thread_id}.{spec.run_id}.{spec.access_secret}" if spec.access_secret else ""


async def user_of(redis: Client, token: str) -> User | None:
    """Returns the user of the run that the token belongs to; None for an invalid token, or a run that is not executed.

    Raises redis.exceptions.RedisError while Redis is unavailable, and SealedError if no key opens the run.
    """
    thread_id, _, rest = token[:MAX_TOKEN_CHARS].partition(".")
    run_id, _, secret = rest.partition(".")
    if not (_is_id(thread_id) and _is_id(run_id)):
        return None
    packed, status = await redis.hmget(keys.run(thread_id, run_id), ["spec", "status"])  # type: ignore[misc]
    if packed is None or status != RunStatus.RUNNING.value.encode():
        return None
    spec = unpack_sealed_spec(key_ring_of(redis), packed)
    require_plain(spec.kwargs)
    is_valid = hmac.compare_digest(spec.access_secret.encode(), secret.encode())
    return unpack_user(spec.user) if spec.access_secret and is_valid else None


def _is_id(text: str) -> bool:
    """Returns whether the text is a UUID in its usual form, as all ids in keys are."""
    try:
        return str(uuid.UUID(text)) == text
    except ValueError:
        return False
