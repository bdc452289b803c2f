"""How a rate is written, and the bucket that it means."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from millstream.shared.errors import SettingError
from millstream.shared.rules.rate import MAX_BURST, MAX_PER_SECOND, Rate
from millstream.shared.settings import Settings


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("100/s", Rate(100, 1, 100)),
        (" 600 / min  burst 50 ", Rate(600, 60, 50)),
        ("1000/hour burst=5", Rate(1000, 3600, 5)),
        ("1/h", Rate(1, 3600, 1)),
        (f"{MAX_PER_SECOND}/second burst {MAX_BURST}", Rate(MAX_PER_SECOND, 1, MAX_BURST)),
    ],
)
def test_a_rate_is_a_number_a_unit_and_a_burst(text: str, rate: Rate) -> None:
    assert Rate.parse(text) == rate


@pytest.mark.parametrize(
    "text",
    ["", "100", "100/d", "0/s", "-1/s", "1.5/s", "10001/s", "5/s burst 0", "5/s burst 1000001", "٣/s", "5/s burst"],
)  # fmt: skip
@pytest.mark.parametrize(
    "name", ["RATE_LIMIT_REQUESTS", "RATE_LIMIT_RUNS", "RATE_LIMIT_FAILED_AUTH"]
)
def test_an_invalid_rate_is_rejected_with_its_variable(text: str, name: str) -> None:
    with pytest.raises(ValueError, match=r"rate|burst"):
        Rate.parse(text)
    if text:  # an empty variable counts as unset
        with pytest.raises(SettingError, match=f"^{name}: "):
            Settings.from_env({name: text})


def test_none_is_no_limit() -> None:
    assert Settings().request_rate is None
    assert Settings().failed_auth_rate is not None
    assert Settings.from_env({"RATE_LIMIT_FAILED_AUTH": "none"}).failed_auth_rate is None


@given(
    limit=st.integers(1, MAX_PER_SECOND),
    seconds=st.sampled_from([1, 60, 3600]),
    burst=st.integers(1, MAX_BURST),
)
def test_whole_microseconds_never_make_a_rate_faster(limit: int, seconds: int, burst: int) -> None:
    rate = Rate(limit, seconds, burst)
    assert rate.interval_us * limit >= seconds * 1_000_000
    assert (rate.interval_us - 1) * limit < seconds * 1_000_000
    assert rate.window_seconds * 1_000_000 >= burst * rate.interval_us
