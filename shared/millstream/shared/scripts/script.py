"""How a script is read and called: with names, by its hash, with the source only where Redis lacks it.

The header of a .lua file declares what the script takes, one name a line:

    KEY  run   a key                   ARG  fence   an argument
    KEYS sets  keys, any number        ARGS words   arguments, any number

Each name is a Lua local in the body: a string, or a list for KEYS and ARGS. A line `-- with part` brings in
parts/part.lua, once, and with it what that part declares; a name that several files declare is one and the same.
"""

import hashlib
import re
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any, Final, Literal

from redis.exceptions import NoScriptError

from millstream.shared.redis import Client

Word = str | bytes | int | float
Given = (
    Any  # what is given for a name: a `Word` for KEY and ARG, a sequence of them for KEYS and ARGS
)
Command = Literal["EVALSHA", "EVAL"]

PART: Final = re.compile(r"^-- with (\w+)$", re.MULTILINE)
HEADER: Final = re.compile(r"--\[\[.*?\]\]", re.DOTALL)
DECLARED: Final = re.compile(r"^  (KEYS?|ARGS?) +([a-z_]+)", re.MULTILINE)
# A list of few words is made by `unpack`, which is quicker, but of many it is an error.
LISTED: Final = (
    "if {last} - {first} < 250 then {name} = {{unpack({table}, {first}, {last})}} "
    "else {name} = {{}} local before = {first} - 1 "
    "for i = 1, {last} - before do {name}[i] = {table}[before + i] end end"
)


class Script:
    """One .lua file below this folder, such as `runs/claim`, with the parts that it names.

    `names` are what a call gives: name → KEY, KEYS, ARG or ARGS.

    Raises:
        ValueError: a name is declared as two kinds.
    """

    def __init__(self, name: str) -> None:
        """Reads `name`.lua and its parts."""
        self.name: Final = name
        text = _with_parts(name, set())
        self.names: Final = _declared(name, text)
        self._of: Final = {
            kind: [word for word, is_a in self.names.items() if is_a == kind]
            for kind in ("KEY", "KEYS", "ARG", "ARGS")
        }
        self._counted: Final = [*self._of["KEYS"][:-1], *self._of["ARGS"][:-1]]
        self.source: Final = self._locals() + text
        self.sha: Final = hashlib.sha1(self.source.encode(), usedforsecurity=False).hexdigest()

    async def __call__(self, redis: Client, /, **given: Given) -> Any:
        """Runs the script atomically; returns its reply with strings as bytes.

        Args:
            redis: the client.
            given: a value for each of `names`.

        Raises:
            TypeError: a name lacks, is not declared, or has one word where a list is declared.
        """
        [reply] = await self.many(redis, [given])
        return reply

    async def many(self, redis: Client, calls: Sequence[Mapping[str, Given]]) -> list[Any]:
        """Runs the script for each of the calls in one round trip; returns their replies in order.

        Each call is atomic, not all of them together. If Redis has lost the script, all calls are sent
        again with its source: a script must allow for a repeat. Loading the source and sending the hash
        again would not do: a failover may lie between the two.

        Raises:
            TypeError: as `__call__` does; nothing was sent.
        """
        words = [self.words(given) for given in calls]
        try:
            return await self._send(redis, "EVALSHA", words)
        except NoScriptError:
            return await self._send(redis, "EVAL", words)

    def words(self, given: Mapping[str, Given]) -> list[Word]:
        """Returns what follows the hash in a call: how many keys, the keys, the arguments.

        Single ones come before lists. Of the lists of keys, and of those of arguments, the last reaches
        to the end; the lengths of the others are arguments behind the single ones.

        Raises:
            TypeError: as `__call__` does.
        """
        if given.keys() != self.names.keys():
            lacking, unknown = self.names.keys() - given.keys(), given.keys() - self.names.keys()
            raise TypeError(
                f"{self.name}.lua: lacking {sorted(lacking)}, unknown {sorted(unknown)}"
            )
        keys = [given[name] for name in self._of["KEY"]]
        for name in self._of["KEYS"]:
            keys += self._list(name, given[name])
        args = [given[name] for name in self._of["ARG"]]
        args += [len(given[name]) for name in self._counted]
        for name in self._of["ARGS"]:
            args += self._list(name, given[name])
        return [len(keys), *keys, *args]

    def _list(self, name: str, value: Given) -> Sequence[Word]:
        if isinstance(value, str | bytes) or not isinstance(value, Sequence):
            raise TypeError(f"{self.name}.lua takes a list as {name}, not {type(value).__name__}")
        return value

    async def _send(self, redis: Client, command: Command, calls: list[list[Word]]) -> list[Any]:
        script = self._named(command)
        if len(calls) == 1:
            return [await redis.execute_command(command, script, *calls[0])]  # type: ignore[no-untyped-call]
        pipe = redis.pipeline(transaction=False)
        for words in calls:
            pipe.execute_command(command, script, *words)
        return await pipe.execute()

    def _named(self, command: Command) -> str:
        return self.sha if command == "EVALSHA" else self.source

    def _locals(self) -> str:
        """Returns Lua that makes a local of each name: on one line, so that errors name the file's lines."""
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
                lists.append(LISTED.format(name=name, table=table, first=first, last=last))
                first = f"({first} + {count.get(name)})"
        if lists:
            lines.append(f"local {', '.join([*self._of['KEYS'], *self._of['ARGS']])}")
        return " ".join([*lines, *lists, ""])

    def __repr__(self) -> str:
        return f"<Script {self.name}>"


def pairs(fields: Mapping[Any, Any]) -> list[Any]:
    """Returns `[field, value, …]`, as scripts take a mapping."""
    return [word for item in fields.items() for word in item]


def _with_parts(name: str, seen: set[str]) -> str:
    """Returns the text of a file, with each new part in place of the line that names it."""

    def bring(line: re.Match[str]) -> str:
        part = f"parts/{line[1]}"
        if part in seen:
            return ""
        seen.add(part)
        return _with_parts(part, seen)

    return PART.sub(bring, files(__package__).joinpath(f"{name}.lua").read_text("utf-8"))


def _declared(name: str, text: str) -> dict[str, str]:
    names: dict[str, str] = {}
    for header in HEADER.findall(text):
        for kind, word in DECLARED.findall(header):
            if names.setdefault(word, kind) != kind:
                raise ValueError(f"{name}.lua declares {word} as {kind} and as {names[word]}")
    return names
