"""The environment variables: each with its default, unit and effect."""

import ipaddress
import os
import re
from collections.abc import Mapping
from dataclasses import Field, dataclass, fields
from typing import Any, Final
from urllib.parse import urlsplit

from millstream.shared.auth_settings import AuthSettings
from millstream.shared.errors import SettingError
from millstream.shared.limit_settings import LimitSettings
from millstream.shared.rules.fair_shares import AdmissionLimits, parse_weights
from millstream.shared.rules.lease_policy import LeasePolicy
from millstream.shared.rules.queue_names import DEFAULT, queue_name_error, split_queue_names
from millstream.shared.setting import read_values, setting, table_of
from millstream.shared.trace_settings import TraceSettings

DEFAULT_REDIS_URL: Final = "redis://localhost:6379/0"


@dataclass(frozen=True, slots=True)
class Settings(AuthSettings):
    """The settings that a process reads from its environment when it starts."""

    redis_url: str = setting(
        "REDIS_URL REDIS_URI",
        DEFAULT_REDIS_URL,
        "The Redis or Valkey that all processes share; also `redis+sentinel://`: see operations.md.",
        secret=True,
    )
    queue: str = setting(
        "MILLSTREAM_QUEUE",
        DEFAULT,
        "The queues that a worker serves, separated by commas (docs/operations.md).",
    )
    jobs_per_worker: int = setting(
        "N_JOBS_PER_WORKER", 10, "Runs that one worker executes at the same time.", low=1
    )
    worker_loop: str = setting(
        "WORKER_LOOP",
        "uvloop",
        "The event loop that graphs run on; `asyncio` for libraries that patch the loop (`nest_asyncio`).",
        choices="uvloop asyncio",
    )
    job_timeout: float = setting(
        "BG_JOB_TIMEOUT_SECS",
        3600.0,
        "A run that takes longer ends as `timeout`.",
        low=0.1,
        unit="s",
    )
    lease: float = setting(
        "LEASE_SECS",
        10.0,
        "A worker that renews no lease for this long has lost its runs.",
        low=0.3,
        unit="s",
    )
    drain_grace: float = setting(
        "BG_JOB_SHUTDOWN_GRACE_PERIOD_SECS",
        180.0,
        "After SIGTERM a worker lets its runs continue for this long, then hands them back.",
        low=0,
        unit="s",
    )
    max_attempts: int = setting(
        "RUN_MAX_ATTEMPTS",
        3,
        "A run that ends the process that executes it is given up as `error` after this number of attempts.",
        low=1,
    )
    isolated_processes: int = setting(
        "ISOLATED_PROCESSES",
        4,
        "Processes that a worker may have at the same time for runs that are executed apart (docs/lifecycle.md).",
        low=1,
    )
    stream_ttl: int = setting(
        "RESUMABLE_STREAM_TTL_SECONDS", 3600, "Events stay readable for this long after the run's end.",
        low=1, unit="s",
    )  # fmt: skip
    stream_max_events: int = setting(
        "STREAM_MAX_EVENTS",
        50_000,
        "Events that are kept per run; older ones are trimmed.",
        low=100,
    )
    max_event: int = setting(
        "STREAM_MAX_EVENT_BYTES",
        32 * 1024 * 1024,
        "A larger event is replaced by an `error` event; a larger state is not kept on the thread.",
        low=1024,
        high=128 * 1024 * 1024,
        unit="bytes",
    )
    max_history: int = setting(
        "LANGGRAPH_THREAD_HISTORY_MAX_STATE_BYTES",
        0,
        "The largest page of a thread's history; a page has at least one state. 0: 64 MiB.",
        low=0,
        unit="bytes",
    )
    max_live: int = setting(
        "QUEUE_MAX_DEPTH",
        100_000,
        "Runs that may be pending or running at the same time; a further one gets 429. 0: no limit.",
        low=0,
    )
    keepalive: float = setting(
        "KEEPALIVE_INTERVAL_SECS", 5.0, "The longest silence of a stream or a wait; then a keepalive is sent.",
        low=0.05, unit="s",
    )  # fmt: skip
    disconnect_grace: float = setting(
        "DISCONNECT_GRACE_SECS",
        0.0,
        "A client that left (`on_disconnect=cancel`) may reconnect within this time.",
        low=0,
        unit="s",
    )
    call_timeout: float = setting(
        "CALL_TIMEOUT_SECS", 10.0, "A worker must answer a call from the API within this time.",
        low=0.1, unit="s",
    )  # fmt: skip
    cors_allow_origins: str = setting(
        "CORS_ALLOW_ORIGINS",
        "*",
        "Origins whose pages may call the API, separated by commas; `*` is any. `http.cors` of langgraph.json wins.",
    )
    cors_allow_origin_regex: str = setting(
        "CORS_ALLOW_ORIGIN_REGEX",
        "",
        "A pattern of further such origins; it must match the whole origin.",
    )
    allowed_hosts: str = setting(
        "MILLSTREAM_ALLOWED_HOSTS",
        "*",
        "Names in the `Host` header under which the API may be called, separated by commas; `*.example` is each name "
        "below, `*` any. `millstream dev` on a loopback address accepts local names alone.",
    )
    forwarded_allow_ips: str = setting(
        "FORWARDED_ALLOW_IPS",
        "127.0.0.1,::1",
        "Proxies whose `X-Forwarded-*` headers are believed (docs/proxies.md): addresses and networks, "
        "separated by commas; `*` is any.",
    )
    public_url: str = setting(
        "MILLSTREAM_PUBLIC_URL LANGGRAPH_API_URL",
        "",
        "Where clients reach the API, with its prefix: `https://agents.example/api`. Empty: taken from the "
        "request and from trusted proxies.",
    )
    a2a_assistant: str = setting(
        "A2A_ASSISTANT",
        "",
        "The assistant (its id, or its graph's name) whose card is at `/.well-known/agent-card.json`. Empty: "
        "the only graph, if there is only one.",
    )
    auth_timeout: float = setting(
        "AUTH_TIMEOUT", 10.0, "The project's `auth` must answer a question within this time; else 503.",
        low=0.1, high=300, unit="s",
    )  # fmt: skip
    auth_processes: int = setting(
        "AUTH_PROCESSES",
        1,
        "Processes of one API in which the project's `auth` is executed (docs/auth.md).",
        low=1,
        high=64,
    )
    auth_deny_unhandled: str = setting(
        "AUTH_DENY_UNHANDLED",
        "false",
        "`true` denies what no handler of the project's `auth` decides on. LangGraph's server allows it.",
        choices="true false 1 0",
    )
    studio_access: str = setting(
        "MILLSTREAM_STUDIO_ACCESS",
        "false",
        "`true` lets LangGraph Studio in without credentials, unless the project's `auth` disables that: for one's own "
        "machine. `millstream dev` sets it on a loopback address.",
        choices="true false 1 0",
    )
    mask_errors: str = setting(
        "MASK_ERRORS", "false", "`true` hides the exceptions of graphs from clients; the log has them (docs/api.md).",
        choices="true false 1 0",
    )  # fmt: skip
    redis_max_connections: int = setting(
        "REDIS_MAX_CONNECTIONS", 2000, "Connections that one process may open to Redis.", low=8
    )
    checkpointer: str = setting(
        "CHECKPOINTER",
        "millstream",
        "The checkpointer: `millstream` or `langgraph-redis` (docs/checkpoints.md).",
        choices="millstream langgraph-redis",
    )
    aes_key: str = setting(
        "LANGGRAPH_AES_KEY",
        "",
        "Encrypts users' data in Redis (docs/checkpoints.md): 16, 24 or 32 bytes. All APIs and workers need it.",
        secret=True,
    )
    api_url: str = setting(
        "MILLSTREAM_API_URL",
        "",
        "Where graphs that call their own server reach its API (docs/operations.md); `millstream dev` sets it. "
        "Empty: MILLSTREAM_PUBLIC_URL.",
    )
    aes_fallback_keys: str = setting(
        "LANGGRAPH_AES_FALLBACK_KEYS",
        "",
        "Earlier keys, separated by commas: data that they encrypted stay readable.",
        secret=True,
    )
    webhook_secret: str = setting(
        "WEBHOOK_SECRET",
        "",
        "Signs the calls of webhooks (docs/webhooks.md); several, separated by commas, while one replaces the other.",
        secret=True,
    )
    webhook_networks: str = setting(
        "WEBHOOK_NETWORKS",
        "",
        "Private networks that webhooks may reach: `10.1.0.0/16,192.168.7.9/32`.",
    )
    webhook_base_url: str = setting(
        "WEBHOOK_BASE_URL",
        "",
        "The base URL of webhooks that are only a path: `https://app.example`.",
    )
    webhook_timeout: float = setting(
        "WEBHOOK_TIMEOUT_SECS", 10.0, "A receiver must respond within this time.",
        low=0.1, high=300, unit="s",
    )  # fmt: skip
    webhook_retry: float = setting(
        "WEBHOOK_RETRY_SECS",
        5.0,
        "The pause after a webhook's first failed call; it doubles with each further one, up to an hour.",
        low=0.05,
        high=3600,
        unit="s",
    )
    webhook_give_up: float = setting(
        "WEBHOOK_GIVE_UP_SECS", 86400.0, "The time after a run's end after which its webhook is given up.",
        low=1, high=3 * 86400, unit="s",
    )  # fmt: skip
    alive_file: str = setting(
        "MILLSTREAM_ALIVE_FILE",
        "",
        "A worker touches this file every 5 s while it works, for health checks (docs/deploy.md). Empty: none.",
    )
    metrics: str = setting(
        "ENABLE_PROMETHEUS_METRICS",
        "auto",
        "Whether processes have metrics (docs/metrics.md). `auto`: if prometheus-client is installed "
        '(`pip install "millstream[metrics]"`); with `true` a process without it does not start.',
        choices="auto true false 1 0",
    )
    metrics_port: int = setting(
        "METRICS_PORT",
        0,
        "The port on which a worker serves `/metrics`. 0: none. An API serves it on its own port.",
        low=0,
        high=65535,
    )
    metrics_host: str = setting(
        "METRICS_HOST", "0.0.0.0", "The address on which a worker serves `/metrics`."
    )
    metric_prefix: str = setting(
        "METRIC_PREFIX",
        "",
        "`lg_api_` adds the metrics of LangGraph's server to those of an API, under this prefix. Empty: none.",
    )
    project_id: str = setting(
        "LANGSMITH_HOST_PROJECT_ID",
        "",
        "The label `project_id` of the metrics under METRIC_PREFIX.",
    )
    revision_id: str = setting("LANGSMITH_HOST_REVISION_ID", "", "Their label `revision_id`.")
    deployment_type: str = setting("LSD_DEPLOYMENT_TYPE", "", "Their label `deployment_type`.")

    def __post_init__(self) -> None:
        """Raises SettingError for values that would fail only later."""
        self.check_limits()
        self.check_auth()
        self.check_traces()
        self.check_logs()
        _check_queues(self.queue)
        keys = [("LANGGRAPH_AES_KEY", self.aes_key)] if self.aes_key else []
        keys += [("A key of LANGGRAPH_AES_FALLBACK_KEYS", key) for key in self.earlier_keys]
        for name, key in keys:
            if (size := len(key.encode())) not in (16, 24, 32):
                raise SettingError(f"{name} is {size} bytes long: it must be 16, 24 or 32 bytes.")
        if self.earlier_keys and not self.aes_key:
            raise SettingError(
                "LANGGRAPH_AES_FALLBACK_KEYS is set without LANGGRAPH_AES_KEY, which encrypts new "
                "data: set it too."
            )
        if self.metric_prefix and not re.fullmatch(r"[a-zA-Z_][a-zA-Z0-9_]*", self.metric_prefix):
            raise SettingError(
                f"METRIC_PREFIX={self.metric_prefix!r} is invalid: use letters, digits and _, such as lg_api_."
            )
        try:
            re.compile(self.cors_allow_origin_regex)
        except re.error as error:
            raise SettingError(
                f"CORS_ALLOW_ORIGIN_REGEX={self.cors_allow_origin_regex!r} is not a pattern: {error}."
            ) from None
        if self.forwarded_allow_ips != "*":
            for proxy in self.forwarded_allow_ips.split(","):
                _check_network("FORWARDED_ALLOW_IPS", proxy.strip())
        if self.api_url:
            _check_url("MILLSTREAM_API_URL", self.api_url)
        if self.public_url:
            _check_url("MILLSTREAM_PUBLIC_URL", self.public_url)

    @property
    def queues(self) -> tuple[str, ...]:
        """The names of the queues that a worker serves, each once."""
        return split_queue_names(self.queue)

    @property
    def lease_policy(self) -> LeasePolicy:
        """All times that follow from the lease."""
        return LeasePolicy(self.lease)

    @property
    def admission_limits(self) -> AdmissionLimits:
        """What applies to the runs that this process admits."""
        weights = parse_weights(self.share_weights)
        return AdmissionLimits(self.max_live, self.max_live_of_identity, weights)

    @property
    def earlier_keys(self) -> list[str]:
        """The earlier keys, with which stored checkpoints may be encrypted."""
        return [key for key in self.aes_fallback_keys.split(",") if key]

    @classmethod
    def from_env(cls, environ: Mapping[str, str] | None = None) -> "Settings":
        """Reads the environment; raises SettingError, which names the variable and its limits."""
        return cls(**read_values(cls, os.environ if environ is None else environ))


