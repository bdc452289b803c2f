"""What is mutated: every Redis script, and the Python modules in which rules are decided."""

from collections.abc import Iterator
from pathlib import Path
from typing import Final

from mutants import lua, python
from mutants.mutant import Mutant, mutants_of

ROOT: Final = Path(__file__).parents[2]
SCRIPTS: Final = "shared/millstream/shared/scripts"
MODULES: Final = (
    "shared/millstream/shared/rules/*.py",
    "shared/millstream/shared/events/hub.py",
    "shared/millstream/shared/events/pages.py",
    "shared/millstream/shared/events/reader.py",
    "shared/millstream/shared/events/tail.py",
    "api/millstream/api/http/sse.py",
    "worker/millstream/worker/publish.py",
    "worker/millstream/worker/checkpoints/saver.py",
)
# Where the tests are that may notice. Those that need the running system are left out: the mutant would have
# to be in its processes, too, and a minute would not do for one mutant.
TESTS: Final = ("tests/unit", "tests/contract", "tests/worker", "tests/api")

# Which test files are about a file that none is named for. Only the order of the tests follows from it.
SUBJECTS: Final = {
    "api_keys": ("test_api_keys",),
    "create_key": ("test_api_keys",),
    "note_key_use": ("test_api_keys",),
    "revoke_key": ("test_api_keys",),
    "rotate_key": ("test_api_keys",),
    "admission": ("test_admit", "test_fifo", "test_displacement", "test_temporary_threads"),
    "ending": ("test_finish", "test_cancel", "test_temporary_threads", "test_displacement"),
    "claim": ("test_crashes", "test_fifo", "test_pauses"),
    "clock": ("test_due", "test_renew", "test_claim"),
    "copy_namespaces": ("test_checkpoints", "test_store_state"),
    "expiry": ("test_expiry",),
    "forget_cron": ("test_crons",),
    "forget_runs": ("test_temporary_threads", "test_checkpoints"),
    "forget_queue": ("test_forget_queues",),
    "hub": ("test_stream_hub",),
    "fair_queue": ("test_fair_queue",),
    "find_due": ("test_due", "test_pauses", "test_fair_queue"),
    "forget_ended": ("test_runs_of_identity",),
    "pages": ("test_stream_hub", "test_read_events"),
    "lease": ("test_checkpoints",),
    "mark_alone": ("test_crashes",),
    "note_cancel": ("test_cancel",),
    "note_joined": ("test_displacement",),
    "offer_graphs": ("test_routes",),
    "outbox": ("test_deliveries",),
    "packed_list": ("test_checkpoints",),
    "pause_queue": ("test_pauses",),
    "queue_names": ("test_settings", "test_routes"),
    "reader": ("test_catch_up", "test_stream_hub"),
    "release": ("test_fifo", "test_finish"),
    "repair_run": ("test_repair",),
    "repair_thread": ("test_repair",),
    "resume_queue": ("test_pauses",),
    "retire_thread": ("test_temporary_threads", "test_admit", "test_crons"),
    "delete_thread": ("test_temporary_threads", "test_create_thread"),
    "run_ref": ("test_end_displaced",),
    "sequence": ("test_segments", "test_append"),
    "take_quota": ("test_take_quota", "test_limits"),
    "tag_due": ("test_fair_queue",),
    "tail": ("test_stream_hub",),
    "wake": ("test_admit", "test_fifo"),
}


def files() -> list[str]:
    """Returns the files that are mutated, from the root of the checkout."""
    scripts = sorted((ROOT / SCRIPTS).rglob("*.lua"))
    modules = [path for pattern in MODULES for path in sorted(ROOT.glob(pattern))]
    return [path.relative_to(ROOT).as_posix() for path in (*scripts, *modules)]


def mutants(file: str) -> list[Mutant]:
    """Returns all mutants of a file, explained or not."""
    edits = lua.edits if file.endswith(".lua") else python.edits
    return mutants_of(file, (ROOT / file).read_text(), edits)


def all_mutants() -> Iterator[Mutant]:
    """Yields the mutants of every file."""
    for file in files():
        yield from mutants(file)
