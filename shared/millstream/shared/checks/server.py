"""Judges the server: its kind, its memory, its disk, its replicas and its limits."""

from collections.abc import Iterator
from typing import Final

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, count, error, note, warning
from millstream.shared.permissions import Role
from millstream.shared.redis.clients import API_BLOCKING_CONNECTIONS, DEFAULT_CONNECTIONS

MIN_VERSION: Final = (6, 2)
FULL_SHARE: Final = 0.8  # of maxmemory
NEARLY_ALL: Final = 0.95  # of maxmemory, of maxclients
SLOW_FORK_SECONDS: Final = 0.5
MIN_PUBSUB_BUFFER_BYTES: Final = 1024 * 1024
WORKER_CONNECTIONS: Final = 2 * DEFAULT_CONNECTIONS + 2  # commands, blocking commands, heartbeat


def version(facts: Facts) -> Iterator[Problem]:
    """Compares the version with 6.2, the oldest that is supported."""
    text = facts.info().text("redis_version")
    parts = text.split(".")[:2]
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        return
    if (int(parts[0]), int(parts[1])) < MIN_VERSION:
        yield error(
            f"Redis {text} is too old",
            "it must be 6.2 or newer, or Valkey",
            "install a newer Redis",
        )


def cluster(facts: Facts) -> Iterator[Problem]:
    """Finds a Redis that splits its keys: `cluster_enabled`, MOVED, CROSSSLOT."""
    is_cluster = not facts.info.reason and facts.info().number("cluster_enabled") == 1
    if not is_cluster and not facts.slots():
        return
    yield error(
        "This Redis is a Cluster, which is not supported yet",
        "a script uses keys of several slots"
        + ("" if is_cluster else f", and this server answers: {facts.slots()}"),
        "use a single Redis, or one with replicas and Sentinel; "
        "for managed Redis, choose the mode without a cluster (Azure: EnterpriseCluster, not OSSCluster)",
    )


def replica(facts: Facts) -> Iterator[Problem]:
    """Finds a replica in the place of the master."""
    if facts.info().text("role") != "slave":
        return
    host, port = facts.info().text("master_host"), facts.info().text("master_port")
    yield error(
        "This Redis is a replica, which takes no writes",
        f"no run is admitted or executed; its master is {host}:{port}",
        "REDIS_URL must lead to the master, or to sentinels that name it (docs/operations.md)",
    )


def replicas(facts: Facts) -> Iterator[Problem]:
    """Compares the number of replicas with `min-replicas-to-write`."""
    connected = facts.info().number("connected_slaves")
    if connected is None or facts.info().text("role") != "master":
        return
    required = int(facts.config().get("min-replicas-to-write", 0))
    good = facts.info().number("min_slaves_good_slaves")
    if required > (connected if good is None else good):
        yield error(
            f"Redis takes no writes: it has {count(connected, 'replica')} and requires {required}",
            "no run is admitted, and running ones wait until replicas are connected and up to date",
            "start the replicas, or redis-cli CONFIG SET min-replicas-to-write 0",
        )
    elif connected and not required:
        yield warning(
            f"Redis has {count(connected, 'replica')}, and min-replicas-to-write is 0",
            "a master that was cut off takes writes that are lost when it rejoins",
            "redis-cli CONFIG SET min-replicas-to-write 1, and the same in redis.conf of all servers",
        )
    elif not connected and facts.target().has_sentinels:
        yield warning(
            "The master has no replica",
            "sentinels can't replace it when it dies",
            "start a replica: redis-server --replicaof HOST PORT",
        )


def eviction(facts: Facts) -> Iterator[Problem]:
    """Finds a `maxmemory-policy` that deletes keys when the memory is full."""
    policy = facts.info().text("maxmemory_policy")
    if policy in ("", "noeviction"):
        return
    yield warning(
        f"Redis may evict keys (maxmemory-policy is {policy})",
        "when its memory is full, runs, events and checkpoints vanish without an error",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and the same in redis.conf",
    )


def evicted(facts: Facts) -> Iterator[Problem]:
    """Finds evictions that have happened (`evicted_keys`)."""
    evicted_keys = facts.info().number("evicted_keys")
    if not evicted_keys:
        return
    yield error(
        f"Redis has evicted {count(evicted_keys, 'key')} since its start",
        "runs, events or checkpoints are lost, or keys of others in the same server",
        "redis-cli CONFIG SET maxmemory-policy noeviction, and a larger maxmemory. Workers repair the runs that "
        "lost keys; redis-cli CONFIG RESETSTAT sets the count to 0",
    )


