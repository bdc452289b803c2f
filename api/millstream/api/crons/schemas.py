"""Requests for crons, and the Cron that the API returns. Source: the LangGraph Platform API."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from millstream.api.http.schema_base import MAX_OFFSET, RequestModel
from millstream.api.runs.config_schemas import Config
from millstream.api.runs.schemas import MultitaskStrategy, OptionFields
from millstream.api.threads.schemas import Filter, ThreadId
from millstream.shared.rules.cron_schedule import check_schedule, check_timezone

CronField = Literal[
    "cron_id", "assistant_id", "thread_id", "on_run_completed", "end_time", "schedule", "timezone",
    "created_at", "updated_at", "user_id", "payload", "next_run_date", "metadata", "enabled", "now",
]  # fmt: skip


def _is_text(value: Any) -> Any:
    if not isinstance(value, (str, datetime)):
        raise ValueError("Input should be a date and time in ISO 8601")
    return value


def _in_utc(value: datetime) -> datetime:
    """Returns the time in UTC. A time without a zone is in UTC already."""
    try:
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)
    except OverflowError:
        raise ValueError("the year must be between 1 and 9999, in UTC too") from None


def _schedule(value: str) -> str:
    check_schedule(value)
    return value


def _timezone(value: str) -> str:
    check_timezone(value)
    return value


Moment = Annotated[
    datetime, Field(strict=False), BeforeValidator(_is_text), AfterValidator(_in_utc)
]
Schedule = Annotated[str, AfterValidator(_schedule)]
Timezone = Annotated[str, AfterValidator(_timezone)]
WhenCompleted = Literal["delete", "keep"]


class CronRun(OptionFields):
    """The fields of a cron's runs. The schemas of runs check them."""

    input: Any = Field(default=None, description="The graph's input, the same each time.")
    config: Config | None = None
    context: dict[str, Any] | None = None


# The fields of a cron's payload, of which it has those that the client set.
PAYLOAD: Final = frozenset(CronRun.model_fields) | {"multitask_strategy"}


class CronCreate(CronRun):
    """The fields of a new cron of either kind."""

    assistant_id: str = Field(min_length=1, description="A graph's name, or an assistant's UUID.")
    schedule: Schedule = Field(
        description="Five fields: minute, hour, day of the month, month, day of the week."
    )
    timezone: Timezone | None = Field(default=None, description="IANA's name; default: UTC.")
    end_time: Moment | None = Field(default=None, description="No run is due after it.")
    enabled: bool = True
    metadata: dict[str, Any] = Field(
        default={}, description="Of the cron. Entries that are valid for runs are on its runs too."
    )
    multitask_strategy: MultitaskStrategy | None = None


class CronCreateStateful(CronCreate):
    """`POST /threads/{thread_id}/runs/crons`: all runs are on the thread."""


class CronCreateStateless(CronCreate):
    """`POST /runs/crons`: each run gets a new thread."""

    on_run_completed: WhenCompleted = "delete"


class CronPatch(CronRun):
    """`PATCH /runs/crons/{cron_id}`: absent fields stay as they are."""

    nullable: ClassVar[frozenset[str]] = frozenset({"end_time"})

    schedule: Schedule | None = None
    timezone: Timezone | None = None
    end_time: Moment | None = Field(default=None, description="`null` removes it.")
    enabled: bool | None = None
    metadata: dict[str, Any] = Field(default={}, description="Merged into the cron's metadata.")
    on_run_completed: WhenCompleted | None = None


class CronFilter(RequestModel):
    """`POST /runs/crons/count`: crons that match all fields."""

    assistant_id: str | None = Field(
        default=None, description="A graph's name, or an assistant's UUID."
    )
    thread_id: ThreadId | None = None
    enabled: bool | None = None
    metadata: Filter = Field(default={}, description="Entries that the cron's metadata contains.")


class CronSearch(CronFilter):
    """`POST /runs/crons/search`"""

    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=MAX_OFFSET)
    sort_by: Literal[
        "cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date",
        "end_time",
    ] = "created_at"  # fmt: skip
    sort_order: Literal["asc", "desc"] = "desc"
    select: list[CronField] = []


class Cron(BaseModel):
    """A cron, as the API returns it."""

    cron_id: str
    assistant_id: str
    thread_id: str | None
    on_run_completed: WhenCompleted | None
    end_time: str | None
    schedule: str
    timezone: str | None
    created_at: str
    updated_at: str
    user_id: str
    payload: dict[str, Any]
    next_run_date: str | None
    metadata: dict[str, Any]
    enabled: bool
