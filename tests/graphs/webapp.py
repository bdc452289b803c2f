"""The application of a project beside its graphs, in Starlette and in FastAPI."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

seen: list[str] = []


class Stamp:
    """Adds a header to every response, as a project's middleware may."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes the request on."""

        async def stamped(message: Any) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((b"x-stamp", b"theirs"))
            await send(message)

        await self.app(scope, receive, stamped)


@asynccontextmanager
async def lifespan(_: Starlette) -> AsyncIterator[dict[str, Any]]:
    """Records its start; its state reaches the routes."""
    seen.append("began")
    yield {"word": "from the lifespan"}


async def hello(request: Request) -> JSONResponse:
    """Returns the lifespan's state and an environment variable."""
    values = {"seen": seen, "word": request.state.word, "env": os.environ.get("WEBAPP_WORD")}
    return JSONResponse(values)


async def overruled(_: Request) -> PlainTextResponse:
    """Has the path of a route of the API."""
    return PlainTextResponse("mine")


async def broken(_: Request) -> PlainTextResponse:
    """Fails."""
    raise ZeroDivisionError


async def on_error(_: Request, error: Exception) -> PlainTextResponse:
    """Handles an exception."""
    return PlainTextResponse(f"caught {type(error).__name__}", 500)


app = Starlette(
    routes=[Route("/hello", hello), Route("/info", overruled), Route("/broken", broken)],
    middleware=[Middleware(Stamp)],
    exception_handlers={ZeroDivisionError: on_error},
    lifespan=lifespan,
)

fast = FastAPI()


class Sum(BaseModel):
    """Two numbers."""

    one: int
    two: int


@fast.post("/sum")
async def add(numbers: Sum) -> int:
    """Adds two numbers."""
    return numbers.one + numbers.two


nothing = 7
