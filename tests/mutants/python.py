"""The edits of a Python module: conditions, terms, operators and statements, one at a time."""

import ast
from collections.abc import Iterator
from typing import Final

from mutants.mutant import Edit, brief

LIMITS: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
OPPOSITES: Final[dict[type[ast.cmpop], type[ast.cmpop]]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.LtE: ast.Gt,
    ast.Gt: ast.LtE,
    ast.GtE: ast.Lt,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
ARITHMETIC: Final = {
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Div: ast.Mult,
}
NAMES: Final = {"max": "min", "min": "max"}
LOGGERS: Final = frozenset({"log", "logger", "logging"})
Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def edits(text: str) -> list[Edit]:
    """Returns the edits of a module. What is written to the log is left as it is, and so are types and defaults."""
    return list(_Finder(text).module())


class _Finder:
    def __init__(self, text: str) -> None:
        self._text = text
        self._conditions = set[ast.expr]()  # each is tried as True and as False
        self._around = 0
        self._lines = [0]
        for line in text.splitlines(keepends=True):
            self._lines.append(self._lines[-1] + len(line))

    def module(self) -> Iterator[Edit]:
        yield from self._within(ast.parse(self._text), depth=0)

    def _within(self, node: ast.AST, depth: int) -> Iterator[Edit]:
        """Yields the edits of what a node holds; `depth` counts the functions around it."""
        if isinstance(node, Function):
            body = node.body if isinstance(node.body, list) else [node.body]
            for child in body:
                yield from self._at(child, depth + 1)
            return
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "type_params"):
                continue
            for child in value if isinstance(value, list) else [value]:
                if isinstance(child, ast.AST):
                    yield from self._at(child, depth)

    def _at(self, node: ast.AST, depth: int) -> Iterator[Edit]:
        if isinstance(node, ast.Assert | ast.JoinedStr) or _is_log(node):
            return  # the positions within f-strings are not known before Python 3.12
        if isinstance(node, ast.stmt):
            self._around = self._offset(node.lineno, node.col_offset)
            yield from self._statement(node)
        if isinstance(node, ast.If | ast.IfExp):
            yield from self._condition(node.test, "if", (True, False))
        elif isinstance(node, ast.While):
            yield from self._condition(node.test, "while", (False,))
        elif isinstance(node, ast.comprehension):
            for test in node.ifs:
                yield from self._condition(test, "if", (True, False))
        elif isinstance(node, ast.expr):
            yield from self._expression(node, depth)
        yield from self._within(node, depth)

    def _statement(self, node: ast.stmt) -> Iterator[Edit]:
        match node:
            case ast.Expr(ast.Call() | ast.Await()) | ast.AugAssign() | ast.Delete():
                pass
            case ast.Assign(targets=[ast.Attribute() | ast.Subscript()]):
                pass
            case ast.Raise() | ast.Break() | ast.Continue() | ast.Return(value=None):
                if "NotImplementedError" in ast.unparse(node):
                    return
            case _:
                return
        yield self._edit(node, "pass", f"without `{brief(ast.unparse(node))}`")

    def _condition(
        self, test: ast.expr, statement: str, values: tuple[bool, ...]
    ) -> Iterator[Edit]:
        self._conditions.add(test)
        if not isinstance(test, ast.Constant):
            for value in values:
                yield self._edit(test, str(value), f"`{statement}` {value} for `{_brief(test)}`")

    def _expression(self, node: ast.expr, depth: int) -> Iterator[Edit]:
        match node:
            case ast.BoolOp(op, values):
                for number, value in enumerate(values):
                    rest = [*values[:number], *values[number + 1 :]]
                    new = rest[0] if len(rest) == 1 else ast.BoolOp(op, rest)
                    yield self._replace(node, new, f"without `{_brief(value)}`")
            case ast.Compare():
                yield from self._comparison(node)
            case ast.UnaryOp(ast.Not(), operand) if node not in self._conditions:
                yield self._replace(node, operand, f"becomes `{_brief(operand)}`")
            case ast.BinOp(left, operator, right) if other := ARITHMETIC.get(type(operator)):
                new = ast.BinOp(left, other(), right)
                yield self._replace(node, new, f"becomes `{_brief(new)}`")
            case ast.Call(ast.Name(id=name)) if name in NAMES:
                yield self._edit(node.func, NAMES[name], f"`{name}` becomes `{NAMES[name]}`")
            case ast.Constant(int() | float() as number) if depth and not isinstance(number, bool):
                yield self._edit(node, str(number + 1), f"`{number}` becomes `{number + 1}`")
            case _:
                pass

    def _comparison(self, node: ast.Compare) -> Iterator[Edit]:
        for number, operator in enumerate(node.ops):
            others = [LIMITS.get(type(operator))]
            if node not in self._conditions:
                others.append(OPPOSITES[type(operator)])
            for other in filter(None, others):
                changed = [*node.ops[:number], other(), *node.ops[number + 1 :]]
                new = ast.Compare(node.left, changed, node.comparators)
                yield self._replace(node, new, f"becomes `{_brief(new)}`")

    def _replace(self, node: ast.expr, new: ast.expr, change: str) -> Edit:
        return self._edit(node, f"({ast.unparse(new)})", change)

    def _edit(self, node: ast.expr | ast.stmt, new: str, change: str) -> Edit:
        assert node.end_lineno is not None
        assert node.end_col_offset is not None
        start = self._offset(node.lineno, node.col_offset)
        return Edit(
            start, self._offset(node.end_lineno, node.end_col_offset), new, change, self._around
        )

    def _offset(self, line: int, column: int) -> int:
        """Returns where a position lies in the text; ast counts columns in bytes."""
        start = self._lines[line - 1]
        text = self._text[start : self._lines[line]]
        return start + len(text.encode()[:column].decode())


def _brief(node: ast.expr) -> str:
    return brief(ast.unparse(ast.fix_missing_locations(node)))


def _is_log(node: ast.AST) -> bool:
    match node:
        case ast.Expr(ast.Call(ast.Attribute(ast.Name(id=name)))):
            return name in LOGGERS
    return False
