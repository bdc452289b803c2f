"""The metrics that an expression of PromQL names."""

from collections.abc import Iterator
from typing import Any, Final

import promql_parser

# Grafana replaces these before it sends a query.
VARIABLES: Final = {"$__rate_interval": "5m", "$queue": ".*", "$graph": ".*", "$job": ".*"}


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yields the name and the labels of each selector. Raises ValueError for an invalid expression."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    yield from _selectors(promql_parser.parse(expression))


def summed(expression: str) -> Iterator[str]:
    """Yields the names that the expression adds up or counts over all processes."""
    for variable, value in VARIABLES.items():
        expression = expression.replace(variable, value)
    yield from _summed(promql_parser.parse(expression), is_inside=False)


def _summed(node: Any, *, is_inside: bool) -> Iterator[str]:
    match node:
        case promql_parser.AggregateExpr():
            yield from _summed(node.expr, is_inside=str(node.op) in ("sum", "count", "avg"))
        case promql_parser.VectorSelector() if is_inside:
            yield node.name or ""
        case promql_parser.MatrixSelector():
            yield from _summed(node.vector_selector, is_inside=is_inside)
        case promql_parser.BinaryExpr():
            yield from _summed(node.lhs, is_inside=is_inside)
            yield from _summed(node.rhs, is_inside=is_inside)
        case promql_parser.Call():
            for argument in node.args:
                yield from _summed(argument, is_inside=is_inside)
        case promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _summed(node.expr, is_inside=is_inside)


def _selectors(node: Any) -> Iterator[tuple[str, set[str]]]:
    match node:
        case promql_parser.VectorSelector():
            yield node.name or "", {matcher.name for matcher in node.matchers.matchers}
        case promql_parser.MatrixSelector():
            yield from _selectors(node.vector_selector)
        case promql_parser.BinaryExpr():
            yield from _selectors(node.lhs)
            yield from _selectors(node.rhs)
        case promql_parser.Call():
            for argument in node.args:
                yield from _selectors(argument)
        case promql_parser.AggregateExpr() | promql_parser.ParenExpr() | promql_parser.UnaryExpr():
            yield from _selectors(node.expr)
        case promql_parser.NumberLiteral():
            pass
        case _:
            raise TypeError(f"a {type(node).__name__} is not expected here")
