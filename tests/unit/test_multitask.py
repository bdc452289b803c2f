"""Every strategy says what becomes of a run that finds its thread busy."""

import pytest

from millstream.shared.rules.multitask import WHEN_BUSY, Strategy, WhenBusy


@pytest.mark.parametrize(
    ("strategy", "when_busy"), [("reject", WhenBusy.REFUSE), ("enqueue", WhenBusy.WAIT)]
)
def test_the_words_of_the_api_mean_what_they_say(strategy: str, when_busy: WhenBusy) -> None:
    assert WHEN_BUSY[Strategy(strategy)] is when_busy


def test_every_strategy_is_in_the_table_and_every_outcome_is_used() -> None:
    assert set(WHEN_BUSY) == set(Strategy)
    assert set(WHEN_BUSY.values()) == set(WhenBusy)
    assert {outcome.value for outcome in WhenBusy} == {
        "refuse",
        "wait",
        "interrupt",
        "rollback",
    }


def test_the_table_can_not_be_changed() -> None:
    with pytest.raises(TypeError):
        WHEN_BUSY[Strategy.REJECT] = WhenBusy.WAIT  # type: ignore[index]
