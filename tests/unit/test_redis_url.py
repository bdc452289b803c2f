"""The forms of REDIS_URL, and how it is printed."""

import contextlib

import pytest
from redis.connection import SSLConnection, parse_url
from redis.exceptions import OutOfMemoryError, ReadOnlyError, ResponseError

from millstream.shared.errors import SettingError
from millstream.shared.redis import WRITES_REJECTED, check_url, connect, masked
from millstream.shared.redis.errors import RefusedWriteError, classify
from millstream.shared.redis.url import SentinelUrl, parse, passwords

SIX = "Error running script (call to f_abc): @user_script:1: @user_script: 1:"  # of Redis 6


def options(url: str) -> dict[str, object]:
    return dict(parse_url(url))  # type: ignore[no-untyped-call]


def watched(url: str) -> SentinelUrl:
    address = parse(url)
    assert address is not None
    return address


@pytest.mark.parametrize(
    "url",
    ["redis://localhost:6379/0", "rediss://bob:pw@host/1", "unix:///run/redis.sock?db=1"],
)
def test_a_redis_url_is_parsed_by_redis_py(url: str) -> None:
    assert parse(url) is None


@pytest.mark.parametrize(
    ("hosts", "sentinels"),
    [
        ("a", (("a", 26379),)),
        ("a:5000", (("a", 5000),)),
        ("a:5000,b,c:5002", (("a", 5000), ("b", 26379), ("c", 5002))),
        ("[::1]:5000,[fe80::1],10.0.0.1", (("::1", 5000), ("fe80::1", 26379), ("10.0.0.1", 26379))),
    ],
)
def test_a_sentinel_url_lists_hosts_and_ports(hosts: str, sentinels: object) -> None:
    address = watched(f"redis+sentinel://{hosts}/main")
    assert (address.sentinels, address.master) == (sentinels, "main")
    assert options(address.data_url) == {"db": 0}
    assert "host" not in options(address.sentinel_url)


@pytest.mark.parametrize(
    ("login", "expected"),
    [
        ("", {}),
        ("bob@", {"username": "bob"}),
        (":pw@", {"password": "pw"}),
        ("bob:pw@", {"username": "bob", "password": "pw"}),
        ("b%40b:p%2Fw%3A%25@", {"username": "b@b", "password": "p/w:%"}),
        (":p@w#d@", {"password": "p@w#d"}),
    ],
)
def test_the_login_is_for_the_master(login: str, expected: dict[str, str]) -> None:
    address = watched(f"redis+sentinel://{login}a,b/main/3")
    assert options(address.data_url) == {"db": 3, **expected}
    assert options(address.sentinel_url) in ({}, {"db": 0})


def test_the_sentinels_have_their_own_login() -> None:
    address = watched(
        "redis+sentinel://:pw@a/main?sentinel_username=sam&sentinel_password=s%26c&client_name=x"
    )
    assert options(address.data_url) == {"db": 0, "password": "pw", "client_name": "x"}
    sentinel_options = options(address.sentinel_url)
    assert (sentinel_options["username"], sentinel_options["password"]) == ("sam", "s&c")
    assert "client_name" not in sentinel_options


def test_tls_applies_to_master_and_sentinels() -> None:
    address = watched("REDISS+Sentinel://a/main?ssl_ca_certs=/ca.pem&socket_timeout=3")
    for url in (address.data_url, address.sentinel_url):
        assert options(url)["connection_class"] is SSLConnection
        assert options(url)["ssl_ca_certs"] == "/ca.pem"
    assert options(address.data_url)["socket_timeout"] == 3.0


@pytest.mark.parametrize(
    ("url", "compares"),
    [
        ("rediss://h", True),
        ("rediss://h?ssl_ca_certs=/ca.pem", True),
        ("rediss://h?ssl_check_hostname=false", False),
        ("rediss://h?ssl_cert_reqs=none", False),  # it accepts any certificate
        ("rediss+sentinel://h/main", False),
        ("rediss+sentinel://h/main?ssl_check_hostname=true", True),
        ("redis://h", False),
    ],
)
def test_the_certificate_is_compared_with_the_host(url: str, compares: bool) -> None:
    connection_options = connect(url).connection_pool.connection_kwargs
    assert connection_options.get("ssl_check_hostname", False) is compares


