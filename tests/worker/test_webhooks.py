"""Webhooks are retried until the receiver responds, signed, and sent only to allowed addresses."""

import asyncio
import base64
import hashlib
import hmac
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any
from urllib.parse import urlsplit

import msgspec
import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from contract.builders import a_spec, admit, end, running
from harness.waiting import until
from harness.webhook_receiver import ReceivedRequest, Receiver, Reply
from millstream.shared import keys, webhooks
from millstream.shared.errors import SettingError
from millstream.shared.langgraph_json.config import WebhooksConfig, WebhookUrls
from millstream.shared.observer import UNOBSERVED, RunObserver, WebhookOutcome
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
    """Ends a run with a webhook. Returns its id."""
    kwargs = msgspec.json.encode({"webhook": url})
    claim = await running(redis, await admit(redis, a_spec(kwargs=kwargs)))
    await end(redis, claim, output=b'{"n":1}')
    return claim.spec.run_id


@pytest.fixture
async def deliverer(real_redis: Client) -> AsyncIterator[Callable[..., Deliverer]]:
    """Makes deliverers, and closes them at the end."""
    deliverers: list[Any] = []

    def make(
        config: WebhooksConfig = LOOPBACK,
        settings: Settings = QUICK,
        observer: RunObserver = UNOBSERVED,
    ) -> Deliverer:
        caller = open_client(config, settings)
        deliverer = Deliverer(real_redis, caller, settings, observer=observer)
        deliverers.append((deliverer, caller))
        return deliverer

    yield make
    for one, caller in deliverers:
        await one.drain()
        await caller.aclose()


async def deliver_all(redis: Client, deliverer: Deliverer) -> None:
    """Delivers until no delivery is left."""

    async def done() -> bool:
        await deliverer.run_once()
        return not await redis.zcard(keys.deliveries())

    await until(done, what="the end of all deliveries")


async def test_a_delivery_has_a_payload_and_a_signature(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    secret = "whsec_" + base64.b64encode(b"the older key").decode()
    run_id = await ended(real_redis, f"{receiver.url}/hook?a=b")
    config = replace_headers({"X-Token": "t-1"})
    settings = replace(QUICK, webhook_secret=f"newer key, {secret}")
    await deliver_all(real_redis, deliverer(config, settings))
    [request] = receiver.requests
    assert (request.path, request.headers["x-token"]) == ("/hook?a=b", "t-1")
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-id"] == request.json["run_id"] == run_id
    assert (request.json["status"], request.json["values"]) == ("success", {"n": 1})
    # The verification that the documentation describes:
    content = f"{run_id}.{request.headers['webhook-timestamp']}.".encode() + request.body
    for key in (b"newer key", b"the older key"):
        digest = hmac.new(key, content, hashlib.sha256).digest()
        expected = "v1," + base64.b64encode(digest).decode()
        assert expected in request.headers["webhook-signature"].split(" ")


class Outcomes(RunObserver):
    """Notes what became of each call."""

    def __init__(self) -> None:
        self.outcomes: list[str] = []

    def webhook_called(self, outcome: WebhookOutcome, seconds: float) -> None:
        assert 0 <= seconds < 60
        self.outcomes.append(outcome)


def replace_headers(added_headers: dict[str, str]) -> WebhooksConfig:
    return WebhooksConfig(url=LOOPBACK.url, headers=added_headers)


@pytest.mark.parametrize("fault", ["500", "404", "302", "closed", "down", "silent"])
async def test_a_failed_delivery_is_retried_with_the_same_id(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer], fault: str
) -> None:
    def answer(request: ReceivedRequest) -> Reply:
        if len(receiver.requests) >= 3:
            return 200, {}
        match fault:
            case "closed":
                raise ConnectionAbortedError
            case "silent":
                return 100, {}
            case "302":
                return 302, {"location": f"{receiver.url}/elsewhere"}
        return int(fault), {}

    if fault == "down":
        receiver.stop()
    else:
        receiver.answer = answer
    run_id = await ended(real_redis, f"{receiver.url}/hook")
    one = deliverer(settings=replace(QUICK, webhook_timeout=0.3))
    await one.run_once()
    if fault == "down":
        await until(lambda: has_tried(real_redis, run_id))
        receiver.start()
    await deliver_all(real_redis, one)
    assert len(receiver.requests) == (1 if fault == "down" else 3)
    assert {request.headers["webhook-id"] for request in receiver.requests} == {run_id}
    assert {request.path for request in receiver.requests} == {
        "/hook"
    }  # a redirect is not followed


async def has_tried(redis: Client, run_id: str) -> bool:
    [member] = await redis.zrange(keys.deliveries(), 0, -1)
    tries = await redis.hget(keys.delivery(member.decode().split("/")[0], run_id), "tries")  # type: ignore[misc]
    return int(tries or 0) > 0