def _check_queues(text: str) -> None:
    names = split_queue_names(text)
    if not names:
        raise SettingError(f"MILLSTREAM_QUEUE={text!r} names no queue.")
    for name in names:
        if reason := queue_name_error(name):
            raise SettingError(f"MILLSTREAM_QUEUE: {reason}.")


def _check_network(name: str, text: str) -> None:
    try:
        ipaddress.ip_network(text)
    except ValueError as error:
        raise SettingError(
            f"{name}: {text!r} is neither an address nor a network: {error}."
        ) from None


def _check_url(name: str, text: str) -> None:
    try:
        url = urlsplit(text)
        usable = url.scheme in ("http", "https") and url.hostname and url.port != 0
    except ValueError:
        usable = False
    if not usable or url.query or url.fragment or not text.isprintable() or " " in text:
        raise SettingError(
            f"{name}={text!r} is not a URL of an API: use `https://host`, with a port and a path if necessary."
        )


def declared() -> list[Field[Any]]:
    """Returns all settings in the order of the table: those of a general class are the last."""
    groups: list[list[Field[Any]]] = []
    seen: set[str] = set()
    for settings in (TraceSettings, LimitSettings, AuthSettings, Settings):
        groups.insert(0, [each for each in fields(settings) if each.name not in seen])
        seen |= {each.name for each in groups[0]}
    return [each for group in groups for each in group]


def table() -> str:
    """Returns the Markdown table of all settings for docs/settings.md."""
    return table_of(declared())
