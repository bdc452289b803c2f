"""The words that the project has retired, each with what to write instead. docs/glossary.md has those that it uses.

The keys are regular expressions. A name is compared in snake_case: `AskedId` is `asked_id`. Usual English words stand
where they are private ones: `not_found` is a good name, `found` alone does not say what it holds.
"""

from typing import Final

# A whole name or one of its words.
NAMES: Final = {
    "asked": "request, payload",
    "told": "payload, status",
    "shown": "view, json",
    "wanted": "filter, args",
    "words": "args, statuses, parts: what they are",
    "wishes": "options",
    "doorbells?": "notification, channel",
    "rung": "notified",
    "lanes?": "call_queue",
    "leash(?:ed)?": "dies_with_parent",
    "leaf|leaves": "term",
    "filed|unfiled": "indexed, unindexed",
    "unframe": "unpack_list",
    "foreign": "external",
    "patience|patiently": "retry_while_unavailable",
    "surround|surroundings": "wrap_app, middleware",
    "findings?": "problem",
    "refusals?": "error",
    "largest|longest": "MAX_…_BYTES, MAX_…_CHARS, MAX_…_SECONDS",
    "most": "limit, max_…, MAX_…",
    "strays?": "orphan",
    "spared?": "lease_grace, lease_extended",
    "tickets?": "run_ref",
    "upkeep": "maintenance",
    "town": "cluster",
    "witness": "observer",
    "yard": "test_cluster",
    "crew|hire": "workers, start_workers",
    "rough|works": "faults: what the fixture does",
}
# A whole name, however many underscores are around it.
WHOLE_NAMES: Final = {
    "found": "result, match: what it is",
    "given": "args, value: what it is",
    "kept": "stored: what it is",
    "made": "result, created: what it is",
    "named": "by_name, indexed: what it is",
    "own": "what it is",
    "places?": "namespace, position, location",
    "ran|ran_in": "checkpoint_runs",
    "settled": "idle_status",
    "story": "timeline",
    "trouble": "fault, OutageLog",
    "turns?": "thread_seq, leader_lock",
    "undone": "rolled_back",
    "word": "status, name, member: what it is",
}
# The name of a class.
CLASSES: Final = {
    "CallLanes": "CallServer",
    "Ending": "GraphResult",
    "Firing": "CronContext",
    "GraphTools": "GraphContext",
    "How": "ExitKind",
    "Means": "AnswerContext",
    "Outcome": "FinalRecord",
    "Place": "CheckpointNamespace",
    "Presence": "RedisAvailability",
    "Tools": "WorkerContext",
    "Trouble": "OutageLog",
}
# A field of a hash in Redis.
FIELDS: Final = {
    "named": "run_terms",
    "leaves|filed": "terms",
    "ran|ran_in": "checkpoint_runs",
    "settled": "idle_status",
    "spared": "lease_extended",
    "turns?": "seq, last_seq",
    "undone": "rolled_back",
    "unserved": "unserved_since",
}
# A phrase of a docstring, a comment or a page. A space stands for any white space.
PHRASES: Final = {
    "who|whom|whoever": "a client that …, the user that …: name the subject",
    "(?:that|which|it|what) (?:is|are|was|were) none": "invalid; no …",
    "what (?:is|are|was|were|it is|it was) (?:asked|told|shown|wanted|given|found)(?: for)?": (
        "the request, payload, response, filter, argument, result"
    ),
    "(?:is|are|was|were|be|been|being) told": "receives, gets, learns",
    "(?:is|are|was|were|been) asked for": "requested",
    "so (?:many|much)": "the number, the amount",
    "(?:go|goes|went|going|gone) on": "continues, resumes",
    "(?:come|comes|came|coming) back": "returns, reconnects, recovers",
    "(?:its|their|whose) turns?": "its place in the order",
    "(?:is|are|was|were|be|been) away": "is unavailable",
    "(?:is|are|was|were)(?: not)? there(?=[.,;:)])": "exists, is reachable",
    "doorbells?": "notification",
    "lanes?": "call queue",
    "leash(?:ed)?": "ends with its parent",
    "patience|patiently": "retries while Redis is unavailable",
    "(?:the|their|its|metadata's) lea(?:f|ves)": "term",
    "surroundings": "middleware",
    "findings": "problems",
    "strays": "orphans",
    "upkeep": "maintenance",
    "the own": "the deployment's own, the thread's own, …",
}
