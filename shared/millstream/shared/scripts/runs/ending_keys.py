"""The keys that parts/ending.lua declares, for every script that ends runs."""

from millstream.shared import keys


def ending_keys(thread_id: str) -> dict[str, str]:
    """Returns what the end of a run changes beside the run: name in the script → key."""
    return {
        "thread": keys.thread(thread_id),
        "runs": keys.runs(thread_id),
        "waiting": keys.waiting(thread_id),
        "deferred": keys.deferred(thread_id),
        "segments": keys.segments(thread_id),
        "rolled_back": keys.rolled_back(thread_id),
        "live": keys.live(),
        "identities": keys.identities(),
        "garbage": keys.garbage(),
        "expiring": keys.expiring(),
        "deliveries": keys.deliveries(),
    }
