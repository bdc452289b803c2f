"""Which handler decides. Source: langgraph_sdk 0.4.14, "Request Processing Flow" of `Auth`."""

from typing import Final

ANY: Final = "*"


def handler_keys(resource: str, action: str) -> tuple[tuple[str, str], ...]:
    """Returns the keys of the handlers that may decide. The first one that exists does."""
    return (resource, action), (resource, ANY), (ANY, action), (ANY, ANY)
