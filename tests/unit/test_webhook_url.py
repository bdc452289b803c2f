"""URLs of webhooks: internal addresses are rejected in every notation."""

import ipaddress

import pytest

from millstream.shared.webhook_url import address_error, webhook_url_error
from millstream.shared.wire import WebhookPolicy

DEFAULT = WebhookPolicy()


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/hook?a=b", "http://example.com", "https://8.8.8.8:8443/x",
        "https://[2606:4700::1111]/", "https://sub.EXAMPLE.com./x",
    ],
)  # fmt: skip
def test_public_urls_are_allowed(url: str) -> None:
    assert webhook_url_error(url, DEFAULT) == ""


@pytest.mark.parametrize(
    "url",
    [
        "", "x", "example.com/x", "ftp://example.com", "file:///etc/passwd", "https://", "//example.com/x",
        "https://example.com:99999/", "https://u:p@example.com/", "https://example.com/a b",
        "https://example.com/\n", "https://exämple.com/", "https://example.com/ü", "https://example.com/\x7f",
        "http://[::1", "/relative",
        "http://localhost/", "http://LOCALHOST.:80/", "http://a.localhost/", "http://127.0.0.1/",
        "http://127.9.9.9/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://10.0.0.8/",
        "http://192.168.1.1/", "http://172.16.0.1/", "http://169.254.169.254/latest/meta-data",
        "http://[fd00::1]/", "http://[fe80::1]/", "http://0.0.0.0/", "http://100.64.0.1/",
        "http://168.63.129.16/", "http://192.0.0.192/", "http://[64:ff9b:1::1]/", "http://[::10.0.0.8]/",
        "http://[::8.8.8.8]/", "http://[fec0::1]/", "http://192.88.99.1/", "http://[3fff::1]/", "http://[5f00::1]/",
        "http://198.18.0.1/", "http://240.0.0.1/", "http://[2001:db8::1]/", "http://[2001:10::1]/",
        "http://224.0.0.1/", "http://[64:ff9b::a00:1]/", "http://[2002:a00:1::]/",
        "https://example.com/" + "x" * 65536,
    ],
)  # fmt: skip
def test_internal_and_invalid_urls_are_rejected(url: str) -> None:
    assert webhook_url_error(url, DEFAULT)


@pytest.mark.parametrize(
    ("policy", "fine", "wrong"),
    [
        ({"require_https": True}, ["https://a.com"], ["http://a.com"]),
        (
            {"allowed_domains": ["a.com", "*.b.com"]},
            ["https://A.com/x", "https://x.b.com", "https://x.y.b.com"],
            ["https://b.com", "https://xb.com", "https://x.a.com", "https://8.8.8.8"],
        ),
        (
            {"allowed_domains": ["*"]},
            ["https://a.com", "https://8.8.8.8"],
            ["http://127.0.0.1", "http://localhost"],
        ),
        (
            {"allowed_ports": [443, 8443]},
            ["https://a.com", "https://a.com:8443"],
            ["http://a.com", "https://a.com:80"],
        ),
        ({"max_url_length": 20}, ["https://a.com/123456"], ["https://a.com/1234567"]),
        (
            {"disable_loopback": False},
            ["http://localhost:8000/", "http://127.0.0.1/", "http://[::1]/"],
            ["http://10.0.0.1/", "http://169.254.169.254/"],
        ),
        (
            {"networks": ["10.1.0.0/16", "fd00::/8"]},
            ["http://10.1.2.3/", "http://[fd00::5]/"],
            ["http://10.2.0.1/", "http://127.0.0.1/"],
        ),
        ({"relative": True}, ["/hooks/done?x=1"], ["//evil.com/x", "http://127.0.0.1/"]),
    ],
)
def test_a_project_restricts_and_extends_the_urls(
    policy: dict[str, object], fine: list[str], wrong: list[str]
) -> None:
    webhook_policy = WebhookPolicy(**policy)  # type: ignore[arg-type]
    assert [webhook_url_error(url, webhook_policy) for url in fine] == [""] * len(fine)
    assert all(webhook_url_error(url, webhook_policy) for url in wrong)


def test_an_address_that_embeds_an_internal_one_is_rejected() -> None:
    mapped = ipaddress.ip_address("::ffff:8.8.8.8")
    assert address_error(mapped, DEFAULT) == ""
    assert address_error(ipaddress.ip_address("::ffff:10.0.0.1"), DEFAULT)
