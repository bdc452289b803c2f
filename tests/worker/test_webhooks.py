"""Webhooks are called until somebody answers, signed, and only where they may lead."""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.builders import a_spec, admit, end, running
from harness.waiting import until
from harness.webhook_receiver import ReceivedRequest, Receiver, Reply
from millstream.shared import keys, webhooks
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.config import WebhooksConfig, WebhookUrls
from millstream.shared.redis import Client
from millstream.shared.settings import Settings
from millstream.worker.webhooks.client import open_client
from millstream.worker.webhooks.deliverer import Deliverer
from millstream.worker.webhooks.policy import headers_of, policy_of
from millstream.worker.webhooks.signing import read_signing_keys, sign

LOOPBACK = WebhooksConfig(url=WebhookUrls(disable_loopback=False))
QUICK = Settings(webhook_retry=0.05, webhook_timeout=1.0)


@pytest.fixture
def receiver() -> Any:
    with Receiver() as receiver:
        yield receiver


async def ended(redis: Client, url: str) -> str:
    """Ends a run with a webhook; returns its id."""
    kwargs = msgspec.json.encode({"webhook": url})
    claim = await running(redis, await admit(redis, a_spec(kwargs=kwargs)))
    await end(redis, claim, output=b'{"n":1}')
    return claim.spec.run_id


@pytest.fixture
async def deliverer(real_redis: Client) -> AsyncIterator[Callable[..., Deliverer]]:
    """Makes deliverers; they are closed at the end."""
    made: list[Any] = []

    def make(config: WebhooksConfig = LOOPBACK, settings: Settings = QUICK) -> Deliverer:
        caller = open_client(config, settings)
        deliverer = Deliverer(real_redis, caller, settings)
        made.append((deliverer, caller))
        return deliverer

    yield make
    for one, caller in made:
        await one.drain()
        await caller.aclose()


async def settled(redis: Client, deliverer: Deliverer) -> None:
    """Has it deliver until nothing is left."""

    async def done() -> bool:
        await deliverer.run_once()
        return not await redis.zcard(keys.deliveries())

    await until(done, what="all is told or given up")