async def test_retry_after_and_410_are_respected(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    receiver.answer = lambda request: (
        (503, {"retry-after": "1"}) if len(receiver.requests) == 1 else (410, {})
    )
    await ended(real_redis, receiver.url)
    seen = Outcomes()
    await deliver_all(real_redis, deliverer(observer=seen))
    first, second = receiver.requests
    assert second.at - first.at >= 1
    assert seen.outcomes == ["retried", "given_up"]


async def test_a_delivery_is_dropped_after_its_retry_period(
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    caplog: pytest.LogCaptureFixture,
) -> None:
    receiver.answer = lambda request: (500, {})
    run_id = await ended(real_redis, receiver.url)
    with caplog.at_level(logging.ERROR):
        await deliver_all(real_redis, deliverer(settings=replace(QUICK, webhook_give_up=1.0)))
    assert len(receiver.requests) > 1
    assert f"webhook of run {run_id} is given up" in caplog.text


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "loopback.example"])
async def test_an_internal_address_is_not_called_under_any_name(
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    host: str,
) -> None:
    async def resolve(name: str, port: int, **_: Any) -> list[Any]:
        return [(2, 1, 6, "", ("8.8.8.8", port)), (2, 1, 6, "", ("127.0.0.1", port))]

    if host == "loopback.example":  # a name with an internal address
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
    await ended(real_redis, receiver.url.replace("127.0.0.1", host))
    with caplog.at_level(logging.ERROR):
        await deliver_all(real_redis, deliverer(WebhooksConfig()))
    assert receiver.requests == []
    assert "is not called" in caplog.text


async def test_a_delivery_may_be_repeated_after_a_redis_outage(
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
    [member] = await real_redis.zrange(keys.deliveries(), 0, -1)
    await real_redis.zadd(keys.deliveries(), {member: 1})  # as after the lease lapsed
    await deliver_all(real_redis, deliverer())
    assert [request.headers["webhook-id"] for request in receiver.requests] == [run_id, run_id]


async def test_a_path_is_called_on_the_deployment(
    real_redis: Client, receiver: Receiver, deliverer: Callable[..., Deliverer]
) -> None:
    await ended(real_redis, "/hooks/done?x=1")
    settings = replace(QUICK, webhook_base_url=f"{receiver.url}/")
    await deliver_all(real_redis, deliverer(WebhooksConfig(), settings))
    assert [request.path for request in receiver.requests] == ["/hooks/done?x=1"]


@pytest.mark.parametrize(
    ("domains", "url", "sent"),
    [
        ([], "http://127.0.0.1:{port}/x", False),
        (["127.0.0.1"], "http://127.0.0.1:{port}/x", True),
        (["*"], "http://127.0.0.1:{port}/x", True),
        ([], "/relative", True),
    ],
)
async def test_secrets_are_sent_only_to_hosts_that_the_operator_chose(
    domains: list[str],
    url: str,
    sent: bool,
    real_redis: Client,
    receiver: Receiver,
    deliverer: Callable[..., Deliverer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setenv("LG_WEBHOOK_T", "the-secret")
    await ended(real_redis, url.format(port=urlsplit(receiver.url).port))
    config = WebhooksConfig(
        url=WebhookUrls(disable_loopback=False, allowed_domains=domains),
        headers={"X-Secret": "Bearer ${{ env.LG_WEBHOOK_T }}", "X-Plain": "p"},
    )
    settings = replace(QUICK, webhook_base_url=receiver.url)
    await deliver_all(real_redis, deliverer(config, settings))
    [request] = receiver.requests
    assert request.headers["x-plain"] == "p"
    assert request.headers.get("x-secret") == ("Bearer the-secret" if sent else None)
    assert ("webhooks.headers: X-Secret" in caplog.text) is not bool(domains)


# ── What the project says ───────────────────────────────────────────────────────────────────


def test_headers_use_environment_variables() -> None:
    config = WebhooksConfig(headers={"X-A": "Bearer ${{ env.LG_WEBHOOK_T }}/${{env.LG_WEBHOOK_U}}"})
    environ = {"LG_WEBHOOK_T": "t", "LG_WEBHOOK_U": "u", "OTHER": "o"}
    assert headers_of(config, environ) == {"X-A": "Bearer t/u"}
    prefixed = WebhooksConfig(env_prefix="OTH", headers={"X": "${{ env.OTHER }}"})
    assert headers_of(prefixed, environ) == {"X": "o"}


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
def test_invalid_headers_are_rejected(name: str, value: str, said: str) -> None:
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
def test_invalid_settings_are_rejected(settings: Settings, said: str) -> None:
    with pytest.raises(SettingError, match=said):
        open_client(WebhooksConfig(), settings)


def test_workers_announce_the_webhook_policy() -> None:
    config = WebhooksConfig(url=WebhookUrls(require_https=True, allowed_ports=[443]))
    policy = policy_of(
        config, Settings(webhook_networks="10.0.0.0/8", webhook_base_url="https://a.b")
    )
    assert (policy.require_https, policy.allowed_ports) == (True, [443])
    assert (policy.networks, policy.relative, policy.disable_loopback) == (
        ["10.0.0.0/8"],
        True,
        True,
    )


def test_the_signature_equals_the_example_of_the_standard() -> None:
    # The example in the specification of Standard Webhooks.
    [key] = read_signing_keys("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
