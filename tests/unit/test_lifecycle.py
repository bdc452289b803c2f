"""The lifecycle table equals the documented one, and scripts get its edges."""

from itertools import product

import pytest

from millstream.shared.rules.lifecycle import (
    TERMINAL,
    TRANSITIONS,
    Cause,
    RunStatus,
    ThreadStatus,
    edges,
    follow,
)

DRAWN = {
    "pending": {"claimed": "running", "cancelled": "interrupted", "stranded": "error"},
    "running": {
        "lapsed": "pending",
        "handed_back": "pending",
        "exhausted": "error",
        "stranded": "error",
        "succeeded": "success",
        "failed": "error",
        "timed_out": "timeout",
        "cancelled": "interrupted",
    },
}


@pytest.mark.parametrize(("status", "cause"), list(product(RunStatus, Cause)))
def test_each_cell_equals_the_documented_table(status: RunStatus, cause: Cause) -> None:
    assert follow(status, cause) == DRAWN.get(status, {}).get(cause)


def test_statuses_equal_those_of_the_sdk() -> None:
    assert set(RunStatus) == {"pending", "running", "success", "error", "timeout", "interrupted"}
    assert set(ThreadStatus) == {"idle", "busy", "interrupted", "error"}


def test_only_terminal_statuses_have_no_successor() -> None:
    assert {"success", "error", "timeout", "interrupted"} == TERMINAL
    for status in RunStatus:
        follows = [follow(status, cause) for cause in Cause]
        assert any(follows) == (status not in TERMINAL)


def test_every_status_is_reachable_and_leads_to_a_terminal_one() -> None:
    for start in set(RunStatus) - TERMINAL:
        reached = {start}
        for _ in RunStatus:
            reached |= {to for (status, _), to in TRANSITIONS.items() if status in reached}
        assert reached == set(RunStatus)


@pytest.mark.parametrize("cause", list(Cause))
def test_the_edges_of_a_cause_equal_its_cells(cause: Cause) -> None:
    names = edges(cause)
    assert all(type(name) is str for name in names)
    assert dict(zip(names[::2], names[1::2], strict=True)) == {
        status: row[cause] for status, row in DRAWN.items() if cause in row
    }


def test_a_lapsed_run_is_claimable_as_the_claim_script_assumes() -> None:
    claimed_from, claimed_to = edges(Cause.CLAIMED)
    assert edges(Cause.LAPSED) == [claimed_to, claimed_from]
