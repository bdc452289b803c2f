"""Describes one route: what it takes, what it returns, and the function that responds."""

import inspect
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, Literal

from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from millstream.shared.access import Ask

Handler = Callable[[Request], Awaitable[Response]]
# OPEN: everybody. AUTHENTICATED: each user, whatever its rights. BY_METHOD: the method in the body decides.
Asks = Ask | tuple[Ask, ...] | Literal["open", "authenticated", "by method"]
OPEN: Final = "open"
AUTHENTICATED: Final = "authenticated"
BY_METHOD: Final = "by method"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route. Its handler's docstring describes it.

    Attributes:
        asks: the questions about the caller's rights that each request leads to (access/asks.py), or one of `Asks`.
        body: the model of its JSON body.
        query: the model of its query parameters.
        answer: the type of its JSON response.
        status: the status of its response.
        streams: whether its response is an event stream; with an `answer`, the request decides which one it gets.
        starts_run: whether each request starts one run, so that it takes quota for it before it is read.
        text: the media type of a response in plain text that a request can have in place of the answer.
    """

    method: str
    path: str
    handler: Handler
    asks: Asks
    body: type[BaseModel] | None = None
    query: type[BaseModel] | None = None
    answer: Any = None
    status: int = 200
    streams: bool = False
    starts_run: bool = False
    text: str = ""

    @property
    def questions(self) -> frozenset[Ask]:
        """The questions of `asks`; none where the caller, or the method in the body, decides."""
        if self.asks in (OPEN, AUTHENTICATED, BY_METHOD):
            return frozenset()
        return frozenset([self.asks] if isinstance(self.asks, str) else self.asks)  # type: ignore[list-item]

    @property
    def summary(self) -> str:
        """The first line of the handler's docstring, without the route."""
        line = self._docstring.splitlines()[0]
        return re.sub(r"^`[^`]*`:? ?", "", line) or f"{self.method} {self.path}"

    @property
    def description(self) -> str:
        """The rest of the docstring: its paragraphs, each on one line."""
        _, _, rest = self._docstring.partition("\n\n")
        return "\n\n".join(" ".join(paragraph.split()) for paragraph in rest.split("\n\n"))

    @property
    def tag(self) -> str:
        """The resource that the route belongs to."""
        return self.handler.__module__.split(".")[2].removesuffix("_routes")

    @property
    def _docstring(self) -> str:
        return inspect.getdoc(self.handler) or ""
