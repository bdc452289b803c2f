"""Why a run does not move, and its attempts, as clients read them."""

from pydantic import BaseModel, Field

from millstream.shared.rules.lifecycle import RunStatus
from millstream.shared.runs.reasons import Reason


class RunAttempt(BaseModel):
    """One claim of a run by a worker. Times are ISO 8601."""

    attempt: int = Field(description="From 1. A hand-back uses up no attempt.")
    worker_id: str = Field(description="The worker that claimed the run.")
    fence: int = Field(description="The fence of the claim.")
    claimed_at: str = Field(description="When the worker claimed it.")
    waited_seconds: float = Field(
        description="From the time at which the run was due to the claim."
    )
    ended_at: str | None = Field(
        description="null while the worker holds the run, or no other has taken it over yet."
    )
    outcome: str | None = Field(
        description="`handed_back`, `lapsed`, `lapsed_alone`, `crashed`, or what ended the run: `succeeded`, "
        "`failed`, `timed_out`, `cancelled`, `exhausted`, `stranded`."
    )
    detail: str = Field(description="Why it was handed back, or how its process crashed.")


class RunNote(BaseModel):
    """Something that happened to a run beside its attempts."""

    at: str = Field(description="When it happened, in ISO 8601.")
    what: str = Field(
        description="`unserved`: for the first time a worker could not execute it. `repaired`: the reaper gave it its "
        "place back."
    )


class RunExplanation(BaseModel):
    """The reason for which a run does not move, or for which it has stopped, and its attempts."""

    run_id: str = Field(description="The run's id.")
    thread_id: str = Field(description="The id of its thread.")
    status: RunStatus = Field(description="Its status.")
    reason: Reason = Field(description="The reason, as a name that stays the same.")
    message: str = Field(description="The reason as a sentence.")
    next_step: str = Field(description="What to do about it.")
    fields: dict[str, str | int | float] = Field(description="The figures that the sentence names.")
    attempts: list[RunAttempt] = Field(description="Oldest first.")
    notes: list[RunNote] = Field(description="What happened beside the attempts.")
    complete: bool = Field(description="Whether the oldest attempts are still known.")
    at: str = Field(description="When this was read.")
