"""Runs: their records, submissions, searches, and JSON."""

from millstream.shared.runs.records import (
    RunRecord,
    Submission,
    cancel,
    cancel_action,
    delete_run,
    end_displaced,
    final_output,
    find_run,
    find_runs,
    get_run,
    list_runs,
    live_runs,
    not_found_error,
    note_joined,
    stateless_thread_id,
    submit,
)

__all__ = [
    "RunRecord",
    "Submission",
    "cancel",
    "cancel_action",
    "delete_run",
    "end_displaced",
    "final_output",
    "find_run",
    "find_runs",
    "get_run",
    "list_runs",
    "live_runs",
    "not_found_error",
    "note_joined",
    "stateless_thread_id",
    "submit",
]
