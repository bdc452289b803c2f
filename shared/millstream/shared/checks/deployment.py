"""Judges the state of the deployment: its queues, workers, graphs, runs and threads."""

from collections.abc import Iterator
from typing import Final

from millstream.shared.checks.facts import Facts
from millstream.shared.checks.problem import Problem, count, error, listing, note, warning
from millstream.shared.sealing.key_ring import fingerprint_of
from millstream.shared.wire import PROTOCOL
from millstream.shared.workers import WorkerState

LATE_CRON_SECONDS: Final = 60.0
LATE_WEBHOOK_SECONDS: Final = 600.0
START_WORKER: Final = "millstream worker --queue"


def due_without_worker(facts: Facts) -> Iterator[Problem]:
    """Finds queues with due runs and without a worker."""
    for name, queue in facts.figures().queues.items():
        waiting = queue.due + queue.unserved
        if waiting and not queue.workers:
            age = max(queue.oldest_due_age, queue.oldest_unserved_age)
            yield error(
                f"Queue {name!r} has {count(waiting, 'due run')} and no worker",
                f"the first of them has waited for {age:.0f} s, and nothing executes them",
                f"{START_WORKER} {name}",
            )


def workers(facts: Facts) -> Iterator[Problem]:
    """Finds out whether a worker is live, and whether one stopped to report without leaving."""
    figures = facts.figures()
    if not figures.total.workers:
        yield note(
            "No worker is live",
            "runs are admitted, and wait for one",
            f"{START_WORKER} NAME",
        )
    for name, queue in figures.queues.items():
        if queue.lost_workers:
            yield warning(
                f"{count(queue.lost_workers, 'worker')} of queue {name!r} stopped to report in the last minute",
                "a worker that leaves says so: it died, hangs, or can't reach Redis",
                "look into its log, and restart it",
            )


def versions(facts: Facts) -> Iterator[Problem]:
    """Compares the versions of the live workers, and the newest protocol of records that each understands."""
    records = [
        worker.record for worker in facts.figures().workers if worker.state is not WorkerState.LOST
    ]
    older = [
        record.worker_id for record in records if record.version and record.protocol < PROTOCOL
    ]
    if older:
        yield warning(
            f"{count(len(older), 'worker')} can't execute runs of protocol {PROTOCOL}: {listing(older, 3)}",
            "runs that an API of this version admits wait for the other workers",
            "replace these workers by the version of the APIs",
        )
    for name, values in {
        "Millstream": sorted({record.version or "unknown" for record in records}),
        "LangGraph": sorted({record.langgraph or "unknown" for record in records}),
    }.items():
        if len(values) > 1:
            yield note(
                f"Workers have different versions of {name}: {', '.join(values)}",
                "a run may continue on a worker with the other version, as in a deploy that is not complete",
                "complete the deploy; GET /ops/workers lists the versions",
            )


def encryption_keys(facts: Facts) -> Iterator[Problem]:
    """Compares the encryption keys of the live workers and of this environment, by their fingerprints."""
    records = [
        worker.record for worker in facts.figures().workers if worker.state is not WorkerState.LOST
    ]
    settings = facts.environment().settings
    fingerprint = (
        fingerprint_of(settings.aes_key.encode()).hex() if settings and settings.aes_key else ""
    )
    sealing = {record.encryption_keys[0] for record in records if record.encryption_keys}
    unreadable = [
        record.worker_id
        for record in records
        if not (sealing | ({fingerprint} if fingerprint else set())) <= set(record.encryption_keys)
    ]
    if unreadable:
        yield warning(
            f"{count(len(unreadable), 'worker')} can't read data that other processes encrypt: "
            f"{listing(unreadable, 3)}",
            "runs that these workers claim, and calls that they take, fail",
            "give all APIs and workers the same LANGGRAPH_AES_KEY and LANGGRAPH_AES_FALLBACK_KEYS",
        )
    if sealing and not fingerprint:
        yield note(
            "The workers encrypt data, and this environment has no key",
            "an API with this environment can't read the data, and stores its own as plain text",
            "set LANGGRAPH_AES_KEY for all APIs",
        )


def unserved_runs(facts: Facts) -> Iterator[Problem]:
    """Finds runs that the workers of their queue can't execute."""
    for name, queue in facts.figures().queues.items():
        if queue.unserved and queue.workers:
            yield warning(
                f"The workers of queue {name!r} can't execute {count(queue.unserved, 'due run')}",
                "they lack the graph, or are too old; the first has waited for "
                f"{queue.oldest_unserved_age:.0f} s",
                f"deploy workers whose langgraph.json has the graph: {START_WORKER} {name}",
            )


