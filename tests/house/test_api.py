"""The API's layers: a request stays in the routes, and Redis in the use cases."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from house.tree import ROOT, tracked

API: Final = ROOT / "api" / "millstream" / "api"
STATE: Final = re.compile(
    r"(^|\W|_)(app|api|own|outer|request|connection|websocket)\.state$"
)  # Starlette's
ROUTES: Final = re.compile(r"(.+_)?routes\.py|websocket\.py")
USE_CASES: Final = re.compile(
    r"(.+_)?operations\.py|admission\.py|permits\.py|worker_calls\.py|health\.py"
)
FLOOR: Final = {"process.py", "context.py"}  # what use cases stand on


def modules() -> Iterator[tuple[Path, ast.Module]]:
    for path in tracked("api/*.py"):
        yield path.relative_to(API), ast.parse(path.read_text())


def imports(tree: ast.Module) -> set[str]:
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return imported


def attributes(tree: ast.Module) -> set[str]:
    return {ast.unparse(node) for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_no_module_below_the_routes_knows_a_request() -> None:
    requests = {"starlette.requests", "starlette.websockets"}
    below = {
        str(path)
        for path, tree in modules()
        if requests & imports(tree)
        and path.parts[0] not in ("http", "auth")
        and not ROUTES.fullmatch(path.name)
    }
    assert not below


def test_starlettes_state_is_used_in_two_modules() -> None:
    using = {str(path) for path, tree in modules() if any(map(STATE.search, attributes(tree)))}
    assert using == {"http/context.py", "http/docs_page.py"}


def test_use_cases_alone_reach_redis_and_its_streams() -> None:
    reaching = {
        str(path)
        for path, tree in modules()
        if any(re.search(r"\w\.(redis|blocking|hub)$", a) for a in attributes(tree))
        and not USE_CASES.fullmatch(path.name)
    }
    assert reaching == FLOOR


def test_routes_are_named_as_such() -> None:
    table = imports(ast.parse((API / "routes.py").read_text()))
    handlers = {name for name in table if name.rpartition(".")[2].endswith("routes")}
    route_modules = {
        "millstream.api." + str(path.with_suffix("")).replace("/", ".")
        for path, _ in modules()
        if ROUTES.fullmatch(path.name) and path.name != "websocket.py"
    } - {"millstream.api.routes"}
    assert handlers - {"millstream.api.http.docs_page.routes"} == route_modules
