"""The number of values in a JSON text is known before it is decoded, and is never too low."""

import json
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from millstream.api.http import json_size
from millstream.api.http.json_size import count_values

TEXT = st.text(alphabet='ab\\",:[]{} é🦊')
JSON = st.recursive(
    st.none() | st.integers() | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=30,
)


def values_and_names(value: Any) -> int:
    """Returns the exact number."""
    if isinstance(value, dict):
        return 1 + sum(1 + values_and_names(item) for item in value.values())
    if isinstance(value, list):
        return 1 + sum(map(values_and_names, value))
    return 1


@given(value=JSON, slice_bytes=st.integers(1, 40), ascii_only=st.booleans())
@example(value=['\\"', "\\\\", ["]"]], slice_bytes=1, ascii_only=True)
def test_the_count_is_never_below_the_number_of_values(
    value: Any, slice_bytes: int, ascii_only: bool
) -> None:
    text = json.dumps(value, ensure_ascii=ascii_only).encode()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(json_size, "SLICE_BYTES", slice_bytes)
        exact = values_and_names(value)
        count = count_values(text, 10**6)
        assert exact <= count
        # An empty object or list counts as if it had an item, and of a small text the strings are not left out.
        assert count <= 2 * exact or len(text) <= slice_bytes


def test_texts_with_separators_are_one_value() -> None:
    text = json.dumps({"csv": "1,2,3\n" * 100_000, "quoted": '"],[' * 100_000}).encode()
    assert count_values(text, 1000) == 5


@pytest.mark.parametrize("item", [b"{},", b"[],", b'"",', b"[[[", b'{"a":{"a":', b"1,"])
def test_the_count_stops_after_the_limit(item: bytes) -> None:
    text = b"[" + item * 4_000_000
    assert 1000 < count_values(text, 1000) < 1000 + 2 * json_size.SLICE_BYTES
