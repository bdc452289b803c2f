"""Parses REDIS_URL: redis-py's URLs, and a form for Sentinel that redis-py lacks."""

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
_USER: Final = re.compile(r"[^:@/?]+(?=:)")
_OPTION: Final = re.compile(r"([?&])([^=&]*)=([^&]*)")
_ONE_PART: Final = re.compile(r"[^:@/?,]+")
MAX_PORT_CHARS: Final = 5
MASK: Final = "***"


@dataclass(frozen=True, slots=True)
class SentinelUrl:
    """A parsed URL of a Redis whose master is found through sentinels.

    Attributes:
        sentinels: their addresses, in the order in which they are tried.
        master: its name in the sentinels' configuration.
        data_url: a URL for redis-py, without a host, with the options for connections to the master.
        sentinel_url: the same for connections to the sentinels.
    """

    sentinels: tuple[Address, ...]
    master: str
    data_url: str
    sentinel_url: str


def parse(url: str) -> SentinelUrl | None:
    """Parses a URL with sentinels; returns None for a valid URL of redis-py.

    Raises SettingError, with the expected form, for an invalid URL.
    """
    scheme = _SENTINEL.match(url)
    if scheme is None:
        try:
            parse_url(url)  # type: ignore[no-untyped-call]
        except ValueError as error:
            _reject(url, str(error).rstrip("."))
        return None
    rest, _, query = url[scheme.end() :].partition("?")
    authority, _, path = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    master, _, db = path.rstrip("/").partition("/")
    if not hosts:
        _reject(url, "it names no sentinel")
    if not master:
        _reject(url, "it names no master")
    if db and not (db.isascii() and db.isdigit()):
        _reject(
            url, f"the database after the name of the master must be a number, but it is {db!r}"
        )
    sentinels = tuple(_address(url, host) for host in hosts.split(","))

    options = dict(parse_qsl(query, keep_blank_values=True))
    sentinel_options = {
        name: options.pop(name) for name in list(options) if name.startswith("sentinel_")
    }
    sentinel_login = _login(
        sentinel_options.pop("sentinel_username", ""), sentinel_options.pop("sentinel_password", "")
    )
    if sentinel_options:
        _reject(url, f"there is no option {min(sentinel_options)}")
    tls = {name: value for name, value in options.items() if name.startswith("ssl_")}
    user, _, password = login.partition(":")
    base_scheme = scheme[1].lower()
    parsed = SentinelUrl(
        sentinels,
        unquote(master),
        f"{base_scheme}://{_login(unquote(user), unquote(password))}/{db or 0}{_query(options)}",
        f"{base_scheme}://{sentinel_login}/{_query(tls)}",
    )
    try:
        parse_url(parsed.data_url)  # type: ignore[no-untyped-call]
    except ValueError as error:
        _reject(url, str(error).rstrip("."))
    return parsed


def check_url(url: str) -> None:
    """Raises SettingError, with the expected form, for a URL that `connect` would reject."""
    parse(url)


def masked(url: str) -> str:
    """Returns the URL with `***` in server of its passwords, for logs and messages.

    It may lack a scheme, or have characters in the password that are not percent-encoded. Where the end of a password
    is unknown, all that could be a part of it is masked.
    """
    scheme, separator, rest = _split_scheme(url)
    if not separator and _ONE_PART.fullmatch(url):
        return MASK  # a password in the place of the URL looks like a host
    login, at, server = rest.rpartition("@")
    if at and "?" in login:
        return (
            f"{scheme}{separator}{MASK}"  # a password contains a ? or an @, so its end is unknown
        )
    if at:
        user = _USER.match(login) if separator else None
        login = (
            f"{user[0]}:{MASK}" if user else f":{MASK}" if separator and login[:1] == ":" else MASK
        )
    server, mark, options = server.partition("?")
    hosts, slash, path = server.partition("/")
    hosts = ",".join(map(_mask_port, hosts.split(",")))  # the login may be there without a host
    return f"{scheme}{separator}{login}{at}{hosts}{slash}{path}" + _OPTION.sub(
        _mask_option, mark + options
    )


def passwords(url: str) -> list[str]:
    """Returns the passwords in a valid URL, as they are written and as they are decoded."""
    _, _, rest = _split_scheme(url)
    password = rest.rpartition("@")[0].partition(":")[2]
    options = parse_qsl(url.partition("?")[2])
    values = [value for name, value in options if "pass" in name.lower()]
    return [each for each in (password, unquote(password), *values) if each]


def _split_scheme(url: str) -> tuple[str, str, str]:
    """Returns the scheme, `://` and the rest; the first two are empty for a URL without a scheme."""
    scheme, separator, rest = url.partition("://")
    return (scheme, separator, rest) if separator else ("", "", url)


def _mask_port(address: str) -> str:
    """Returns `host:port`. What is no port, and too long to be a mistyped one, may be a password."""
    host, colon, port = address.rpartition(":")
    if colon and not address.startswith("[") and not port.isdigit() and len(port) > MAX_PORT_CHARS:
        return f"{host}:{MASK}"
    return address


def _mask_option(match: re.Match[str]) -> str:
    name = unquote(match[2]).lower()
    return f"{match[1]}{match[2]}={MASK if 'pass' in name else match[3]}"


def _address(url: str, text: str) -> Address:
    match = re.fullmatch(r"(\[[^\]]+\]|[^:\[\]]+)(?::(\d{1,5}))?", text.strip())
    port = SENTINEL_PORT if match is None or match[2] is None else int(match[2])
    if match is None or not 0 < port < 65536:
        _reject(url, f"{text.strip()!r} is not a host:port of a sentinel")
    return unquote(match[1].strip("[]")), port


def _login(user: str, password: str) -> str:
    if not user and not password:
        return ""
    return quote(user, safe="") + (f":{quote(password, safe='')}" if password else "") + "@"


def _query(options: dict[str, str]) -> str:
    return f"?{urlencode(options)}" if options else ""


def _reject(url: str, reason: str) -> NoReturn:
    safe = masked(url)
    # The reason may quote a part of a password that is not percent-encoded.
    for quoted in re.findall(r"'(.*?)'", reason, re.DOTALL):
        if quoted not in safe:
            reason = reason.replace(f"'{quoted}'", "this part")
    raise SettingError(
        f"{safe} is not a Redis URL: {reason}. It should look like {SHAPES}."
    ) from None