async def test_what_is_told_and_how_it_is_signed(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    secret = "whsec_" + base64.b64encode(b"the older key").decode()
    run_id = await ended(real_redis, f"{receiver.url}/hook?a=b")
    config = replace_headers({"X-Token": "t-1"})
    settings = replace(QUICK, webhook_secret=f"newer key, {secret}")
    await settled(real_redis, deliverer(config, settings))
    [told] = receiver.requests
    assert (told.path, told.headers["x-token"]) == ("/hook?a=b", "t-1")
    assert told.headers["content-type"] == "application/json"
    assert told.headers["webhook-id"] == told.json["run_id"] == run_id
    assert (told.json["status"], told.json["values"]) == ("success", {"n": 1})
    # As the documentation says it is verified:
    content = f"{run_id}.{told.headers['webhook-timestamp']}.".encode() + told.body
    for key in (b"newer key", b"the older key"):
        digest = hmac.new(key, content, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        assert expected in told.headers["webhook-signature"].split(" ")


def replace_headers(given: dict[str, str]) -> WebhooksConfig:
    return WebhooksConfig(url=LOOPBACK.url, headers=given)


@pytest.mark.parametrize("trouble", ["500", "404", "302", "closed", "down", "silent"])
async def test_it_is_tried_again_under_the_same_id(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer], trouble: str
) -> None:
    def answer(told: ReceivedRequest) -> Reply:
        if len(receiver.requests) >= 3:
            return 200, {}
        match trouble:
            case "closed":
                raise ConnectionAbortedError
            case "silent":
                return 100, {}
            case "302":
                return 302, {"location": f"{receiver.url}/elsewhere"}
        return int(trouble), {}

    if trouble == "down":
        receiver.stop()
    else:
        receiver.answer = answer
    run_id = await ended(real_redis, f"{receiver.url}/hook")
    one = deliverer(settings=replace(QUICK, webhook_timeout=0.3))
    await one.run_once()
    if trouble == "down":
        await until(lambda: has_tried(real_redis, run_id))
        receiver.start()
    await settled(real_redis, one)
    assert len(receiver.requests) == (1 if trouble == "down" else 3)
    assert {told.headers["webhook-id"] for told in receiver.requests} == {run_id}
    assert {told.path for told in receiver.requests} == {"/hook"}  # a redirect is not followed


async def has_tried(redis: Client, run_id: str) -> bool:
    [word] = await redis.zrange(keys.deliveries(), 0, -1)
    tries = await redis.hget(keys.delivery(word.decode().split("/")[0], run_id), "tries")  # type: ignore[misc]
    return int(tries or 0) > 0


async def test_a_receiver_says_when_or_that_it_is_gone(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    receiver.answer = lambda told: (
        (503, {"retry-after": "1"}) if len(receiver.requests) == 1 else (410, {})
    )
    await ended(real_redis, receiver.url)
    await settled(real_redis, deliverer())
    first, second = receiver.requests
    assert second.at - first.at >= 1


async def test_it_is_given_up_after_its_time(
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.answer = lambda told: (500, {})
    run_id = await ended(real_redis, receiver.url)
    with caplog.at_level(logging.ERROR):
        await settled(real_redis, deliverer(settings=replace(QUICK, webhook_give_up=1.0)))
    assert len(receiver.requests) > 1
    assert f"webhook of run {run_id} is given up" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "loopback.example"])
async def test_an_address_inside_is_not_called_whatever_its_name(
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    async def resolve(name: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    if host == "loopback.example":  # a name that leads inside
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    await ended(real_redis, receiver.url.replace("127.0.0.1", host))
    with caplog.at_level(logging.ERROR):
        await settled(real_redis, deliverer(WebhooksConfig()))
    assert receiver.requests == []
    assert "is not called" in caplog.text


async def test_a_redis_that_is_away_costs_nothing_but_another_call(
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def settle(*_: Any, **__: Any) -> bool:
        raise RedisConnectionError("away")

    run_id = await ended(real_redis, receiver.url)
    one = deliverer()
    with monkeypatch.context() as away:
        away.setattr(webhooks, "settle", settle)
        await one.run_once()
        await one.drain()
    [word] = await real_redis.zrange(keys.deliveries(), 0, -1)
    await real_redis.zadd(keys.deliveries(), {word: 1})  # as when the lease is over
    await settled(real_redis, deliverer())
    assert [told.headers["webhook-id"] for told in receiver.requests] == [run_id, run_id]


async def test_a_path_alone_leads_to_the_deployment(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    await ended(real_redis, "/hooks/done?x=1")
    settings = replace(QUICK, webhook_base_url=f"{receiver.url}/")
    await settled(real_redis, deliverer(WebhooksConfig(), settings))
    assert [told.path for told in receiver.requests] == ["/hooks/done?x=1"]


# ── What the project says ───────────────────────────────────────────────────────────────────


def test_headers_take_variables_of_the_environment() -> None:
    config = WebhooksConfig(headers={"X-A": "Bearer ${{ env.LG_WEBHOOK_T }}/${{env.LG_WEBHOOK_U}}"})
    environ = {"LG_WEBHOOK_T": "t", "LG_WEBHOOK_U": "u", "OTHER": "o"}
    assert headers_of(config, environ) == {"X-A": "Bearer t/u"}
    own = WebhooksConfig(env_prefix="OTH", headers={"X": "${{ env.OTHER }}"})
    assert headers_of(own, environ) == {"X": "o"}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("X", "${{ env.PATH }}", "PATH does not begin with LG_WEBHOOK_"),
        ("X", "${{ env.LG_WEBHOOK_NONE }}", "LG_WEBHOOK_NONE is not set"),
        ("X Y", "v", "is an invalid name, or is a header that"),
        ("Host", "v", "is an invalid name, or is a header that"),
        ("X", "a\nb", "that a header can't have"),
    ],
)
def test_headers_that_can_not_be(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        headers_of(WebhooksConfig(headers={name: value}), {"PATH": "p"})


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (Settings(webhook_networks="10.0.0.0/8, nonsense"), "WEBHOOK_NETWORKS"),
        (Settings(webhook_base_url="app.example"), "WEBHOOK_BASE_URL"),
        (Settings(webhook_secret="whsec_?"), "WEBHOOK_SECRET"),
    ],
)
def test_settings_that_can_not_be(settings: Settings, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        open_client(WebhooksConfig(), settings)


def test_what_workers_announce() -> None:
    config = WebhooksConfig(url=WebhookUrls(require_https=True, allowed_ports=[443]))
    made = policy_of(
        config, Settings(webhook_networks="10.0.0.0/8", webhook_base_url="https://a.b")
    )
    assert (made.require_https, made.allowed_ports) == (True, [443])
    assert (made.networks, made.relative, made.disable_loopback) == (["10.0.0.0/8"], True, True)


def test_a_signature_of_the_standard() -> None:
    # The example that Standard Webhooks gives in its specification.
    [key] = read_signing_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    made = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
