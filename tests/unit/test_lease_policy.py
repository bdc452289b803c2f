"""The times of a lease fit together: what one process waits for is what another does in that time."""

import pytest

from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.settings import Settings


@pytest.mark.parametrize("lease", [0.3, 1.0, 10.0, 300.0])
def test_the_times_of_a_lease_fit_together(lease: float) -> None:
    policy = LeasePolicy(lease)
    assert policy.lease_ms == round(1000 * lease)
    assert 2 * policy.renew_every < lease  # one renewal may fail
    assert policy.renew_every <= policy.reply_timeout <= max(lease, 0.3)
    assert policy.grace_after_outage >= lease  # each lease begins anew
    assert policy.reap_every >= policy.renew_every  # a run that is held has been renewed in between
    assert policy.takeover_within > lease + policy.look_every  # lapsed, found, claimed
    assert policy.stalled_after > policy.renew_every + policy.reply_timeout
    assert policy.renewed_for(60) > 60


def test_the_policy_follows_from_the_setting() -> None:
    assert Settings.from_env({"LEASE_SECS": "4"}).lease_policy == LeasePolicy(4.0)
