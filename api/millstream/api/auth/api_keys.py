"""Authenticates requests by API keys, in `x-api-key` or as a bearer token."""

from millstream.api.auth.authentication import AuthRequest
from millstream.api.auth.credentials import api_key_header, bearer_token
from millstream.shared.access import User
from millstream.shared.api_keys.directory import KeyDirectory
from millstream.shared.api_keys.token import PREFIX, parse_token
from millstream.shared.errors import UnauthenticatedError

INVALID = "The API key is invalid, expired or revoked."


class ApiKeyAuthenticator:
    """Accepts API keys. Another `x-api-key` counts as absent: SDKs send one that they find in the environment."""

    def __init__(self, directory: KeyDirectory) -> None:
        """Takes the copy of all keys."""
        self._directory = directory

    async def authenticate(self, request: AuthRequest) -> User | None:
        """Returns the user that the key acts for. Raises UnauthenticatedError, and redis-py's errors in an outage."""
        texts = {
            text
            for text in (api_key_header(request), bearer_token(request))
            if text is not None and text.startswith(PREFIX)
        }
        if not texts:
            return None
        if len(texts) > 1:
            raise UnauthenticatedError("The request has several API keys.")
        token = parse_token(texts.pop())
        record = None if token is None else await self._directory.find(token)
        if record is None:
            raise UnauthenticatedError(INVALID)
        return User.of(
            {
                "identity": record.identity,
                "display_name": record.name,
                "permissions": list(record.scopes),
                "api_key_id": record.key_id,
            }
        )
