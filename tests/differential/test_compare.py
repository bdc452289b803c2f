"""The comparison finds each difference; the differences that it ignores are documented."""

import json
from pathlib import Path
from typing import Any

import pytest

from differential.cases import CASES
from differential.compare import Line, differences, paths
from differential.documented import DOCUMENTED_IN_CASES, RULES, is_documented, strip_documented

HERE = Path(__file__).parent
API = (HERE.parents[1] / "docs" / "api.md").read_text()

VALUES: Line = ("event values", {"items": ["plan"]})
UPDATES: Line = ("event updates", {"plan": {"items": ["plan"]}})


def texts(reference: list[Line], ours: list[Line]) -> list[str]:
    return [str(difference) for difference in differences(reference, ours)[1]]


def test_equal_lines_are_counted() -> None:
    assert differences([VALUES, UPDATES], [VALUES, UPDATES]) == (2, [])
    assert differences([], []) == (0, [])


@pytest.mark.parametrize(
    ("reference", "ours", "expected"),
    [
        ([VALUES], [], ['- ["event values", {"items": ["plan"]}]']),
        ([], [VALUES], ['+ ["event values", {"items": ["plan"]}]']),
        (
            [VALUES],
            [("event values", {"items": ["other"], "more": 1})],
            [
                (
                    '~ event values at $.items[0]: reference "plan", ours "other"\n'
                    "~ event values at $.more: only ours: 1"
                )
            ],
        ),
        ([VALUES, UPDATES], [UPDATES, VALUES], 2),
        ([("thread", {"n": 1})], [("thread", {"n": 1.0})], 1),
        ([("thread", {"n": True})], [("thread", {"n": 1})], 1),
        ([("state", [])], [("state", {})], 1),
        ([VALUES, VALUES], [VALUES], 1),
    ],
)
def test_differences_are_listed(reference: list[Line], ours: list[Line], expected: Any) -> None:
    result = texts(reference, ours)
    assert result == expected if isinstance(expected, list) else len(result) == expected


def test_a_missing_line_shifts_no_other() -> None:
    lines: list[Line] = [("event values", {"n": n}) for n in range(5)]
    assert texts(lines, lines[:2] + lines[3:]) == ['- ["event values", {"n": 2}]']


def test_paths_name_each_difference() -> None:
    one = {"a": [{"b": 1}, {"b": 2}], "c": "x"}
    other = {"a": [{"b": 1}, {"b": 3}], "d": "x"}
    assert list(paths(one, other)) == [
        "$.a[1].b: reference 2, ours 3",
        '$.c: only the reference\'s: "x"',
        '$.d: only ours: "x"',
    ]


# One recorded line of each server for each rule: they differ only by the documented difference.
RECORDED: dict[str, tuple[Line, Line]] = {
    name: ((pair[0][0], pair[0][1]), (pair[1][0], pair[1][1]))
    for name, pair in json.loads((HERE / "documented.json").read_text()).items()
}


@pytest.mark.parametrize("rule", RULES)
def test_each_rule_is_documented_and_strips_nothing_else(rule: str) -> None:
    assert f"| {rule} |" in API
    reference, ours = RECORDED[rule]
    assert reference != ours
    assert strip_documented(reference) == strip_documented(ours)


@pytest.mark.parametrize("line", [VALUES, UPDATES, ("thread", {"error": {"error": "ValueError"}})])
def test_other_lines_are_unchanged(line: Line) -> None:
    assert strip_documented(line) == line


@pytest.mark.parametrize("row", DOCUMENTED_IN_CASES)
def test_each_difference_of_a_single_case_is_documented(row: str) -> None:
    assert f"| {row} |" in API
    graph, line = DOCUMENTED_IN_CASES[row]
    assert is_documented(graph, (line, {}))
    assert not is_documented("steps", (line, {}))


def test_every_graph_has_a_case() -> None:
    served = json.loads((HERE / "langgraph.json").read_text())["graphs"]
    assert {case.graph for case in CASES} == served.keys()
