"""What REDIS_URL says: redis-py's own URLs, and the one form for Sentinel that it lacks."""

import re
from dataclasses import dataclass
from typing import Final, NoReturn
from urllib.parse import parse_qsl, quote, unquote, urlencode

from redis.connection import parse_url

from millstream.shared.errors import SettingError

Address = tuple[str, int]  # host, port

SENTINEL_PORT: Final = 26379
SHAPES: Final = (
    "redis://[user:password@]host:6379/0, "
    "or redis+sentinel://[user:password@]host:26379,host:26379/master_name/0 "
    "(rediss:// and rediss+sentinel:// for TLS)"
)
_SENTINEL: Final = re.compile(r"(redis|rediss)\+sentinel://", re.IGNORECASE)
_PASSWORD: Final = re.compile(r"(?<=://)([^:@/?]*):.*@", re.DOTALL)
_PASSWORD_OPTION: Final = re.compile(
    r"([?&](?:sentinel_)?password=)[^&]*", re.IGNORECASE | re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Watched:
    """A Redis whose master sentinels know.

    Attributes:
        sentinels: whom to ask, in this order.
        master: the name that the sentinels know it by.
        data_url: a URL for redis-py, without a host: how to connect to the master.
        sentinel_url: the same, for how to connect to each sentinel.
    """

    sentinels: tuple[Address, ...]
    master: str
    data_url: str
    sentinel_url: str


def parse(url: str) -> Watched | None:
    """Returns what a URL says of its sentinels; None if redis-py takes it as it is.

    Raises SettingError, with how it should look, if nobody could take it.
    """
    scheme = _SENTINEL.match(url)
    if scheme is None:
        try:
            parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            _refuse(url, str(error).rstrip("."))
        return None
    rest, _, query = url[scheme.end() :].partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    master, _, db = path.rstrip("/").partition("/")
    if not hosts:
        _refuse(url, "it names no sentinel")
    if not master:
        _refuse(url, "it names no master")
    if db and not (db.isascii() and db.isdigit()):
        _refuse(url, f"after the name of the master there may be a database, but {db!r} is none")
    sentinels = tuple(_address(url, host) for host in hosts.split(","))

    options = dict(parse_qsl(query, keep_blank_values=True))
    asking = {name: options.pop(name) for name in list(options) if name.startswith("sentinel_")}
    sentinel_login = _login(
        asking.pop("sentinel_username", ""), asking.pop("sentinel_password", "")
    )
    if asking:
        _refuse(url, f"there is no option {min(asking)}")
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    user, _, password = login.partition(":")
    plain = scheme[1].lower()
    watched = Watched(
        sentinels,
        unquote(master),
        f"{plain}://{_login(unquote(user), unquote(password))}/{db or 0}{_query(options)}",
        f"{plain}://{sentinel_login}/{_query(tls)}",
    )
    try:
        parse_url(watched.data_url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        _refuse(url, str(error).rstrip("."))
    return watched


def check_url(url: str) -> None:
    """Raises SettingError, with how it should look, for a URL that `connect` could not take."""
    parse(url)


def masked(url: str) -> str:
    """Returns a Redis URL that can be shown: `***` stands for its passwords."""
    shown = _PASSWORD_OPTION.sub(r"\1***", url)
    # Up to the last @: a password that was not percent-encoded must not leak either.
    shown = _PASSWORD.sub(r"\1:***@", shown)
    if "***" in shown and "?" in url.rpartition("@")[0]:
        # A password holds a ? or an @: nobody can tell where it ends.
        return f"{url.partition('://')[0]}://***"
    return shown


def _address(url: str, text: str) -> Address:
    found = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text.strip())
    port = SENTINEL_PORT if found is None or found[2] is None else int(found[2])
    if found is None or not 0 < port < 65536:
        _refuse(url, f"{text.strip()!r} is no host:port of a sentinel")
    return unquote(found[1].strip("[]")), port


def _login(user: str, password: str) -> str:
    if not user and not password:
        return ""
    return quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + "@"


def _query(options: dict[str, str]) -> str:
    return f"?{urlencode(options)}" if options else ""


def _refuse(url: str, reason: str) -> NoReturn:
    shown = masked(url)
    # A password that was not percent-encoded may stand where something else was looked for.
    for quoted in re.findall(r"'(.*?)'", reason, re.DOTALL):
        if quoted not in shown:
            reason = reason.replace(f"'{quoted}'", "what stands there")
    raise SettingError(
        f"{shown} is no Redis URL: {reason}. It should look like {SHAPES}."
    ) from None
