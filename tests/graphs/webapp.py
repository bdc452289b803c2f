"""A project's own application beside its graphs, once as Starlette and once as FastAPI."""

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
    """Puts a header on every answer, as a project's middleware may."""

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
    """Notes that it began; its state reaches the routes."""
    seen.append("began")
    yield {"word": "from the lifespan"}


async def hello(request: Request) -> JSONResponse:
    """Say what it knows."""
    known = {"seen": seen, "word": request.state.word, "env": os.environ.get("WEBAPP_WORD")}
    return JSONResponse(known)


async def overruled(_: Request) -> PlainTextResponse:
    """Take the place of a route of the API."""
    return PlainTextResponse("mine")


async def broken(_: Request) -> PlainTextResponse:
    """Fail."""
    raise ZeroDivisionError


async def told(_: Request, error: Exception) -> PlainTextResponse:
    """Answer to a failure."""
    return PlainTextResponse(f"caught {type(error).__name__}", 500)


app = Starlette(
    routes=[Route("/hello", hello), Route("/info", overruled), Route("/broken", broken)],
    middleware=[Middleware(Stamp)],
    exception_handlers={ZeroDivisionError: told},
    lifespan=lifespan,
)

fast = FastAPI()


class Sum(BaseModel):
    """Two numbers."""

    one: int
    two: int


@fast.post("/sum")
async def add(numbers: Sum) -> int:
    """Add two numbers."""
    return numbers.one + numbers.two


nothing = 7
