"""The `Auth` object of a project: what it takes, and which handler decides.

Source: langgraph_sdk 0.4.14, whose object stores its handlers by (resource, action), with `*` for any.
"""

import importlib
import inspect
from collections.abc import Awaitable, Callable
from typing import Any, Final

from langgraph_sdk import Auth

from millstream.shared.auth_process.resolution import ANY, handler_keys
from millstream.shared.errors import SettingError

# Arguments that the function under `@auth.authenticate` may take, by name.
PARAMETERS: Final = (
    "request", "body", "path", "method", "path_params", "query_params", "headers", "authorization",
)  # fmt: skip

Function = Callable[..., Any]
Handler = Callable[..., Awaitable[Any]]


class ProjectAuth:
    """The functions that a project has registered.

    Attributes:
        authenticate: the function under `@auth.authenticate`.
        parameters: the names of the arguments that it takes.
        request_class: makes `request` of an ASGI scope and a receive function; None if the function takes none, or the
            parent authenticates no requests.
    """

    def __init__(self, auth: object, what: str, request_class: str = "") -> None:
        """Reads the object. `what` names it in errors. `request_class` is `module:name`.

        Raises SettingError for an object that can't decide.
        """
        if not isinstance(auth, Auth):
            raise SettingError(
                f"auth.path: {what} is of the class {type(auth).__name__}, not langgraph_sdk.Auth."
            )
        function = auth._authenticate_handler
        if function is None:
            raise SettingError(
                f"auth.path: {what} has no function under @auth.authenticate, so no request would have a user."
            )
        self.authenticate: Function = function
        self.parameters = _parameters(function, what)
        self.request_class: Callable[..., Any] | None = None
        if "request" in self.parameters and request_class:
            module, _, name = request_class.partition(":")
            self.request_class = getattr(importlib.import_module(module), name)
        self._handlers: dict[tuple[str, str], Handler] = {
            key: handlers[-1] for key, handlers in auth._handlers.items() if handlers
        }
        if auth._global_handlers:
            self._handlers[ANY, ANY] = auth._global_handlers[-1]

    @property
    def handled(self) -> list[tuple[str, str]]:
        """The (resource, action) pairs that have a handler."""
        return list(self._handlers)

    def context(self, user: Any, resource: Any, action: Any) -> Any:
        """Returns the `ctx` of a handler."""
        return Auth.types.AuthContext(
            permissions=list(user.permissions), user=user, resource=resource, action=action
        )

    def handler_of(self, resource: str, action: str) -> Handler | None:
        """Returns the most specific handler; None if there is no handler."""
        return next(
            (
                self._handlers[key]
                for key in handler_keys(resource, action)
                if key in self._handlers
            ),
            None,
        )


def _parameters(function: Function, what: str) -> list[str]:
    """Returns the arguments that the function takes.

    Raises SettingError for a required parameter that is not one of PARAMETERS.
    """
    names = []
    for parameter in inspect.signature(function).parameters.values():
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        by_name = parameter.kind is not parameter.POSITIONAL_ONLY
        if by_name and parameter.name in PARAMETERS:
            names.append(parameter.name)
        elif parameter.default is parameter.empty:
            raise SettingError(
                f"auth.path: the function under @auth.authenticate in {what} has the parameter {parameter.name!r}. "
                f"It can take, by name: {', '.join(PARAMETERS)}."
            )
    return names
