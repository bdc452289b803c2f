"""Quota of rate limits: never more than the burst and what the rate has added since, from all buckets or from none."""

import asyncio
import time
from types import SimpleNamespace

import fakeredis
import pytest
from fakeredis._socket import _base
from fakeredis.commands_mixins import server_mixin
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from contract.builders import dump
from millstream.shared import keys
from millstream.shared.redis import Client
from millstream.shared.rules.rate import Rate
from millstream.shared.scripts import Bucket, Quota, take_quota

FROZEN = Rate(1, 3600, 10)  # gains nothing while a test runs
FAST = Rate(10, 1, 5)


class Clock:
    """The clock of fakeredis, which stands still unless a test moves it."""

    now = 1_800_000_000.0

    def time(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    fakeredis.FakeServer()  # reads a file, once
    frozen = SimpleNamespace(**{**vars(time), "time": clock.time})
    for module in (server_mixin, _base):  # TIME, and the expiry of keys
        monkeypatch.setattr(module, "time", frozen)
    return clock


def bucket(rate: Rate, name: str = "requests", amount: int = 1) -> Bucket:
    return Bucket(keys.quota("caller", name), rate, amount)


async def test_a_full_bucket_has_its_burst_and_gains_at_its_rate(clock: Clock) -> None:
    redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    left = [(await take_quota(redis, [bucket(FAST)]))[1][0].left for _ in range(5)]
    assert left == [4, 3, 2, 1, 0]
    granted, [quota] = await take_quota(redis, [bucket(FAST)])
    assert (granted, quota) == (False, Quota(left=0, wait_us=100_000))
    clock.now += 0.099
    assert await take_quota(redis, [bucket(FAST)]) == (False, [Quota(left=0, wait_us=1000)])
    clock.now += 0.001
    assert await take_quota(redis, [bucket(FAST)]) == (True, [Quota(left=0, wait_us=100_000)])
    clock.now += 0.25
    assert await take_quota(redis, [bucket(FAST)]) == (True, [Quota(left=1, wait_us=50_000)])
    clock.now += 1000
    assert await take_quota(redis, [bucket(FAST)]) == (True, [Quota(left=4, wait_us=100_000)])


async def test_the_wait_of_a_refused_amount_is_exact(clock: Clock) -> None:
    redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    assert (await take_quota(redis, [bucket(FAST, amount=3)]))[0]
    granted, [quota] = await take_quota(redis, [bucket(FAST, amount=4)])
    assert (granted, quota) == (False, Quota(left=2, wait_us=200_000))
    clock.now += 0.2
    assert await take_quota(redis, [bucket(FAST, amount=4)]) == (True, [Quota(0, 100_000)])


async def test_a_bucket_is_never_emptier_than_empty(clock: Clock) -> None:
    """A step of the clock and a smaller burst lock no caller out."""
    redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
    for _ in range(5):
        await take_quota(redis, [bucket(FAST)])
    clock.now -= 3600
    assert await take_quota(redis, [bucket(FAST)]) == (False, [Quota(0, 100_000)])
    assert await take_quota(redis, [bucket(Rate(10, 1, 2))]) == (False, [Quota(0, 100_000)])


async def test_one_bucket_refuses_for_all(any_redis: Client) -> None:
    both = [bucket(FROZEN), bucket(Rate(1, 3600, 2), "runs")]
    assert (await take_quota(any_redis, both))[0]
    assert (await take_quota(any_redis, both))[0]
    before = await dump(any_redis)
    granted, [requests, runs] = await take_quota(any_redis, both)
    assert not granted
    assert (requests.left, requests.wait_us) == (8, 0)
    assert (runs.left, runs.wait_us > 3590 * 1e6) == (0, True)
    assert await dump(any_redis) == before
    assert (await take_quota(any_redis, both[:1]))[0]


async def test_callers_and_limits_have_buckets_of_their_own(any_redis: Client) -> None:
    one = Rate(1, 3600, 1)
    for key in (keys.quota("a", "requests"), keys.quota("b", "requests"), keys.quota("a", "runs")):
        assert (await take_quota(any_redis, [Bucket(key, one)]))[0]
        assert not (await take_quota(any_redis, [Bucket(key, one)]))[0]


async def test_a_full_bucket_has_no_key(real_redis: Client) -> None:
    await take_quota(real_redis, [bucket(FAST)])
    ttl = await real_redis.pttl(keys.quota("caller", "requests"))
    assert 0 < ttl <= 102


async def test_of_fifty_contenders_the_burst_is_granted(real_redis: Client) -> None:
    both = [bucket(FROZEN), bucket(Rate(1, 3600, 100), "runs")]
    replies = await asyncio.gather(*(take_quota(real_redis, both) for _ in range(50)))
    granted = [quotas for was_granted, quotas in replies if was_granted]
    assert sorted(requests.left for requests, _ in granted) == list(range(10))
    assert sorted(runs.left for _, runs in granted) == list(range(90, 100))
    assert {quotas[0].left for was_granted, quotas in replies if not was_granted} == {0}


RATES = st.builds(Rate, st.integers(1, 1000), st.sampled_from([1, 60, 3600]), st.integers(1, 20))
STEPS = st.lists(st.tuples(st.integers(0, 3_000_000), st.integers(1, 20)), max_size=30)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(rate=RATES, steps=STEPS)
def test_never_more_than_the_burst_and_the_rate(
    clock: Clock, rate: Rate, steps: list[tuple[int, int]]
) -> None:
    """In any time t at most burst + rate * t is granted; what is refused is granted after the wait, and not before."""

    async def take() -> None:
        redis = fakeredis.FakeAsyncRedis(server=fakeredis.FakeServer())
        grants: list[tuple[int, int]] = []  # µs, amount
        now = int(Clock.now * 1e6)
        for pause, amount in steps:
            now += pause
            clock.now = now / 1e6
            one = [bucket(rate, amount=min(amount, rate.burst))]
            granted, [quota] = await take_quota(redis, one)
            if not granted and quota.wait_us > 1:
                clock.now = (now + quota.wait_us - 1) / 1e6
                assert not (await take_quota(redis, one))[0]
            if not granted:
                now += quota.wait_us
                clock.now = now / 1e6
                granted, [quota] = await take_quota(redis, one)
            assert granted
            assert 0 <= quota.left < rate.burst
            grants.append((now, one[0].amount))
        for first in range(len(grants)):
            for last in range(first, len(grants)):
                taken = sum(count for _, count in grants[first : last + 1])
                elapsed = grants[last][0] - grants[first][0]
                assert taken <= rate.burst + elapsed / rate.interval_us

    asyncio.run(take())