def test_a_percent_encoded_master_name_and_a_trailing_slash_are_accepted() -> None:
    assert watched("redis+sentinel://a/my%20main/").master == "my main"


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("localhost:6379", "must specify one of the following schemes"),
        ("sentinel://a/main", "must specify one of the following schemes"),
        ("redis://host:port/0", "Port could not be cast"),
        ("redis://host?socket_timeout=soon", "Invalid value for 'socket_timeout'"),
        ("redis+sentinel://", "it names no sentinel"),
        ("redis+sentinel:///main", "it names no sentinel"),
        ("redis+sentinel://bob:pw@/main", "it names no sentinel"),
        ("redis+sentinel://a,b", "it names no master"),
        ("redis+sentinel://a,b/", "it names no master"),
        ("redis+sentinel://a//0", "it names no master"),
        ("redis+sentinel://a,,b/main", "'' is not a host:port"),
        ("redis+sentinel://a:b/main", "'a:b' is not a host:port"),
        ("redis+sentinel://a:0/main", "'a:0' is not a host:port"),
        ("redis+sentinel://a:65536/main", "'a:65536' is not a host:port"),
        ("redis+sentinel://::1/main", "'::1' is not a host:port"),
        ("redis+sentinel://a/main/one", "but it is 'one'"),
        ("redis+sentinel://a/main/0/1", "but it is '0/1'"),
        ("redis+sentinel://a/main?sentinel_pasword=x", "there is no option sentinel_pasword"),
        ("redis+sentinel://a/main?socket_timeout=soon", "Invalid value for 'socket_timeout'"),
    ],
)
def test_an_invalid_url_raises_with_the_expected_form(url: str, reason: str) -> None:
    with pytest.raises(SettingError) as refused:
        check_url(url)
    assert reason in str(refused.value)
    assert "is not a Redis URL: " in str(refused.value)
    assert "redis+sentinel://[user:password@]host:26379,host:26379/master_name/0" in str(
        refused.value
    )
    with pytest.raises(SettingError):
        connect(url)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis+sentinel://a:1,b:2/main/0", "redis+sentinel://a:1,b:2/main/0"),
        ("redis+sentinel://:secret@a:1,b:2/main", "redis+sentinel://:***@a:1,b:2/main"),
        ("redis+sentinel://bob:se@c/ret@a:1,b:2/main", "redis+sentinel://bob:***@a:1,b:2/main"),
        (
            "rediss+sentinel://bob:secret@a/main?sentinel_username=sam&sentinel_password=secret&db=1",
            "rediss+sentinel://bob:***@a/main?sentinel_username=sam&sentinel_password=***&db=1",
        ),
        ("redis+sentinel://a:1,b:2/main?sentinel_password=secret@x", "redis+sentinel://***"),
        ("redis+sentinel://bob:x?password=secret@a:1/main", "redis+sentinel://***"),
        ("redis://bob:sec?ret@host", "redis://***"),
        ("redis://host?password=se/c:r@et", "redis://***"),
    ],
)
def test_passwords_in_urls_are_masked(url: str, expected: str) -> None:
    assert masked(url) == expected


@pytest.mark.parametrize(
    "url",
    [
        "user:S3CRET-PW@host:6379/0",
        ":S3CRET-PW@host",
        "S3CRET-PW@host",
        "//user:S3CRET-PW@host/0",
        "redis:user:S3CRET-PW@host",
        "redis:/user:S3CRET-PW@host",
        "redis://S3CRET-PW@host",
        "S3CRET-PW",
        "redis://user:S3CRET-PW@host:S3CRET-PW/0",
        "redis://:S3CRET-PW",
        "redis://user:S3CRET-PW",
        "user:S3CRET-PW",
        "redis://user%3AS3CRET-PW@host",
        "redis://user:S3CRET-PW/x@host",
        "redis://user:S3CRET-PW@host@host",
        "redis://user:S3CRET-PW#x@host",
        "redis://user:S3CRET-PW x@host",
        "redis://a://user:S3CRET-PW@host",
        "unix://user:S3CRET-PW@/run/redis.sock",
        "unix:///run/redis.sock?password=S3CRET-PW",
        "redis://host?pass%77ord=S3CRET-PW",
        "redis://host?PASSWORD=S3CRET-PW&db=1",
        "host:6379?password=S3CRET-PW",
        "redis+sentinel://user:S3CRET-PW",
        "redis+sentinel://a,b/main?sentinel_password=S3CRET-PW",
    ],
)
def test_no_form_of_a_url_shows_its_password(url: str) -> None:
    assert "S3CRET-PW" not in masked(url)
    with contextlib.suppress(SettingError):
        check_url(url)
        return
    with pytest.raises(SettingError) as refused:
        check_url(url)
    assert "S3CRET-PW" not in str(refused.value)


def test_hosts_ports_and_options_stay_readable() -> None:
    for url in ("redis://[::1]:6379/0", "redis://host:port/0", "unix:///run/redis.sock?db=1"):
        assert masked(url) == url
    assert masked("redis://host:6379/0?password=x&db=1") == "redis://host:6379/0?password=***&db=1"


def test_the_passwords_of_a_url_are_known_in_both_forms() -> None:
    assert passwords("redis://u:p%40w@host") == ["p%40w", "p@w"]
    assert passwords("redis+sentinel://a/main?sentinel_password=s%26c") == ["s&c"]
    assert passwords("redis://host:6379/0") == []


def test_the_error_for_an_invalid_url_hides_the_password() -> None:
    for url in (
        "redis+sentinel://bob:sec/ret@a,b",
        "redis+sentinel://bob:sec?ret@a/main",
        "redis+sentinel://bob:secret@a:b/main",
        "redis://bob:sec/ret@a",
    ):
        with pytest.raises(SettingError) as refused:
            check_url(url)
        assert "sec" not in str(refused.value)
        assert "ret" not in str(refused.value)


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("NOREPLICAS Not enough good replicas to write. script: abc, on @user_script:1.",
         RefusedWriteError),
        ("MISCONF Errors writing to the AOF file: No space left on device", RefusedWriteError),
        (f"{SIX} -READONLY You can't write against a read only replica.", ReadOnlyError),
        (f"{SIX} -OOM command not allowed when used memory > 'maxmemory'.", OutOfMemoryError),
    ],
)  # fmt: skip
def test_rejected_writes_are_classified(text: str, kind: type[Exception]) -> None:
    assert type(classify(ResponseError(text))) is kind
    assert issubclass(kind, WRITES_REJECTED)


def test_other_errors_are_unchanged() -> None:
    for error in (ResponseError("WRONGTYPE of READONLY things"), ReadOnlyError("You can't")):
        assert classify(error) is error
