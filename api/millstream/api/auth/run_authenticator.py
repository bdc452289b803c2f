"""Recognises requests that the graph of a run or of a call sends to the API of its own deployment."""

from millstream.api.auth.authentication import AuthRequest
from millstream.shared import calls
from millstream.shared.access import User
from millstream.shared.errors import UnauthenticatedError
from millstream.shared.redis import Client
from millstream.shared.rules.reserved_names import RUN_HEADER
from millstream.shared.runs import access


class RunAuthenticator:
    """Authenticates the token of a run or of a call, as its user.

    It is asked before the project's authenticators: clients in a graph also send keys of the worker's environment.
    """

    def __init__(self, redis: Client) -> None:
        """Takes the client with which it reads records."""
        self._redis = redis

    async def authenticate(self, request: AuthRequest) -> User | None:
        """Returns the user of the run or call; None for a request without a token. Raises UnauthenticatedError."""
        token = request.headers.get(RUN_HEADER)
        if token is None:
            return None
        user = await calls.user_of(self._redis, token) or await access.user_of(self._redis, token)
        if user is None:
            raise UnauthenticatedError(
                f"Unauthorized: {RUN_HEADER} has no token of a run or call that is being executed."
            )
        return user
