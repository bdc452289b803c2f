"""A Python that runs snippets, one after the other: one interpreter for all, because imports take most of the time.

Standard input has one snippet a line, as JSON: its name and its code, which may use `await` at the top level. The
response is a line of JSON: what it printed, and the traceback of its error.
"""

import ast
import asyncio
import contextlib
import inspect
import io
import json
import sys
import traceback
from typing import Any


async def awaited(result: Any) -> None:
    """Awaits the module's coroutine."""
    await result


def run(name: str, code: str) -> dict[str, str]:
    """Runs one snippet in names of its own."""
    printed, error = io.StringIO(), ""
    names: dict[str, Any] = {"__name__": "snippet"}
    with contextlib.redirect_stdout(printed):
        try:
            compiled = compile(code, name, "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
            result = eval(compiled, names)
            if inspect.isawaitable(result):
                asyncio.run(awaited(result))
        except BaseException:  # noqa: BLE001 - the test shows it, and the process runs the next
            error = traceback.format_exc()
    return {"printed": printed.getvalue(), "error": error}


def main() -> None:
    """Runs until the input ends."""
    for line in sys.stdin:
        sys.stdout.write(json.dumps(run(**json.loads(line))) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
