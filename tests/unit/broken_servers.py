"""Redis servers with which one thing is wrong, and what `millstream doctor` must say of each."""

from dataclasses import replace

from millstream.shared.checks.facts import (
    Certificate,
    ConnectionFailure,
    Fact,
    Facts,
    Latency,
)
from millstream.shared.checks.problem import Severity
from millstream.shared.permissions import DeniedPermissions
from unit.checks import (
    TARGET,
    with_config,
    with_facts,
    with_info,
    with_target,
)

E, W, N = Severity.ERROR, Severity.WARNING, Severity.NOTE
DAY = 86400.0
SENTINELS = replace(TARGET, has_sentinels=True)
REPLICA = {"role": "slave", "master_host": "10.0.0.7", "master_port": 6379}
# Facts in which one thing is wrong → the check that reports it, how bad it is, and a part of what and how to mend it.
SERVERS: list[tuple[Facts, str, Severity, str, str]] = [
    (
        with_facts(failure=ConnectionFailure("login", "WRONGPASS")),
        "reachable",
        E,
        "rejects the login of the user 'ms'",
        "REDIS_URL",
    ),
    (
        with_facts(latency=Latency((0.02,) * 50, 0.0)),
        "round-trip",
        W,
        "p50 20.0 ms",
        "redis-cli --latency",
    ),
    (
        with_facts(latency=Latency((0.001,) * 40 + (0.3,) * 10, 0.0)),
        "round-trip",
        W,
        "p99 300.0 ms",
        "SLOWLOG",
    ),
    (
        with_facts(latency=Latency((0.001,) * 50, -7.0)),
        "clock",
        W,
        "7.0 s behind this machine",
        "NTP",
    ),
    (
        with_facts(latency=Latency((0.001,) * 50, 7.0)),
        "clock",
        W,
        "7.0 s ahead of this machine",
        "NTP",
    ),
    (
        with_facts(certificate=Certificate(3 * DAY, "redis", fits_host=True)),
        "certificate",
        W,
        "expires in 3 days",
        "renew",
    ),
    (
        with_facts(certificate=Certificate(90 * DAY, "redis", fits_host=False)),
        "certificate",
        W,
        "not for the host redis",
        "subjectAltName",
    ),
    (with_target(verifies_certificates=False), "certificate", W, "is not verified", "ssl_ca_certs"),
    (with_info(redis_version="6.0.16"), "version", E, "Redis 6.0.16 is too old", "newer Redis"),
    (with_info(cluster_enabled=1), "cluster", E, "is a Cluster", "Sentinel"),
    (with_facts(slots="Moved: 1234 10.0.0.1:6379"), "cluster", E, "is a Cluster", "OSSCluster"),
    (with_info(**REPLICA), "replica", E, "is a replica", "the master"),
    (
        with_info(connected_slaves=1),
        "replicas",
        W,
        "min-replicas-to-write is 0",
        "CONFIG SET min-replicas-to-write 1",
    ),
    (
        with_config(min_replicas_to_write="1"),
        "replicas",
        E,
        "it has 0 replicas and requires 1",
        "start the replicas",
    ),
    (
        replace(with_info(connected_slaves=0), target=Fact(SENTINELS)),
        "replicas",
        W,
        "has no replica",
        "--replicaof",
    ),
    (
        with_info(maxmemory_policy="allkeys-lru"),
        "eviction",
        W,
        "maxmemory-policy is allkeys-lru",
        "CONFIG SET maxmemory-policy noeviction",
    ),
    (with_info(evicted_keys=12), "evicted-keys", E, "has evicted 12 keys", "larger maxmemory"),
    (with_info(used_memory=900 * 1024**2), "memory", W, "88% of the memory", "larger maxmemory"),
    (with_info(used_memory=1000 * 1024**2), "memory", E, "98% of the memory", "larger maxmemory"),
    (with_info(maxmemory=0), "memory", N, "no limit of memory", "CONFIG SET maxmemory"),
    (
        replace(with_info(aof_enabled=0), config=with_config(save="").config),
        "persistence",
        W,
        "keeps nothing on disk",
        "CONFIG SET appendonly yes",
    ),
    (with_info(aof_enabled=0), "persistence", N, "snapshots alone", "CONFIG SET appendonly yes"),
    (with_info(aof_last_write_status="err"), "disk", E, "aof_last_write_status", "free space"),
    (with_info(rdb_last_bgsave_status="err"), "disk", E, "rdb_last_bgsave_status", "free space"),
    (with_info(latest_fork_usec=2_000_000), "fork", W, "stood still for 2.0 s", "huge pages"),
    (
        with_info(maxclients=1000),
        "connections",
        W,
        "fewer than one API and 1 worker",
        "CONFIG SET maxclients",
    ),
    (
        with_info(connected_clients=9_900),
        "connections",
        E,
        "9,900 of 10,000 connections",
        "REDIS_MAX_CONNECTIONS",
    ),
    (
        with_info(rejected_connections=1),
        "rejected-connections",
        W,
        "has refused 1 connection ",
        "CONFIG SET maxclients",
    ),
    (with_config(timeout="5"), "idle-timeout", W, "idle for 5 s", "CONFIG SET timeout 0"),
    (
        with_config(client_output_buffer_limit="pubsub 1024 1024 1"),
        "buffers",
        W,
        "1,024 bytes behind",
        '"pubsub 32mb 8mb 60"',
    ),
    (
        with_config(client_output_buffer_limit="normal 4096 0 0"),
        "buffers",
        W,
        "replies exceed 4,096 bytes",
        '"normal 0 0 0"',
    ),
    (
        with_facts(permissions=DeniedPermissions(commands=["PERSIST"])),
        "permissions",
        N,
        "PERSIST, which only other processes than the api need",
        "millstream acl",
    ),
    (
        with_facts(permissions=DeniedPermissions(commands=["TIME"])),
        "permissions",
        E,
        "may not use the command TIME",
        "ACL SETUSER ms +time",
    ),
    (
        with_facts(permissions=DeniedPermissions(write_rejection="Redis takes no writes now: OOM")),
        "writes",
        E,
        "takes no writes now: OOM",
        "free memory",
    ),
]
