"""UUIDs in their usual form."""

import uuid


def canonical_uuid(text: str) -> str | None:
    """Returns the UUID in its usual form, or None for a text that is not a UUID."""
    try:
        return str(uuid.UUID(text))
    except ValueError:
        return None
