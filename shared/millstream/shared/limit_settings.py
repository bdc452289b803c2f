"""The environment variables of the limits of clients. Settings has them too: see settings.py."""

from dataclasses import dataclass

from millstream.shared.errors import SettingError
from millstream.shared.rules.fair_shares import parse_weights
from millstream.shared.rules.rate import Rate
from millstream.shared.setting import setting
from millstream.shared.trace_settings import TraceSettings


@dataclass(frozen=True, slots=True)
class LimitSettings(TraceSettings):
    """What one client may use of an API process; and the settings of traces and of the log."""

    max_body: int = setting(
        "HTTP_MAX_REQUEST_BODY_BYTES", 16 * 1024 * 1024, "Larger requests get 413.",
        low=1, unit="bytes",
    )  # fmt: skip
    max_message: int = setting(
        "WEBSOCKET_MAX_MESSAGE_BYTES", 4 * 1024 * 1024, "A larger message of a client closes its WebSocket.",
        low=1024, unit="bytes",
    )  # fmt: skip
    request_timeout: float = setting(
        "HTTP_REQUEST_TIMEOUT_SECS",
        60.0,
        "A request must arrive within this time, with its body; then it gets 408.",
        low=0.1,
        unit="s",
    )
    max_connections: int = setting(
        "HTTP_MAX_CONNECTIONS",
        0,
        "Connections of clients to one API process; further ones get 503. 0, or more than the file descriptors "
        "allow: as many as they allow.",
        low=0,
    )
    max_values: int = setting(
        "HTTP_MAX_REQUEST_BODY_VALUES",
        250_000,
        "JSON values in a request: objects, lists, texts, numbers. More get 413: they would hold up other clients.",
        low=100,
    )
    max_bodies: int = setting(
        "HTTP_MAX_BUFFERED_BYTES",
        256 * 1024 * 1024,
        "Bodies that an API process holds at the same time; a further one gets 503. One user or address may use an "
        "eighth of it, but always one whole request; then it gets 429.",
        low=1024,
        unit="bytes",
    )
    rate_of_requests: str = setting(
        "RATE_LIMIT_REQUESTS",
        "none",
        "Requests, messages and handshakes of WebSockets of one user, or without authentication of one client address: "
        "`100/s`, `600/min burst 50`; a further one gets 429 (docs/limits.md). `none`: no limit.",
    )
    rate_of_runs: str = setting(
        "RATE_LIMIT_RUNS",
        "none",
        "Runs that one user or address may start, in the same form.",
    )
    rate_of_failed_auth: str = setting(
        "RATE_LIMIT_FAILED_AUTH",
        "60/min burst 300",
        "Requests of one address whose credentials are invalid, per API process; then requests with credentials that "
        "have not been valid in this process get 429.",
    )
    max_streams: int = setting(
        "MAX_STREAMS_PER_USER",
        0,
        "Streams, waits and WebSockets that one user or address may have open in one API process; a further one gets "
        "429. 0: no limit.",
        low=0,
    )
    max_live_of_identity: int = setting(
        "MAX_RUNS_PER_USER",
        0,
        "Runs of one authenticated user that may be pending or running at the same time; a further one gets 429. "
        "0: no limit.",
        low=0,
    )
    share_weights: str = setting(
        "FAIR_SHARE_WEIGHTS",
        "",
        "Weights of users, by identity, whose queued runs start more or less often than those of others "
        "(docs/limits.md): `alice=4,batch-jobs=0.5`.",
    )

    @property
    def request_rate(self) -> Rate | None:
        """The rate of all requests of a caller."""
        return _rate(self.rate_of_requests)

    @property
    def run_rate(self) -> Rate | None:
        """The rate of the runs that a caller starts."""
        return _rate(self.rate_of_runs)

    @property
    def failed_auth_rate(self) -> Rate | None:
        """The rate of the requests of an address whose credentials are invalid."""
        return _rate(self.rate_of_failed_auth)

    def check_limits(self) -> None:
        """Raises SettingError for an invalid rate or weight."""
        for name, text in (
            ("RATE_LIMIT_REQUESTS", self.rate_of_requests),
            ("RATE_LIMIT_RUNS", self.rate_of_runs),
            ("RATE_LIMIT_FAILED_AUTH", self.rate_of_failed_auth),
        ):
            try:
                _rate(text)
            except ValueError as error:
                raise SettingError(f"{name}: {error}.") from None
        try:
            parse_weights(self.share_weights)
        except ValueError as error:
            raise SettingError(f"FAIR_SHARE_WEIGHTS: {error}.") from None


def _rate(text: str) -> Rate | None:
    return None if text == "none" else Rate.parse(text)