def memory(facts: Facts) -> Iterator[Problem]:
    """Compares the used memory with `maxmemory`: 80 % is a warning, 95 % an error, no limit a note."""
    used, limit = facts.info().number("used_memory"), facts.info().number("maxmemory")
    if used is None or limit is None:
        return
    if limit == 0:
        yield note(
            "Redis has no limit of memory (maxmemory is 0)",
            "when the machine's memory is full, its kernel kills Redis instead of refusing new runs with 503",
            "redis-cli CONFIG SET maxmemory 4gb: some 70 % of the machine's memory, as a copy to disk needs the rest",
        )
        return
    share = used / limit
    if share > FULL_SHARE:
        yield (error if share > NEARLY_ALL else warning)(
            f"{share:.0%} of the memory of Redis is used ({_mib(used)} of {_mib(limit)} MiB)",
            "when it is full, new runs get 503, and events and checkpoints wait",
            "a larger maxmemory, a shorter RESUMABLE_STREAM_TTL_SECONDS, or a `ttl` for threads (docs/checkpoints.md)",
        )


def _mib(number: int) -> str:
    return f"{number / 1024**2:,.0f}"


def persistence(facts: Facts) -> Iterator[Problem]:
    """Finds out whether the data survives a restart (`appendonly`, `save`)."""
    if facts.info().number("aof_enabled") != 0:
        return
    save = facts.config().get("save")
    if save == "":
        yield warning(
            "Redis keeps nothing on disk (neither appendonly nor save is set)",
            "when it restarts, all threads, checkpoints and queued runs are lost",
            "redis-cli CONFIG SET appendonly yes, and the same in redis.conf",
        )
    elif save is not None:
        yield note(
            f"Redis writes snapshots alone (appendonly is no, save is {save!r})",
            "when it is killed, the threads, checkpoints and runs since the last snapshot are lost",
            "redis-cli CONFIG SET appendonly yes, and the same in redis.conf",
        )


def disk(facts: Facts) -> Iterator[Problem]:
    """Finds writes to disk that failed: of the AOF, of its last rewrite, of the last snapshot."""
    failed = [
        name
        for name in ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
        if facts.info().text(name) not in ("", "ok")
    ]
    if failed:
        yield error(
            f"Redis could not write its data to disk ({', '.join(failed)})",
            "it refuses writes, or loses its data when it restarts",
            "free space on its disk and look into its log, then redis-cli BGREWRITEAOF (or BGSAVE)",
        )


def fork(facts: Facts) -> Iterator[Problem]:
    """Finds a last copy to disk that stopped Redis for more than 0.5 s (`latest_fork_usec`)."""
    micros = facts.info().number("latest_fork_usec")
    if micros is None or micros / 1e6 <= SLOW_FORK_SECONDS:
        return
    yield warning(
        f"Redis stood still for {micros / 1e6:.1f} s when it last began to write to disk (latest_fork_usec)",
        "all requests and renewals waited; close to LEASE_SECS, leases lapse",
        "turn off transparent huge pages (echo never > /sys/kernel/mm/transparent_hugepage/enabled), "
        "or split the data over several Redis servers",
    )


def connections(facts: Facts) -> Iterator[Problem]:
    """Compares `maxclients` with the open connections, and with those that one API and the workers may open."""
    info = facts.info()
    limit, connected = info.number("maxclients"), info.number("connected_clients")
    if limit is None and not facts.config.reason:
        limit = int(facts.config().get("maxclients", 0))
    if not limit:
        return
    if connected and connected > NEARLY_ALL * limit:
        yield error(
            f"{connected:,} of {limit:,} connections of Redis are open (maxclients)",
            "further ones are refused, and requests get 503",
            "redis-cli CONFIG SET maxclients 10000, or a smaller REDIS_MAX_CONNECTIONS of the APIs",
        )
        return
    settings = facts.environment().settings
    workers = max(1, facts.figures().total.workers)
    if settings is None:
        return
    of_api = settings.redis_max_connections + API_BLOCKING_CONNECTIONS
    if limit < of_api + workers * WORKER_CONNECTIONS:
        yield warning(
            f"Redis accepts {limit:,} connections (maxclients), fewer than one API and "
            f"{count(workers, 'worker')} may open ({of_api:,} and {WORKER_CONNECTIONS} each)",
            "under load connections are refused, and requests get 503",
            "redis-cli CONFIG SET maxclients 10000, or a smaller REDIS_MAX_CONNECTIONS of the APIs",
        )