def unserved_graphs(facts: Facts) -> Iterator[Problem]:
    """Finds graphs that were announced and that no live worker serves."""
    unserved = [graph for graph in facts.graphs() if not graph.is_served]
    if not unserved:
        return
    names = listing([f"{graph.graph_id!r} (queue {graph.queue!r})" for graph in unserved])
    some_served = len(unserved) < len(facts.graphs())
    yield (warning if some_served or facts.figures().total.workers else note)(
        f"No live worker serves {'graph' if len(unserved) == 1 else 'the graphs'} {names}",
        "new runs of it get 503 or wait",
        f"{START_WORKER} {unserved[0].queue}, with a langgraph.json that has it; "
        "or delete the assistants that use it",
    )


def lapsed_leases(facts: Facts) -> Iterator[Problem]:
    """Finds leases that lapsed and that no worker has taken over; for longer than a lease is a warning."""
    environment = facts.environment().settings
    lease = environment.lease if environment else 0.0
    for lapsed in facts.lapsed():
        # Live workers look for lapsed leases once a second, but after an outage they wait for a whole lease.
        yield (warning if lapsed.oldest_age > lease else note)(
            f"{count(lapsed.runs, 'lease')} of queue {lapsed.queue!r} lapsed, the first {lapsed.oldest_age:.0f} s ago",
            "the worker of these runs died or can't reach Redis, and no other worker has claimed them yet",
            f"{START_WORKER} {lapsed.queue}: there is no worker, or all its slots are busy",
        )


def stuck_runs(facts: Facts) -> Iterator[Problem]:
    """Finds runs that no claim would reach."""
    found_runs = facts.stuck().runs
    if found_runs:
        yield warning(
            f"{count(len(found_runs), 'run')} can't be reached by a claim: {listing(list(found_runs), 3)}",
            "Redis lost keys, by a crash, an eviction or a deletion by hand, so nothing executes these runs",
            "start a worker: its reaper repairs them within a few leases",
        )


def stuck_threads(facts: Facts) -> Iterator[Problem]:
    """Finds threads that are busy without a run, and deletions that were interrupted."""
    stuck = facts.stuck()
    if stuck.threads:
        yield warning(
            f"{count(len(stuck.threads), 'thread')} wait for a run that does not exist: "
            f"{listing(list(stuck.threads), 3)}",
            "Redis lost keys, so new runs of these threads wait for ever",
            "start a worker: its reaper repairs them within a few minutes",
        )
    if stuck.deletions:
        yield note(
            f"The deletion of {count(stuck.deletions, 'thread')} has begun and not ended",
            "it waits for the threads' runs, or its API died",
            "start a worker: its reaper completes deletions within a few leases",
        )


def crons(facts: Facts) -> Iterator[Problem]:
    """Finds crons that are more than 60 s late."""
    late = facts.figures().crons
    if late.oldest_age > LATE_CRON_SECONDS:
        yield warning(
            f"{count(late.due, 'cron')} should have fired, the first {late.oldest_age:.0f} s ago",
            "workers fire crons, and none does",
            f"{START_WORKER} NAME; with live workers, look into their logs",
        )


def webhooks(facts: Facts) -> Iterator[Problem]:
    """Finds webhooks that are more than 10 min late."""
    late = facts.figures().webhooks
    if late.oldest_age > LATE_WEBHOOK_SECONDS:
        yield warning(
            f"{count(late.due, 'webhook')} should have been called, the first {late.oldest_age:.0f} s ago",
            "workers call webhooks, and none does in time",
            f"{START_WORKER} NAME; with live workers, look into their logs",
        )


def other_keys(facts: Facts) -> Iterator[Problem]:
    """Finds keys without the prefix `ms:` among the first 20,000 keys of the database."""
    other = facts.other_keys()
    if other.prefixes:
        ordered = sorted(other.prefixes.items(), key=lambda item: (-item[1], item[0]))
        names = listing([f"{prefix!r} ({number:,})" for prefix, number in ordered])
        yield note(
            f"The database has keys of others: {names}, among the first {other.scanned:,} keys",
            "they share memory and its limit with the runs, and FLUSHDB would delete both",
            "use another database (/1 at the end of REDIS_URL) or another Redis for one of them",
        )
