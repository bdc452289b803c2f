"""Filters and patterns agree with LangGraph's in-memory store."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.store.base import MatchCondition
from langgraph.store.memory import _compare_values, _does_match

from millstream.worker.store.matching import OPERATORS, matches, namespace_matches

numbers = st.integers(-3, 3) | st.sampled_from([0.5, 1.0, -2.5])
# Without booleans: in JSON, and so in this store, true is not 1.
plain: st.SearchStrategy[Any] = st.recursive(
    st.none() | numbers | st.sampled_from(["a", "b", ""]),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.sampled_from("xy"), inner),
    max_leaves=5,
)
labels = st.lists(st.sampled_from(["a", "b"]), max_size=4)
patterns = st.lists(st.sampled_from(["a", "b", "*"]), max_size=4)


@given(plain, plain)
def test_filters_by_equality_match_langgraphs_store(value: Any, want: Any) -> None:
    assert matches({"f": value}, {"f": want}) is bool(_compare_values(value, want))


@given(numbers, st.sampled_from(sorted(OPERATORS)), numbers)
def test_filters_by_operator_match_langgraphs_store(value: Any, operator: str, other: Any) -> None:
    want = {operator: other}
    assert matches({"f": value}, {"f": want}) is bool(_compare_values(value, want))


@given(labels, st.sampled_from(["prefix", "suffix"]), patterns)
def test_namespace_patterns_match_langgraphs_store(
    namespace: list[str], kind: Any, pattern: list[str]
) -> None:
    condition = MatchCondition(match_type=kind, path=tuple(pattern))
    expected = _does_match(condition, tuple(namespace))
    assert namespace_matches(tuple(namespace), kind, pattern) is expected


def test_filters_that_raise_in_langgraphs_store_match_nothing() -> None:
    odd: list[Any] = [None, "x", [], {}, True]
    for value in odd:
        for operator in ("$gt", "$gte", "$lt", "$lte"):
            assert not matches({"f": value}, {"f": {operator: 0}})
    assert not matches({}, {"f": {"$gt": 0}})
    assert matches({}, {"f": {"$ne": 0}})
    assert not matches({"f": True}, {"f": 1})
    assert matches({"f": {"a": True}}, {"f": {"$eq": {"a": True}}})
    assert not matches({"f": {"a": True, "b": 1}}, {"f": {"$eq": {"a": True}}})
    assert matches({"f": 1}, None)
    with pytest.raises(ValueError, match="unknown operator '\\$like'"):
        matches({"f": 1}, {"f": {"$like": 1}})
