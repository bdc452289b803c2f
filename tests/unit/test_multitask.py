"""Every strategy says what becomes of a run that finds its thread busy."""

import pytest

from millstream.shared.rules.multitask import WHEN_BUSY, Strategy, WhenBusy


@pytest.mark.parametrize(
    ("strategy", "when_busy"), [("reject", WhenBusy.REFUSE), ("enqueue", WhenBusy.WAIT)]
)
def test_each_strategy_maps_to_its_actions(strategy: str, when_busy: WhenBusy) -> None:
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


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        WHEN_BUSY[Strategy.REJECT] = WhenBusy.WAIT  # type: ignore[index]
