"""How `millstream doctor` prints its results: grouped text for people, JSON with a stable shape for programs."""

import os
import sys
from collections import Counter
from typing import Any, Final

from rich.console import Console
from rich.padding import Padding
from rich.text import Text

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, Severity, count
from millstream.shared.checks.table import Group, Result

STYLES: Final = {
    Severity.ERROR: ("✗", "bold red"),
    Severity.WARNING: ("!", "yellow"),
    Severity.NOTE: ("·", "cyan"),
}
INDENT: Final = 13  # of the lines below a problem's first


def as_json(facts: Facts, results: list[Result]) -> dict[str, Any]:
    """Returns the results as JSON. Names and fields are stable; new ones may be added."""
    return {
        "redis": facts.target().url,
        "status": next(
            (str(s) for s in Severity if any(result.status == s for result in results)), "fine"
        ),
        "counts": _counts(results),
        "checks": [
            {
                "name": result.check.name,
                "group": str(result.check.group),
                "status": str(result.status),
                "not_checked": result.not_checked or None,
                "problems": [
                    {
                        "severity": str(problem.severity),
                        "what": problem.what,
                        "why": problem.why,
                        "mend": problem.mend,
                    }
                    for problem in result.problems
                ],
            }
            for result in results
        ],
    }


def _counts(results: list[Result]) -> dict[str, int]:
    """Returns the number of problems by severity, and of checks without a problem."""
    counts = Counter(str(problem.severity) for result in results for problem in result.problems)
    statuses = Counter(str(result.status) for result in results)
    return {str(severity): counts[severity] for severity in Severity} | {
        "fine": statuses["fine"],
        "not_checked": statuses["not_checked"],
    }


def print_results(facts: Facts, results: list[Result], *, show_all: bool) -> None:
    """Prints the problems by group, what was not checked, and a summary; with `show_all` also what is fine."""
    console = _console()
    console.print(Text.assemble("Redis: ", (facts.target().url, "bold")))
    for group in Group:
        of_group = [result for result in results if result.check.group is group]
        lines = [line for result in of_group for line in _lines(result, show_all=show_all)]
        if lines:
            console.print()
            console.print(Text(group, style="bold"))
            for line in lines:
                console.print(line)
    reasons: dict[str, list[str]] = {}
    for result in results:
        if result.not_checked:
            reasons.setdefault(result.not_checked, []).append(result.check.name)
    if reasons:
        console.print()
        console.print(Text("Not checked", style="bold"))
        for reason, names in reasons.items():
            console.print(_indented(f"{', '.join(names)}: {reason}", 2))
    console.print()
    console.print(_summary(results))


def _console() -> Console:
    """Returns a console that writes neither colours nor line breaks of its own to a pipe."""
    is_terminal = sys.stdout.isatty()
    return Console(
        file=sys.stdout,
        soft_wrap=not is_terminal,
        no_color=bool(os.environ.get("NO_COLOR")) or None,
        highlight=False,
        emoji=False,
        markup=False,
    )


def _lines(result: Result, *, show_all: bool) -> list[Any]:
    lines: list[Any] = []
    for problem in result.problems:
        lines += _problem_lines(problem)
    if show_all and result.status == "fine":
        lines.append(
            Text.assemble("  ", ("✓", "green"), f" fine     {result.check.name}: ")
            + Text(result.check.description, style="dim")
        )
    return lines


def _problem_lines(problem: Problem) -> list[Any]:
    mark, style = STYLES[problem.severity]
    first, *more = problem.what.splitlines()
    why = problem.why[:1].upper() + problem.why[1:]
    return [
        Text.assemble("  ", (f"{mark} {problem.severity:<8}", style), " ", (first, "bold")),
        *(_indented(line, INDENT) for line in more if line.strip()),
        _indented(f"{why}.", INDENT),
        _indented(Text.assemble(("→ ", "green"), problem.mend), INDENT),
    ]


def _indented(text: str | Text, left: int) -> Padding | Text:
    """Returns the text with a margin, which its further lines have too on a terminal."""
    if sys.stdout.isatty():
        return Padding(text, (0, 0, 0, left))
    return Text(" " * left) + text if isinstance(text, Text) else Text(" " * left + text)


def _summary(results: list[Result]) -> Text:
    counts = _counts(results)
    parts = [count(counts[severity], severity) for severity in Severity if counts[severity]]
    if counts["not_checked"]:
        parts.append(f"{counts['not_checked']} not checked")
    parts.append(f"{counts['fine']} fine")
    worst = next((severity for severity in Severity if counts[severity]), None)
    return Text(
        f"{count(len(results), 'check')}: {', '.join(parts)}",
        style="bold green" if worst is None else STYLES[worst][1],
    )
