"""Executes the project's handlers in the authentication process: any number of questions at a time."""

import asyncio
import concurrent.futures
import contextvars
import inspect
import logging
import os
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from millstream.shared import logs
from millstream.shared.auth_process.denials import denial_of
from millstream.shared.auth_process.messages import (
    Allowed,
    Answer,
    Authenticate,
    Authenticated,
    Authorize,
    Body,
    BodyRequest,
    Cancel,
    Denied,
    FromChild,
    Ping,
    Pong,
    ToChild,
)
from millstream.shared.auth_process.project_auth import Function, ProjectAuth
from millstream.shared.auth_process.users import InvalidUserError, fields_of, user_of
from millstream.shared.auth_process.values import json_of, value_of

log = logging.getLogger(__name__)

THREADS: Final = 32  # of functions that are not async
AUTHENTICATE: Final = "the function under @auth.authenticate"
STUCK_STATUS: Final = 70  # of a process all of whose threads hang; the parent starts another


class Answering:
    """Answers the messages of the parent."""

    def __init__(self, auth: ProjectAuth, send: Callable[[FromChild], None]) -> None:
        """`send` sends a message to the parent."""
        self._auth = auth
        self._send = send
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._bodies: dict[int, asyncio.Future[bytes]] = {}
        self._threads = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="auth")
        self._abandoned: set[concurrent.futures.Future[Any]] = set()

    def receive(self, message: ToChild) -> None:
        """Starts the answer to a message."""
        match message:
            case Authenticate() | Authorize():
                task = asyncio.get_running_loop().create_task(self._answer(message))
                self._tasks[message.id] = task
                # Not in the task: one that is cancelled before it begins runs no `finally`.
                task.add_done_callback(partial(self._forget, message.id))
            case Body(id, data):
                body = self._bodies.get(id)
                if body is not None and not body.done():
                    body.set_result(data)
            case Cancel(id):
                if (canceled := self._tasks.get(id)) is not None:
                    canceled.cancel()
            case Ping():
                self._send(Pong())

    async def _answer(self, question: Authenticate | Authorize) -> None:
        logs.begin(request_id=question.request_id)
        if isinstance(question, Authenticate):
            self._send(await self._authenticate(question))
        else:
            self._send(await self._authorize(question))

    def _forget(self, id: int, task: "asyncio.Task[None]") -> None:
        self._tasks.pop(id, None)
        self._bodies.pop(id, None)
        if not task.cancelled() and task.exception() is not None:
            log.error("a question could not be answered", exc_info=task.exception())
            self._send(Denied(id))

    async def _authenticate(self, question: Authenticate) -> Answer:
        try:
            result = await self._call(self._auth.authenticate, self._arguments(question))
            fields = fields_of(result)
            if not fields["is_authenticated"]:
                return Denied(question.id)
            return Authenticated(question.id, json_of(fields))
        except InvalidUserError as error:
            log.error("%s: %s", AUTHENTICATE, error)
            return Denied(question.id)
        except BaseException as error:
            _raise_if_cancelled(error)
            return denial_of(error, question.id, AUTHENTICATE)

    def _arguments(self, question: Authenticate) -> dict[str, Any]:
        arguments = question.arguments
        if "headers" in arguments:
            arguments["headers"] = dict(arguments["headers"])
        if self._auth.request_class is not None and question.scope is not None:
            arguments["request"] = self._request(question.id, question.scope)
        return arguments

    def _request(self, id: int, scope: dict[str, Any]) -> Any:
        """Returns the request, whose body is fetched from the parent when the function reads it."""
        scope["headers"] = [(name, value) for name, value in scope["headers"]]

        async def receive() -> dict[str, Any]:
            body: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
            if id in self._bodies:  # the body is read: only the client's end could follow
                return {"type": await body}
            self._bodies[id] = body
            self._send(BodyRequest(id))
            return {"type": "http.request", "body": await body, "more_body": False}

        assert self._auth.request_class is not None
        return self._auth.request_class(scope, receive)

    async def _authorize(self, question: Authorize) -> Answer:
        resource, action = question.resource, question.action
        handler = self._auth.handler_of(resource, action)
        if handler is None:
            return Allowed(question.id)
        what = f"the handler of {resource}.{action}"
        try:
            user = user_of(question.user)
            context = self._auth.context(user, resource, action)
            value = value_of(question.value, resource)
            result = await handler(ctx=context, value=value)
            if result is False:
                return Denied(question.id)
            restriction = None
            if isinstance(result, Mapping):
                restriction = json_of(result) if result else None
            elif result is not None and result is not True:
                log.error(
                    "%s returned %s: a handler returns None, True, False or a filter, which is a dict. "
                    "The request is denied",
                    what,
                    type(result).__name__,
                )
                return Denied(question.id)
            left = json_of(value)
            return Allowed(question.id, restriction, None if left == question.value else left)
        except BaseException as error:
            _raise_if_cancelled(error)
            return denial_of(error, question.id, what)

    async def _call(self, function: Function, arguments: dict[str, Any]) -> Any:
        """Returns the function's result. Calls one that is not async in a thread."""
        if _is_async(function):
            return await function(**arguments)
        context = contextvars.copy_context()
        future = self._threads.submit(context.run, _call_in_thread, function, arguments)
        try:
            result = await asyncio.wrap_future(future)
        except asyncio.CancelledError:
            self._abandon(future)
            raise
        return await result if inspect.isawaitable(result) else result

    def _abandon(self, future: concurrent.futures.Future[Any]) -> None:
        """Notes a call that continues in its thread. Ends the process if no thread is left."""
        self._abandoned = {each for each in self._abandoned if not each.done()}
        if not future.done():
            self._abandoned.add(future)
        if len(self._abandoned) >= THREADS:
            log.critical("%s does not return in any of %d threads", AUTHENTICATE, THREADS)
            os._exit(STUCK_STATUS)


def _call_in_thread(function: Function, arguments: dict[str, Any]) -> Any:
    try:
        return function(**arguments)
    except StopIteration as error:  # a future can't have it, and would never be done
        raise RuntimeError("StopIteration") from error


def _is_async(function: Function) -> bool:
    call = getattr(function, "__call__", None)  # noqa: B004 - of an object
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call)


def _raise_if_cancelled(error: BaseException) -> None:
    """Raises the error if the parent cancelled the question. Code of the project may raise CancelledError itself."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error
