"""The facts that checks judge. Each fact was read, or has the reason why it was not."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Generic, TypeVar

from millstream.shared.api_keys.records import ApiKey
from millstream.shared.figures import Figures
from millstream.shared.langgraph_json import ProjectFile
from millstream.shared.permissions import DeniedPermissions
from millstream.shared.settings import Settings

Value = TypeVar("Value")
NOT_READ: Final = "it was not read"


class UnreadError(Exception):
    """A check needs a fact that was not read; the text says why it was not."""


class Fact(Generic[Value]):
    """A fact that was read, or the reason why it was not.

    Attributes:
        reason: why it was not read; '' if it was.
        is_denied: whether the Redis user may not read it.
    """

    def __init__(
        self, value: Value | None = None, *, reason: str = "", is_denied: bool = False
    ) -> None:
        """`value` is None only if there is a `reason`."""
        self._value = value
        self.reason: Final = reason
        self.is_denied: Final = is_denied

    def __call__(self) -> Value:
        """Returns the value; raises UnreadError if the fact was not read."""
        if self._value is None:
            raise UnreadError(self.reason or NOT_READ)
        return self._value


UNREAD: Final[Fact[Any]] = Fact()


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """What REDIS_URL says."""

    url: str
    """With `***` for passwords."""
    user: str = "default"
    db: int = 0
    is_tls: bool = False
    has_sentinels: bool = False
    verifies_certificates: bool = True
    verifies_host: bool = False


@dataclass(frozen=True, slots=True)
class ConnectionFailure:
    """Why Redis can't be used at all."""

    kind: str
    """A key of `connection.FAILURES`."""
    detail: str
    """The error, without a password."""


@dataclass(frozen=True, slots=True)
class ServerInfo:
    """The reply to INFO, as redis-py parses it. Managed Redis hides fields, so each may be missing."""

    values: Mapping[str, Any]

    def number(self, name: str) -> int | None:
        """Returns a field that is a whole number; None if it is missing or is something else."""
        value = self.values.get(name)
        return value if isinstance(value, int) else None

    def text(self, name: str) -> str:
        """Returns a field as text; '' if it is missing."""
        return str(self.values.get(name, ""))


@dataclass(frozen=True, slots=True)
class Latency:
    """Round trips to Redis, in seconds, and how far its clock is ahead of the clock of this machine."""

    round_trips: tuple[float, ...]
    clock_ahead: float

    def percentile(self, share: float) -> float:
        """Returns the round trip that `share` of all do not exceed."""
        ordered = sorted(self.round_trips)
        return ordered[int(share * (len(ordered) - 1))]


@dataclass(frozen=True, slots=True)
class Certificate:
    """The certificate of a server that is reached over TLS."""

    expires_in: float | None
    """Seconds; None if the certificate is not verified, because then it can't be read."""
    host: str
    fits_host: bool | None
    """Whether it is for the host that the connection goes to; None if that was not found out."""


@dataclass(frozen=True, slots=True)
class GraphState:
    """A graph that workers announced."""

    graph_id: str
    queue: str
    is_served: bool
    unserved_for: float = 0.0
    """Seconds since its last worker stopped; 0 if that is unknown."""


@dataclass(frozen=True, slots=True)
class Lapsed:
    """The lapsed leases of one queue."""

    queue: str
    runs: int
    oldest_age: float
    """Seconds since the first of them lapsed."""


@dataclass(frozen=True, slots=True)
class Stuck:
    """What the reaper would repair."""

    runs: tuple[str, ...] = ()
    """Job ids."""
    threads: tuple[str, ...] = ()
    """Thread ids, of the threads that were checked."""
    deletions: int = 0
    """Threads whose deletion has begun and not ended."""


@dataclass(frozen=True, slots=True)
class OtherKeys:
    """Keys in the database that are not Millstream's, by their prefix, of the first `scanned` keys."""

    prefixes: Mapping[str, int]
    scanned: int


@dataclass(frozen=True, slots=True)
class Environment:
    """The settings of this process, with those of the project's env file."""

    settings: Settings | None
    error: str = ""
    """Why they are invalid; '' if they are valid."""
    contradicting: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    """Variables of one setting that have different values, by the one that counts."""


@dataclass(frozen=True, slots=True)
class ProjectState:
    """The langgraph.json of a folder."""

    file: ProjectFile | None
    error: str = ""
    """Why it can't be used; '' if it can."""
    missing_files: tuple[str, ...] = ()
    missing_folders: tuple[str, ...] = ()
    env_notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class GraphImport:
    """The result of importing the project's graphs in a process of its own."""

    error: str = ""


@dataclass(frozen=True, slots=True)
class ApiAnswer:
    """What an API answered at a URL that a setting names."""

    variable: str
    url: str
    failure: str = ""
    """Why there was no answer; '' if there was one."""
    status: int = 0
    is_millstream: bool = False
    is_open: bool = False
    """Whether it serves threads to a client without credentials."""


@dataclass(frozen=True, slots=True)
class IssuerState:
    """The issuer of JWTs that the settings name."""

    name: str = ""
    """'' without one."""
    error: str = ""
    """Why its keys can't be read; '' if they can."""


@dataclass(frozen=True, slots=True)
class KeyRing:
    """All API keys, and the time of Redis' clock (µs)."""

    keys: tuple[ApiKey, ...]
    now_us: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """All facts. A check calls those that it needs: `facts.info()`."""

    environment: Fact[Environment] = UNREAD
    target: Fact[Target] = UNREAD
    failure: Fact[ConnectionFailure | bool] = UNREAD
    """False: Redis answers."""
    latency: Fact[Latency] = UNREAD
    certificate: Fact[Certificate] = UNREAD
    info: Fact[ServerInfo] = UNREAD
    config: Fact[Mapping[str, str]] = UNREAD
    """The settings of the server that CONFIG GET returned."""
    slots: Fact[str] = UNREAD
    """The error of a script with keys of several slots; '' if it succeeded."""
    permissions: Fact[DeniedPermissions] = UNREAD
    figures: Fact[Figures] = UNREAD
    graphs: Fact[tuple[GraphState, ...]] = UNREAD
    lapsed: Fact[tuple[Lapsed, ...]] = UNREAD
    stuck: Fact[Stuck] = UNREAD
    other_keys: Fact[OtherKeys] = UNREAD
    api_keys: Fact[KeyRing] = UNREAD
    project: Fact[ProjectState] = UNREAD
    graph_import: Fact[GraphImport] = UNREAD
    api_answers: Fact[tuple[ApiAnswer, ...]] = UNREAD
    issuer: Fact[IssuerState] = UNREAD