def rejected(facts: Facts) -> Iterator[Problem]:
    """Finds connections that were refused (`rejected_connections`)."""
    refused = facts.info().number("rejected_connections")
    if refused:
        yield warning(
            f"Redis has refused {count(refused, 'connection')} since its start (rejected_connections)",
            "maxclients was reached, and requests got 503",
            "redis-cli CONFIG SET maxclients 10000, or a smaller REDIS_MAX_CONNECTIONS of the APIs; "
            "redis-cli CONFIG RESETSTAT sets the count to 0",
        )


def idle_timeout(facts: Facts) -> Iterator[Problem]:
    """Finds a server that closes idle connections (`timeout`)."""
    seconds = int(facts.config().get("timeout", 0))
    if seconds > 0:
        yield warning(
            f"Redis closes connections that are idle for {seconds} s (timeout)",
            "after each pause processes connect again, and a command that is sent just then fails: a worker takes it "
            "for an outage of Redis. Some managed Redis end blocking commands too",
            "redis-cli CONFIG SET timeout 0, and the same in redis.conf",
        )


def buffers(facts: Facts) -> Iterator[Problem]:
    """Finds a `client-output-buffer-limit` of `pubsub` or `normal` that is too small."""
    limits = _buffer_limits(facts.config().get("client-output-buffer-limit", ""))
    pubsub, normal = limits.get("pubsub", 0), limits.get("normal", 0)
    if 0 < pubsub < MIN_PUBSUB_BUFFER_BYTES:
        yield warning(
            f"Redis disconnects subscribers that are {pubsub:,} bytes behind (client-output-buffer-limit pubsub)",
            "an API follows all its streams by one subscription: each break delays all of them",
            'redis-cli CONFIG SET client-output-buffer-limit "pubsub 32mb 8mb 60", and the same in redis.conf',
        )
    if normal > 0:
        yield warning(
            f"Redis disconnects clients whose replies exceed {normal:,} bytes (client-output-buffer-limit normal)",
            "large states and checkpoints can't be read, and their runs fail",
            'redis-cli CONFIG SET client-output-buffer-limit "normal 0 0 0", and the same in redis.conf',
        )


def _buffer_limits(text: str) -> dict[str, int]:
    """Returns the hard limit in bytes by class of client; 0 is no limit."""
    parts = text.split()
    return {kind: int(hard) for kind, hard in zip(parts[::4], parts[1::4], strict=False)}


def info_allowed(facts: Facts) -> Iterator[Problem]:
    """Finds a user that may not use INFO."""
    if facts.info.is_denied:
        user = facts.target().user
        yield warning(
            f"The Redis user {user!r} may not use the command INFO",
            "whether the server is new enough, stores its data on disk and evicts no keys was not checked",
            f"ACL SETUSER {user} +info",
        )


def permissions(facts: Facts) -> Iterator[Problem]:
    """Finds commands, keys and channels that processes need and the user may not use."""
    denied, user = facts.permissions(), facts.target().user
    missing = denied.missing(user)
    if missing is None:
        return
    able = [role for role in Role if denied.for_role(role).missing(user) is None]
    if able:
        yield note(
            f"{missing.what}, which only other processes than the {able[0]} need",
            f"it is a user for the {able[0]} alone",
            "use it for that process only; millstream acl prints the rules of each",
        )
    else:
        yield error(missing.what, "no run can be executed without it", missing.command)


def writes(facts: Facts) -> Iterator[Problem]:
    """Finds a Redis that takes no writes now: no memory, no disk, too few replicas."""
    denied = facts.permissions()
    if denied.write_rejection and not denied.is_replica:
        yield error(
            denied.write_rejection.rstrip("."),
            "no run is admitted, and running ones wait",
            "free memory or disk of Redis, or connect its replicas, as the error says",
        )
