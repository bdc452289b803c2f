"""Every strategy defines what happens to a new run on a busy thread, and to the runs before it."""

from typing import Any

import pytest

from millstream.shared.rules.multitask import (
    WHEN_BUSY,
    CancelAction,
    NewRun,
    Strategy,
    WhenBusy,
)


@pytest.mark.parametrize(
    ("strategy", "new", "cancel"),
    [
        ("reject", NewRun.REFUSE, None),
        ("enqueue", NewRun.WAIT, None),
        ("interrupt", NewRun.WAIT, CancelAction.INTERRUPT),
        ("rollback", NewRun.WAIT, CancelAction.ROLLBACK),
    ],
)
def test_each_strategy_maps_to_its_actions(
    strategy: str, new: NewRun, cancel: CancelAction | None
) -> None:
    assert WHEN_BUSY[Strategy(strategy)] == WhenBusy(new, cancel)


def test_every_strategy_is_in_the_table_and_every_outcome_is_used() -> None:
    assert set(WHEN_BUSY) == set(Strategy)
    assert {row.new for row in WHEN_BUSY.values()} == set(NewRun) == {"refuse", "wait"}
    assert {row.cancel for row in WHEN_BUSY.values()} == {None, *CancelAction}


def test_the_table_is_read_only() -> None:
    with pytest.raises(TypeError):
        WHEN_BUSY[Strategy.REJECT] = WhenBusy(NewRun.WAIT)  # type: ignore[index]


@pytest.mark.parametrize("value", ["pause", "", "wait", Strategy.REJECT, Strategy.ENQUEUE])
def test_a_row_accepts_only_cancel_actions(value: Any) -> None:
    with pytest.raises(ValueError, match="CancelAction"):
        WhenBusy(NewRun.WAIT, value)


def test_a_row_rejects_other_values_for_the_new_run() -> None:
    with pytest.raises(ValueError, match="NewRun"):
        WhenBusy(CancelAction.ROLLBACK)  # type: ignore[arg-type]
