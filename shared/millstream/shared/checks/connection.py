"""Judges how Redis is reached: connection, round trips, clock and certificate."""

from collections.abc import Iterator
from typing import Final

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, error, warning

SLOW_MEDIAN_SECONDS: Final = 0.010
SLOW_P99_SECONDS: Final = 0.100
MAX_CLOCK_SECONDS: Final = 2.0
DAY_SECONDS: Final = 86400.0
EXPIRES_SOON_DAYS: Final = 21
MANAGED: Final = "redis-cli -u REDIS_URL PING must answer PONG from this machine"

# Kind of failure (connection_reader.py) → what, why, what solves it. `{detail}` is the error.
FAILURES: Final[dict[str, tuple[str, str, str]]] = {
    "login": (
        "Redis at {url} rejects the login of the user {user!r}",
        "no process can connect: {detail}",
        "correct the user and the password in REDIS_URL; special characters are percent-encoded",
    ),
    "database": (
        "Redis at {url} has no database {db}",
        "some managed Redis have database 0 alone: {detail}",
        "end REDIS_URL with /0",
    ),
    "clients": (
        "Redis at {url} accepts no further connection",
        "its maxclients is reached, so processes can't connect: {detail}",
        "redis-cli CONFIG SET maxclients 10000, or a smaller REDIS_MAX_CONNECTIONS of the APIs",
    ),
    "certificate": (
        "The TLS certificate of Redis at {url} is not accepted",
        "no process can connect: {detail}",
        "renew the certificate, or name its authority with ?ssl_ca_certs=PATH in REDIS_URL",
    ),
    "host": (
        "The TLS certificate of Redis at {url} is for another host",
        "no process can connect, as another server may answer in the place of Redis: {detail}",
        "connect by a name that the certificate has; ?ssl_check_hostname=false accepts one for any host",
    ),
    "tls": (
        "There is no TLS connection to Redis at {url}",
        "one side speaks TLS and the other does not: {detail}",
        "use redis:// for a port without TLS, and rediss:// for one with TLS",
    ),
    "closed": (
        "Redis at {url} closes the connection",
        "the port speaks TLS, or it is not the port of a Redis: {detail}",
        "use rediss:// for a port with TLS, and correct the port in REDIS_URL",
    ),
    "protected": (
        "Redis at {url} is in protected mode",
        "it has no password, so it serves its own machine alone: {detail}",
        "redis-cli CONFIG SET requirepass PASSWORD, and the password in REDIS_URL",
    ),
    "loading": (
        "Redis at {url} is loading its data",
        "requests get 503 and workers wait until it is done: {detail}",
        "wait, and run this command again",
    ),
    "name": (
        "The host name of Redis at {url} is unknown",
        "no process can connect: {detail}",
        "correct the host in REDIS_URL, or the DNS of this machine",
    ),
    "sentinel": (
        "The sentinels of {url} name no master that can be used",
        "no process can connect: {detail}",
        "redis-cli -p 26379 SENTINEL MASTERS shows the names and addresses that a sentinel knows",
    ),
    "silent": (
        "Redis at {url} does not answer in time",
        "it hangs, a firewall drops the packets, or rediss:// is used for a port without TLS: {detail}",
        MANAGED,
    ),
    "unreachable": (
        "Redis at {url} is unreachable",
        "no process can connect: {detail}",
        f"start it, or correct REDIS_URL; {MANAGED}",
    ),
    "url": (
        "REDIS_URL is invalid",
        "{detail}",
        "set REDIS_URL to a URL of that form",
    ),
}  # fmt: skip


def reachable(facts: Facts) -> Iterator[Problem]:
    """Finds out whether Redis answers and accepts the login, the database and TLS."""
    failure = facts.failure()
    if isinstance(failure, bool):
        return
    target = facts.target()
    what, why, mend = (
        text.format(url=target.url, user=target.user, db=target.db, detail=failure.detail)
        for text in FAILURES[failure.kind]
    )
    yield error(what, why.rstrip("."), mend)


def round_trip(facts: Facts) -> Iterator[Problem]:
    """Measures 100 round trips to Redis: p50 above 10 ms or p99 above 100 ms is slow."""
    latency = facts.latency()
    median, p99 = latency.percentile(0.5), latency.percentile(0.99)
    if median <= SLOW_MEDIAN_SECONDS and p99 <= SLOW_P99_SECONDS:
        return
    yield warning(
        f"Redis answers slowly (p50 {median * 1000:.1f} ms, p99 {p99 * 1000:.1f} ms)",
        "each admission, claim, renewal and batch of events takes at least one round trip",
        "run Redis in the same zone as the API and the workers; "
        "redis-cli --latency and SLOWLOG GET show whether the network or a command is slow",
    )


def clock(facts: Facts) -> Iterator[Problem]:
    """Compares the clock of Redis with the clock of this machine: 2 s are allowed."""
    ahead = facts.latency().clock_ahead
    if abs(ahead) <= MAX_CLOCK_SECONDS:
        return
    yield warning(
        f"The clock of Redis is {abs(ahead):.1f} s {'ahead of' if ahead > 0 else 'behind'} this machine",
        "leases and due times follow the clock of Redis, but logs, traces and signatures of webhooks follow the "
        "machine's, so their times contradict each other",
        "synchronise both machines by NTP (timedatectl set-ntp true)",
    )


def certificate(facts: Facts) -> Iterator[Problem]:
    """Judges the TLS certificate: whether it is verified, valid for 21 days, and for the host."""
    target = facts.target()
    if not target.is_tls:
        return
    seen = facts.certificate()
    if not target.verifies_certificates:
        yield warning(
            "The TLS certificate of Redis is not verified",
            "ssl_cert_reqs=none accepts the certificate of any server between",
            "remove ssl_cert_reqs from REDIS_URL, and name the authority with ssl_ca_certs=PATH",
        )
    if seen.expires_in is not None and seen.expires_in < EXPIRES_SOON_DAYS * DAY_SECONDS:
        yield warning(
            f"The TLS certificate of Redis expires in {seen.expires_in / DAY_SECONDS:.0f} days",
            "after that time no process can connect",
            "renew the certificate, and let Redis load it: redis-cli CONFIG SET tls-cert-file PATH",
        )
    if seen.fits_host is False and not target.has_sentinels:
        yield warning(
            f"The TLS certificate of Redis is not for the host {seen.host}",
            "without a comparison of names, another server with a certificate of the same authority is accepted",
            f"issue a certificate with {seen.host} as a subjectAltName, and remove ssl_check_hostname from REDIS_URL",
        )
