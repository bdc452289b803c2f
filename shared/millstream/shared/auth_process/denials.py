"""What the project's code raises → a denial for the client, and a line for the log."""

import json
import logging
import sys
import time
from collections.abc import Mapping
from http.client import responses
from typing import Final

from langgraph_sdk import Auth

from millstream.shared.auth_process.messages import Denied

log = logging.getLogger(__name__)

MAX_DETAIL_CHARS: Final = 4096
REPEAT_SECONDS: Final = 60.0  # in which the traceback of one exception is logged once
MAX_EXCEPTIONS: Final = 256  # of which the time of the last traceback is known
# Headers that describe the body or the connection: the server sets them.
OF_SERVER: Final = frozenset({
    "connection", "content-encoding", "content-length", "content-type", "keep-alive", "trailer", "transfer-encoding",
    "upgrade",
})  # fmt: skip
_logged: Final[dict[tuple[str, str, int], float]] = {}  # monotonic time, by class, file and line


def denial_of(error: BaseException, id: int, what: str) -> Denied:
    """Returns the denial for an exception of the function that `what` names, and logs one that is not deliberate.

    HTTPException of langgraph_sdk, Starlette and FastAPI passes with its status, detail and headers. A failed
    `assert` denies too, as with LangGraph's server. The text of any other exception is in the log alone.
    """
    if isinstance(error, _http_exceptions()):
        status = getattr(error, "status_code", None)
        if isinstance(status, int) and 400 <= status <= 599:
            headers = getattr(error, "headers", None)
            return Denied(id, int(status), _detail(error, status), _headers(headers, what))
        log.error("%s raised an HTTPException with the status %r, which denies", what, status)
    elif isinstance(error, AssertionError):
        log.info("%s denies the request: a failed assert", what)
    else:
        _log_exception(error, what)
    return Denied(id)


def _http_exceptions() -> tuple[type[BaseException], ...]:
    """Returns the classes; Starlette's only if the project has imported it (FastAPI's is a subclass)."""
    starlette = sys.modules.get("starlette.exceptions")
    others = () if starlette is None else (starlette.HTTPException,)
    return (Auth.exceptions.HTTPException, *others)


def _detail(error: BaseException, status: int) -> str:
    detail = getattr(error, "detail", None)
    if not detail:
        detail = responses.get(status, "Refused")
    # FastAPI's may be any JSON.
    text = detail if isinstance(detail, str) else json.dumps(detail, default=str)
    return text.encode("utf-8", "replace").decode()[:MAX_DETAIL_CHARS]


def _headers(headers: object, what: str) -> dict[str, str]:
    """Returns the headers that a response may have; logs those that would break it."""
    valid: dict[str, str] = {}
    for name, value in (headers if isinstance(headers, Mapping) else {}).items():
        text = str(value)
        if isinstance(name, str) and _is_allowed(name) and text.isascii() and text.isprintable():
            valid[name] = text
        else:
            log.error("%s raised an HTTPException with the invalid header %r", what, name)
    return valid


def _is_allowed(name: str) -> bool:
    is_token = name.isascii() and name.replace("-", "").replace("_", "").isalnum()
    return is_token and name.lower() not in OF_SERVER


def _log_exception(error: BaseException, what: str) -> None:
    """Logs the traceback, but that of the same line once in REPEAT_SECONDS: clients cause these exceptions."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    file, line = ("", 0) if trace is None else (trace.tb_frame.f_code.co_filename, trace.tb_lineno)
    key, now = (type(error).__name__, file, line), time.monotonic()
    if now - _logged.get(key, -REPEAT_SECONDS) < REPEAT_SECONDS:
        log.warning("%s raised %s again (%s, line %d)", what, type(error).__name__, file, line)
        return
    if len(_logged) >= MAX_EXCEPTIONS:
        _logged.clear()
    _logged[key] = now
    log.error("%s raised an exception, which denies the request", what, exc_info=error)
