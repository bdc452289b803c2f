"""Ids as clients write them."""

import uuid


def canonical_uuid(text: str) -> str | None:
    """Returns the UUID in its usual form, None for a text that is no UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
