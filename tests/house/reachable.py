"""What a process can reach by its imports: its modules, the scripts that they call, and the Redis commands of both."""

import ast
import re
from functools import cache
from pathlib import Path
from typing import Final

from redis import Redis

from house.tree import ROOT

ROOTS: Final = {
    "millstream.api": ROOT / "api/millstream/api",
    "millstream.worker": ROOT / "worker/millstream/worker",
    "millstream.cli": ROOT / "shared/millstream/cli",
    "millstream.shared": ROOT / "shared/millstream/shared",
}
SCRIPTS: Final = ROOTS["millstream.shared"] / "scripts"
SCRIPT_FILES: Final = {
    file.stem: file for file in SCRIPTS.rglob("*.lua") if file.parent.name != "parts"
}
# Methods of redis-py's client for commands on one of Redis' data types, without those that are named like methods of
# other things.
OF_TYPES: Final = {
    name.upper() for name in dir(Redis) if re.fullmatch(r"[hlsxz][a-z]+", name)
} - {"HELLO", "LOCK", "SAVE", "SENTINEL", "SHUTDOWN", "SORT", "SYNC"} | {
    "DECR", "DECRBY", "EXPIREAT", "GETDEL", "GETEX", "GETRANGE", "GETSET", "INCR", "INCRBY", "MGET", "MSET", "MSETNX",
    "PEXPIREAT", "RENAME", "SETEX", "SETNX", "SETRANGE", "STRLEN",
}  # fmt: skip


def modules_of(start: str) -> set[str]:
    """Returns the modules that a module imports, itself and through others, but those of scripts: all are imported."""
    reached: set[str] = set()
    waiting = [start]
    while waiting:
        module = waiting.pop()
        file = _file_of(module)
        if module in reached or file is None or module.startswith("millstream.shared.scripts"):
            continue
        reached.add(module)
        waiting += [module.rpartition(".")[0], *_imports(file)]
    return reached


def commands_of(start: str, known: set[str]) -> set[str]:
    """Returns the commands that the module's process may send, by itself or in a script.

    A method counts as a command by its name, if it is `known` or named like those on one of Redis' data types. So
    `dict.get` counts as GET.
    """
    scripts: set[str] = set()
    commands: set[str] = set()
    for module in modules_of(start) - {"millstream.shared.permissions"}:  # which tries all commands
        file = _file_of(module)
        assert file is not None
        names = {node.attr for node in ast.walk(_tree(file)) if isinstance(node, ast.Attribute)}
        names |= {node.name for node in ast.walk(_tree(file)) if isinstance(node, ast.alias)}
        scripts |= names & SCRIPT_FILES.keys()
        commands |= {name.upper() for name in names}
    for script in scripts:
        commands |= commands_in(SCRIPT_FILES[script])
    return commands & (known | OF_TYPES)


@cache
def commands_in(script: Path) -> frozenset[str]:
    """Returns the commands that a script calls, with those of its parts."""
    text = script.read_text()
    commands = {
        name
        for first in re.findall(r"redis\.p?call\(([^,)]*)", text)
        for name in re.findall(r"'([A-Z.]+)'", first)
    }
    for part in re.findall(r"^-- with (\w+)$", text, re.MULTILINE):
        commands |= commands_in(SCRIPTS / "parts" / f"{part}.lua")
    return frozenset(commands)


@cache
def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _file_of(module: str) -> Path | None:
    for root, folder in ROOTS.items():
        if module == root or module.startswith(f"{root}."):
            path = folder.joinpath(*module.removeprefix(root).split(".")[1:])
            files = [path.with_suffix(".py"), path / "__init__.py"]
            return next((file for file in files if file.is_file()), None)
    return None


def _imports(file: Path) -> set[str]:
    imported: set[str] = set()
    for node in ast.walk(_tree(file)):
        if isinstance(node, ast.Import):
            imported |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            imported |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
    return imported
