"""Of several reasons to stop a run one counts, and it says which worker writes the run's end."""

import pytest

from millstream.worker.stop_reason import StopReason


@pytest.mark.parametrize("earlier", StopReason)
@pytest.mark.parametrize("later", StopReason)
def test_the_first_reason_counts_but_a_lost_lease_goes_before_all(
    earlier: StopReason, later: StopReason
) -> None:
    assert StopReason.choose(None, later) is later
    assert StopReason.choose(earlier, later) is (
        StopReason.LOST if later is StopReason.LOST else earlier
    )


@pytest.mark.parametrize("reason", StopReason)
def test_only_a_cancelled_run_is_ended_by_the_worker_that_stops_it(reason: StopReason) -> None:
    assert reason.continues_elsewhere is (reason is not StopReason.CANCELLED)
    assert reason.is_lost is (reason in {"lost", "lapsed"})
