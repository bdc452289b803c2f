"""The user of a run, as its graph reads it."""

from typing import Any


class GraphUser(dict[str, Any]):
    """The fields of a user, as entries and as attributes.

    It is a dict, so that a graph can store it in its state. Source of the attributes: `langgraph_sdk.auth.types`.
    """

    def __getattr__(self, name: str) -> Any:
        """Returns a field that the authenticator added."""
        try:
            return self[name]
        except KeyError:
            raise AttributeError(f"the user has no field {name!r}") from None

    # isinstance(user, BaseUser) looks for these on the class.

    @property
    def identity(self) -> str:
        """The user's unique name."""
        return str(self["identity"])

    @property
    def display_name(self) -> str:
        """The user's name for people."""
        return str(self["display_name"])

    @property
    def is_authenticated(self) -> bool:
        """Whether the user is known."""
        return bool(self["is_authenticated"])

    @property
    def permissions(self) -> list[str]:
        """What the user may do."""
        permissions: list[str] = self["permissions"]
        return permissions
