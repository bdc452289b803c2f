"""The edits of a Lua script: conditions, terms, operators and statements, one at a time.

A parser of Lua 5.1 that keeps no tree: it only has to know where conditions, terms and statements begin and end.
"""

import re
from collections.abc import Iterator
from typing import Final

from mutants.mutant import Edit, brief

TOKEN: Final = re.compile(
    r"""(?P<space>\s+|--\[\[.*?\]\]|--[^\n]*)
      | (?P<name>[A-Za-z_]\w*)
      | (?P<literal>\d[\w.]*|'(?:\\.|[^'\\\n])*'|"(?:\\.|[^"\\\n])*"|\[\[.*?\]\])
      | (?P<operator>\.\.\.|\.\.|==|~=|<=|>=|[-+*/%^\#<>=(){}\[\];:,.])""",
    re.VERBOSE | re.DOTALL,
)
RESERVED: Final = frozenset({
    "and", "break", "do", "else", "elseif", "end", "false", "for", "function", "if", "in", "local",
    "nil", "not", "or", "repeat", "return", "then", "true", "until", "while",
})  # fmt: skip
END: Final = "<end>"
BLOCK_ENDS: Final = frozenset({"end", "else", "elseif", "until", END})
# What each comparison becomes: next to its limit, and the opposite.
LIMITS: Final = {"<": "<=", "<=": "<", ">": ">=", ">=": ">"}
OPPOSITES: Final = {"==": "~=", "~=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}
ARITHMETIC: Final = {"+": "-", "-": "+", "*": "/", "/": "*"}
OTHERS: Final = {"math.max": "math.min", "math.min": "math.max"}
# From loose to tight; a chain of the first two is split into its terms.
LEVELS: Final = (("or",), ("and",), tuple(OPPOSITES), ("..",), ("+", "-"), ("*", "/", "%"))


def edits(text: str) -> list[Edit]:
    """Returns the edits of a script or of a part of one.

    Raises:
        SyntaxError: this parser does not understand the text.
    """
    return _Parser(text).script()


def probed(text: str, probe: str) -> str:
    """Returns a script with a statement before each of its own, in which `{line}` is the line of that.

    Raises:
        SyntaxError: as `edits` does.
    """
    parser = _Parser(text)
    parser.script()
    for start in sorted(parser.statements, reverse=True):
        line = text.count("\n", 0, start) + 1
        text = f"{text[:start]}{probe.format(line=line)} {text[start:]}"
    return text


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = [*_tokens(text), (END, END, len(text), len(text))]
        self._at = 0
        self._edits: list[Edit] = []
        self.statements: list[int] = []  # where each starts
        self._within = [0]  # the same, of those around the place

    def script(self) -> list[Edit]:
        self._block()
        if self._current != END:
            raise self._error("a statement")
        return self._edits

    # Tokens: (kind, text, start, end)

    @property
    def _current(self) -> str:
        kind, text, _, _ = self._tokens[self._at]
        return text if kind != "literal" else "<literal>"

    @property
    def _start(self) -> int:
        return self._tokens[self._at][2]

    @property
    def _end(self) -> int:
        """Where the token before this one ends."""
        return self._tokens[self._at - 1][3]

    def _next(self) -> None:
        self._at += 1

    def _take(self, *texts: str) -> bool:
        if self._current in texts:
            self._next()
            return True
        return False

    def _expect(self, text: str) -> None:
        if not self._take(text):
            raise self._error(repr(text))

    def _error(self, expected: str) -> SyntaxError:
        line = self._text.count("\n", 0, self._start) + 1
        return SyntaxError(f"line {line}: {expected} is expected, not {self._current!r}")

    def _change(self, start: int, end: int, new: str, change: str) -> None:
        self._edits.append(Edit(start, end, new, change, self._within[-1]))

    # Statements

    def _block(self) -> None:
        while self._current not in BLOCK_ENDS:
            self.statements.append(self._start)
            self._within.append(self._start)
            self._statement()
            self._within.pop()
            self._take(";")

    def _statement(self) -> None:
        begins = {
            "local": self._local,
            "function": self._named_function,
            "if": self._if,
            "while": self._while,
            "for": self._for,
            "repeat": self._repeat,
            "do": self._body,
            "return": self._return,
            "break": self._break,
        }
        if statement := begins.get(self._current):
            self._next()
            statement()
        else:
            self._assignment_or_call()

    def _local(self) -> None:
        if self._take("function"):
            self._named_function()
            return
        self._names()
        if self._take("="):
            self._expressions()

    def _named_function(self) -> None:
        while self._current != "(":
            self._next()
        self._function()

    def _if(self) -> None:
        self._condition("if")
        self._expect("then")
        self._block()
        while self._take("elseif"):
            self._condition("elseif")
            self._expect("then")
            self._block()
        if self._take("else"):
            self._block()
        self._expect("end")

    def _while(self) -> None:
        self._condition("while", ("false",))  # `true` would only hang
        self._do()

    def _for(self) -> None:
        self._names()
        self._next()  # `=` or `in`
        self._expressions()
        self._do()

    def _repeat(self) -> None:
        self._block()
        self._expect("until")
        self._condition("until", ("true",))

    def _return(self) -> None:
        if self._current not in BLOCK_ENDS:
            self._expressions()

    def _break(self) -> None:
        self._change(self._tokens[self._at - 1][2], self._end, "", "without `break`")

    def _assignment_or_call(self) -> None:
        start = self._start
        self._suffixed()
        while self._take(","):
            self._suffixed()
        if self._take("="):
            self._expressions()
        done = brief(self._text[start : self._end])
        self._change(start, self._end, "", f"without `{done}`")

    def _body(self) -> None:
        self._block()
        self._expect("end")

    def _do(self) -> None:
        self._expect("do")
        self._body()

    def _function(self) -> None:
        """What follows the name of a function, or the word itself."""
        self._expect("(")
        while not self._take(")"):
            self._next()
        self._body()

    def _names(self) -> None:
        self._next()
        while self._take(","):
            self._next()

    def _condition(self, statement: str, fixed: tuple[str, ...] = ("true", "false")) -> None:
        start, before = self._start, len(self._edits)
        self._expression()
        whole = f"the opposite of `{brief(self._text[start : self._end])}`"
        # Both values of the condition are tried; its opposite would tell nothing more.
        self._edits[before:] = [edit for edit in self._edits[before:] if edit.change != whole]
        for value in fixed:
            self._change(start, self._end, value, f"`{statement}` {value}")

    # Expressions

    def _expressions(self) -> None:
        self._expression()
        while self._take(","):
            self._expression()

    def _expression(self, level: int = 0) -> None:
        if level == len(LEVELS):
            self._unary()
            return
        terms, operators = [self._start], []
        self._expression(level + 1)
        while self._current in LEVELS[level]:
            operators.append((self._current, self._start))
            end = self._end
            self._next()
            if level < 2:
                terms += [end, self._start]
            self._expression(level + 1)
        end = self._end
        if level < 2:
            self._terms([*terms, end])
        for operator, at in operators:
            self._operator(operator, at, terms[0], end)

    def _terms(self, borders: list[int]) -> None:
        """Drops each term of a chain; the borders are where each begins and ends."""
        spans = list(zip(borders[::2], borders[1::2], strict=True))
        if len(spans) == 1:
            return
        for number, (start, end) in enumerate(spans):
            dropped = brief(self._text[start:end])
            if number + 1 < len(spans):
                self._change(start, spans[number + 1][0], "", f"without `{dropped}`")
            else:
                self._change(spans[number - 1][1], end, "", f"without `{dropped}`")

    def _operator(self, operator: str, at: int, start: int, end: int) -> None:
        behind = at + len(operator)
        if limit := LIMITS.get(operator):
            self._change(at, behind, limit, f"`{operator}` becomes `{limit}`")
        if opposite := OPPOSITES.get(operator):
            whole = brief(self._text[start:end])
            self._change(at, behind, opposite, f"the opposite of `{whole}`")
        if other := ARITHMETIC.get(operator):
            self._change(at, behind, other, f"`{operator}` becomes `{other}`")

    def _unary(self) -> None:
        start = self._start
        if self._take("not"):
            operand = self._start
            self._unary()
            whole = brief(self._text[start : self._end])
            self._change(start, operand, "", f"the opposite of `{whole}`")
        elif self._take("-", "#"):
            self._unary()
        else:
            self._simple()
            if self._take("^"):
                self._unary()

    def _simple(self) -> None:
        if self._take("function"):
            self._function()
        elif self._current == "{":
            self._table()
        elif self._current in ("<literal>", "nil", "true", "false", "..."):
            self._next()
            if self._current in (":", "["):
                self._suffixes()
        else:
            self._suffixed()

    def _suffixed(self) -> None:
        start = self._start
        if self._take("("):
            self._expression()
            self._expect(")")
        elif self._current[0].isidentifier() and self._current not in RESERVED:
            self._next()
        else:
            raise self._error("an expression")
        self._suffixes(start)

    def _suffixes(self, start: int = -1) -> None:
        while True:
            if self._take(".", ":"):
                self._next()
                other = OTHERS.get(self._text[start : self._end])
                if other:
                    old = self._text[start : self._end]
                    self._change(start, self._end, other, f"`{old}` becomes `{other}`")
            elif self._take("["):
                self._expression()
                self._expect("]")
            elif self._take("("):
                if not self._take(")"):
                    self._expressions()
                    self._expect(")")
            else:
                return

    def _table(self) -> None:
        self._expect("{")
        while not self._take("}"):
            if self._take("["):
                self._expression()
                self._expect("]")
                self._expect("=")
            elif self._tokens[self._at + 1][1] == "=":
                self._next()
                self._next()
            self._expression()
            self._take(",", ";")


def _tokens(text: str) -> Iterator[tuple[str, str, int, int]]:
    at = 0
    while at < len(text):
        token = TOKEN.match(text, at)
        if token is None:
            line = text.count("\n", 0, at) + 1
            raise SyntaxError(f"line {line}: {text[at : at + 10]!r} is no Lua")
        if token.lastgroup != "space":
            yield str(token.lastgroup), token[0], token.start(), token.end()
        at = token.end()
