"""Reads scripts and calls them: with named arguments, by hash, and with the source only if Redis lacks the script.

The header of a .lua file declares the keys and arguments of the script, one name a line:

    KEY  run   a key                   ARG  fence   an argument
    KEYS sets  any number of keys      ARGS items   any number of arguments

Each name is a Lua local in the body: a string, or a list for KEYS and ARGS. A line `-- with part` inserts
parts/part.lua, once, with its declarations. A name that several files declare is declared once.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, Literal

from redis.exceptions import NoScriptError

from millstream.shared.redis import Client

Scalar = str | bytes | int | float
SUBJECTS: Final[dict[str, str]] = {}  # SHA-1 of each script → its folder, such as `runs`
Argument = Any  # a `Scalar` for KEY and ARG, a sequence of them for KEYS and ARGS
Command = Literal["EVALSHA", "EVAL"]

PART: Final = re.compile(r"^-- with (\w+)$", re.MULTILINE)
HEADER: Final = re.compile(r"--\[\[.*?\]\]", re.DOTALL)
DECLARED: Final = re.compile(r"^  (KEYS?|ARGS?) +([a-z_]+)", re.MULTILINE)
# `unpack` is quicker, but fails for long lists.
LIST_CODE: Final = (
    "if {last} - {first} < 250 then {name} = {{unpack({table}, {first}, {last})}} "
    "else {name} = {{}} local before = {first} - 1 "
    "for i = 1, {last} - before do {name}[i] = {table}[before + i] end end"
)


class Script:
    """A .lua file below this folder, such as `runs/claim`, with the parts that it inserts.

    Attributes:
        names: declared name → KEY, KEYS, ARG or ARGS.

    Raises:
        ValueError: a name is declared as two kinds.
    """

    def __init__(self, name: str) -> None:
        """Reads `name`.lua and its parts."""
        self.name: Final = name
        text = _with_parts(name, set())
        self.names: Final = _declared(name, text)
        self._of: Final = {
            kind: [declared for declared, its_kind in self.names.items() if its_kind == kind]
            for kind in ("KEY", "KEYS", "ARG", "ARGS")
        }
        self._counted: Final = [*self._of["KEYS"][:-1], *self._of["ARGS"][:-1]]
        self.source: Final = self._locals() + text
        self.sha: Final = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()
        SUBJECTS[self.sha] = name.partition("/")[0]

    async def __call__(self, redis: Client, /, **arguments: Argument) -> Any:
        """Runs the script atomically; returns its reply with strings as bytes.

        Args:
            redis: the client.
            arguments: one for each of `names`.

        Raises:
            TypeError: an argument is missing, is not declared, or is no list where a list is declared.
        """
        [reply] = await self.many(redis, [arguments])
        return reply

    async def many(self, redis: Client, calls: Sequence[Mapping[str, Argument]]) -> list[Any]:
        """Runs the script once for each call, in one round trip; returns the replies in order.

        Each call is atomic, but not all calls together. If Redis lacks the script, all calls are sent again with
        the source, so scripts must tolerate a repeat. It does not load the source and send the hash again, because
        a failover between the two could lose the script again.

        Raises:
            TypeError: as `__call__` does; nothing was sent.
        """
        packed = [self.pack(arguments) for arguments in calls]
        try:
            return await self._send(redis, "EVALSHA", packed)
        except NoScriptError:
            return await self._send(redis, "EVAL", packed)

    def pack(self, arguments: Mapping[str, Argument]) -> list[Scalar]:
        """Returns the arguments of EVALSHA after the hash: the number of keys, the keys, the arguments.

        Scalars precede lists. The lengths of all lists but the last list of keys and of arguments follow the scalar
        arguments.

        Raises:
            TypeError: as `__call__` does.
        """
        if arguments.keys() != self.names.keys():
            missing = sorted(self.names.keys() - arguments.keys())
            unknown = sorted(arguments.keys() - self.names.keys())
            raise TypeError(f"{self.name}.lua: missing {missing}, unknown {unknown}")
        keys = [arguments[name] for name in self._of["KEY"]]
        for name in self._of["KEYS"]:
            keys += self._list(name, arguments[name])
        args = [arguments[name] for name in self._of["ARG"]]
        args += [len(arguments[name]) for name in self._counted]
        for name in self._of["ARGS"]:
            args += self._list(name, arguments[name])
        return [len(keys), *keys, *args]

    def _list(self, name: str, value: Argument) -> Sequence[Scalar]:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise TypeError(f"{self.name}.lua takes a list as {name}, not {type(value).__name__}")
        return value

    async def _send(self, redis: Client, command: Command, calls: list[list[Scalar]]) -> list[Any]:
        script = self.sha if command == "EVALSHA" else self.source
        if len(calls) == 1:
            return [await redis.execute_command(command, script, *calls[0])]  # type: ignore[no-untyped-call]
        pipe = redis.pipeline(transaction=False)
        for arguments in calls:
            pipe.execute_command(command, script, *arguments)
        return await pipe.execute()

    def _locals(self) -> str:
        """Returns Lua that declares a local for each name, on one line: errors have the file's line numbers."""
        count = {
            name: f"ARGV[{number}]"
            for number, name in enumerate(self._counted, len(self._of["ARG"]) + 1)
        }
        lines, lists = [], []
        for kind, table, before in (("KEY", "KEYS", 0), ("ARG", "ARGV", len(count))):
            single = self._of[kind]
            if single:
                lines.append(f"local {', '.join(single)} = unpack({table}, 1, {len(single)})")
            first = str(len(single) + before + 1)
            for name in self._of[f"{kind}S"]:
                last = f"{first} + {count[name]} - 1" if name in count else f"#{table}"
                lists.append(LIST_CODE.format(name=name, table=table, first=first, last=last))
                first = f"({first} + {count.get(name)})"
        if lists:
            lines.append(f"local {', '.join([*self._of['KEYS'], *self._of['ARGS']])}")
        return " ".join([*lines, *lists, ""])

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


def pairs(fields: Mapping[Any, Any]) -> list[Any]:
    """Returns `[field, value, …]`, the form in which scripts take a mapping."""
    return [part for item in fields.items() for part in item]


def _with_parts(name: str, seen: set[str]) -> str:
    """Returns the text of a file, with each part in place of the first line that inserts it."""

    def insert(line: re.Match[str]) -> str:
        part = f"parts/{line[1]}"
        if part in seen:
            return ""
        seen.add(part)
        return _with_parts(part, seen)

    return PART.sub(insert, files(__package__).joinpath(f"{name}.lua").read_text("utf-8"))


def _declared(name: str, text: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for header in HEADER.findall(text):
        for kind, declared in DECLARED.findall(header):
            if names.setdefault(declared, kind) != kind:
                raise ValueError(
                    f"{name}.lua declares {declared} as {kind} and as {names[declared]}"
                )
    return names
