"""The messages between a process and its authentication process, which executes the project's handlers.

Each message is msgpack, on the socket pair of shared/child_process.py. Users and values are JSON, as in Redis.
"""

from typing import Any, Final

import msgspec


class Authenticate(msgspec.Struct, tag=True, frozen=True):
    """To the child: call the function under `@auth.authenticate`."""

    id: int
    arguments: dict[str, Any]  # by name; without `request`
    scope: dict[str, Any] | None = None  # ASGI, if the function takes `request`
    request_id: str = ""  # of the client's request, for the log


class Authorize(msgspec.Struct, tag=True, frozen=True):
    """To the child: call the handler of this resource and action."""

    id: int
    user: bytes
    resource: str
    action: str
    value: bytes
    request_id: str = ""


class Body(msgspec.Struct, tag=True, frozen=True):
    """To the child: the body of the request, in response to BodyRequest."""

    id: int
    data: bytes


class Cancel(msgspec.Struct, tag=True, frozen=True):
    """To the child: nothing waits for this answer any longer."""

    id: int


class Ping(msgspec.Struct, tag=True, frozen=True):
    """To the child: respond with Pong, which proves that the event loop is not blocked."""


class Ready(msgspec.Struct, tag=True, frozen=True):
    """From the child: the project is loaded. The first message, unless it is Failed."""

    parameters: list[str]  # which the function under `@auth.authenticate` takes
    handlers: list[tuple[str, str]]  # (resource, action); `*` is any


class Failed(msgspec.Struct, tag=True, frozen=True):
    """From the child: the project can't be loaded; the text says why. The child ends."""

    text: str


class BodyRequest(msgspec.Struct, tag=True, frozen=True):
    """From the child: the function reads the body of the request."""

    id: int


class Authenticated(msgspec.Struct, tag=True, frozen=True):
    """From the child: the fields of the user."""

    id: int
    user: bytes


class Allowed(msgspec.Struct, tag=True, frozen=True):
    """From the child: the handler allows the action."""

    id: int
    filter: bytes | None = None  # JSON of the filter; None: all
    value: bytes | None = None  # None: the handler has not changed it


class Denied(msgspec.Struct, tag=True, frozen=True):
    """From the child: the function or the handler denies the request.

    A status of 0 is a refusal without a text of the project: False, or an exception other than HTTPException.
    """

    id: int
    status: int = 0
    detail: str = ""
    headers: dict[str, str] = {}


class Pong(msgspec.Struct, tag=True, frozen=True):
    """From the child: the response to Ping."""


ToChild = Authenticate | Authorize | Body | Cancel | Ping
Answer = Authenticated | Allowed | Denied
FromChild = Ready | Failed | BodyRequest | Authenticated | Allowed | Denied | Pong

encode: Final = msgspec.msgpack.Encoder().encode
_to_child: Final = msgspec.msgpack.Decoder(ToChild).decode
_from_child: Final = msgspec.msgpack.Decoder(FromChild).decode


def decode_in_child(data: bytes) -> ToChild:
    """Returns the message that the child received."""
    message: ToChild = _to_child(data)
    return message


def decode_from_child(data: bytes) -> FromChild:
    """Returns the message that the child sent. Raises msgspec.MsgspecError for any other data."""
    message: FromChild = _from_child(data)
    return message
