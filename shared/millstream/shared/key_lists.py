"""Lists of the keys in keys.py: those that may stay for ever, and one of each kind for a trial of permissions."""

from millstream.shared import keys


def permanent_keys(queue_names: list[str], graph_ids: list[str]) -> frozenset[str]:
    """Returns the keys that need no TTL though they belong to no thread."""
    per_queue = (keys.queue, keys.wake, keys.backlog, keys.queue_workers, keys.paused)
    per_call_queue = (keys.calls, keys.workers)
    call_queues = [keys.STORE, *map(keys.call_queue, graph_ids)]
    return frozenset([
        keys.api_keys(), keys.api_keys_version(), keys.assistants(), keys.crons(), keys.deliveries(), keys.expiring(),
        keys.graphs(), keys.garbage(), keys.identities(), keys.live(), keys.offers(), keys.project(), keys.queues(),
        keys.routes(),
        keys.runs_with_checkpoints(), keys.retired(), keys.unindexed(),
        *keys.threads_index(),
        *(key(name) for name in queue_names for key in per_queue),
        *(key(name) for name in call_queues for key in per_call_queue),
    ])  # fmt: skip


def sample_keys() -> list[str]:
    """Returns a key for each prefix that an ACL rule may have: `ms:{…}:`, `ms:queue:`, …

    None of these keys exists.
    """
    name = "trial"
    return [
        keys.api_key(name), keys.api_keys(), keys.assistant(name), keys.assistants(), keys.cron(name), keys.crons(),
        keys.deliveries(), keys.expiring(), keys.identities(),
        keys.garbage(), keys.graphs(), keys.item(name), keys.items_index(), keys.term(name), keys.live(), keys.offers(),
        keys.project(), keys.queue(name), keys.queues(), keys.runs_with_checkpoints(), keys.reply(name), keys.retired(),
        keys.routes(), keys.thread(name), keys.threads_of(name), keys.trial(name), keys.leader_lock(name),
        keys.worker(name), keys.workers(name), keys.quota(name, name), keys.call_user(name),
    ]  # fmt: skip


def sample_channels() -> list[str]:
    """Returns a channel of each kind: the notifications of a run and of a thread, the cancels of a worker."""
    name = "trial"
    return [keys.events(name, name), keys.segments(name), keys.control(name)]
