"""Requests for crons, and the Cron that the API returns. Source: the LangGraph Platform API."""

from datetime import UTC, datetime
from typing import Annotated, Any, ClassVar, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from millstream.api.http.schema_base import Limit, Offset, RequestModel, SortOrder
from millstream.api.runs.config_schemas import Config
from millstream.api.runs.option_schemas import MultitaskStrategy, OptionFields
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
    config: Config | None = Field(default=None, description="The config of its runs.")
    context: dict[str, Any] | None = Field(default=None, description="The context of its runs.")


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
    enabled: bool = Field(default=True, description="Whether the cron fires.")
    metadata: dict[str, Any] = Field(
        default={}, description="Of the cron. Entries that are valid for runs are on its runs too."
    )
    multitask_strategy: MultitaskStrategy | None = Field(
        default=None, description="What happens if the thread has a run that has not ended."
    )


class CronCreateStateful(CronCreate):
    """`POST /threads/{thread_id}/runs/crons`: all runs are on the thread."""


class CronCreateStateless(CronCreate):
    """`POST /runs/crons`: each run gets a new thread."""

    on_run_completed: WhenCompleted = Field(
        default="delete", description="Whether the thread of each run is deleted after its end."
    )


class CronPatch(CronRun):
    """`PATCH /runs/crons/{cron_id}`: absent fields stay as they are."""

    nullable: ClassVar[frozenset[str]] = frozenset({"end_time"})

    schedule: Schedule | None = Field(default=None, description="The new schedule.")
    timezone: Timezone | None = Field(default=None, description="The new time zone: IANA's name.")
    end_time: Moment | None = Field(default=None, description="`null` removes it.")
    enabled: bool | None = Field(default=None, description="Whether the cron fires.")
    metadata: dict[str, Any] = Field(default={}, description="Merged into the cron's metadata.")
    on_run_completed: WhenCompleted | None = Field(
        default=None, description="Whether the thread of each run is deleted after its end."
    )


class CronFilter(RequestModel):
    """`POST /runs/crons/count`: crons that match all fields."""

    assistant_id: str | None = Field(
        default=None, description="A graph's name, or an assistant's UUID."
    )
    thread_id: ThreadId | None = Field(default=None, description="The thread of the cron.")
    enabled: bool | None = Field(default=None, description="Whether the cron fires.")
    metadata: Filter = Field(default={}, description="Entries that the cron's metadata contains.")


class CronSearch(CronFilter):
    """`POST /runs/crons/search`"""

    limit: Limit = 10
    offset: Offset = 0
    sort_by: Literal[
        "cron_id", "assistant_id", "thread_id", "created_at", "updated_at", "next_run_date",
        "end_time",
    ] = Field(default="created_at", description="The field by which the list is sorted.")  # fmt: skip
    sort_order: SortOrder = "desc"
    select: list[CronField] = Field(default=[], description="The fields to return. Default: all.")


class Cron(BaseModel):
    """A cron, as the API returns it."""

    cron_id: str = Field(description="The cron's id.")
    assistant_id: str = Field(description="The id of its runs' assistant.")
    thread_id: str | None = Field(
        description="The thread of its runs; null if each gets a new one."
    )
    on_run_completed: WhenCompleted | None = Field(
        description="What happens to the thread of each run after its end."
    )
    end_time: str | None = Field(description="The last time at which it may fire, in ISO 8601.")
    schedule: str = Field(
        description="Five fields: minute, hour, day of the month, month, day of the week."
    )
    timezone: str | None = Field(description="The time zone of the schedule.")
    created_at: str = Field(description="The time of its creation.")
    updated_at: str = Field(description="The time of its last change.")
    user_id: str = Field(description="Always empty: clients are not authenticated.")
    payload: dict[str, Any] = Field(description="The fields of its runs that the request has set.")
    next_run_date: str | None = Field(
        description="The time at which it fires next; null if it has none."
    )
    metadata: dict[str, Any] = Field(description="Its metadata.")
    enabled: bool = Field(description="Whether it fires.")
