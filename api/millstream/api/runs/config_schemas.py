"""The config of a run, as clients send it. Source: LangChain's RunnableConfig."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from millstream.api.http.schema_base import RequestModel

# LangChain.js spells them differently.
SPELLINGS: Final = {
    "maxConcurrency": "max_concurrency",
    "recursionLimit": "recursion_limit",
    "runId": "run_id",
    "runName": "run_name",
}


def _no_callbacks(value: Any) -> None:
    if value not in ([], {}):
        raise ValueError("callbacks are objects of one process, and can't be sent to another")


def _no_run_id(value: Any) -> None:
    raise ValueError("the server assigns ids of runs; put an id of your own into `metadata`")


class Config(RequestModel):
    """A RunnableConfig. An unknown name becomes an entry of `configurable`, as in LangChain."""

    tags: list[str] | None = Field(
        default=None, description="Tags, in traces and in events of the mode `events`."
    )
    recursion_limit: int | None = Field(
        default=None, ge=1, description="Limit of the graph's steps."
    )
    max_concurrency: int | None = Field(
        default=None, ge=0, description="Limit of concurrent tasks; 0 for none."
    )
    run_name: str | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="The name in traces. Default: the graph's name.",
    )
    configurable: dict[str, Any] = Field(
        default={}, description="Entries that nodes read from their config."
    )
    metadata: dict[str, Any] = Field(
        default={}, description="Metadata, in traces and in events of the mode `events`."
    )
    callbacks: Annotated[None, BeforeValidator(_no_callbacks)] = Field(
        default=None, exclude=True, description="Not supported: callbacks can't be sent."
    )
    run_id: Annotated[None, BeforeValidator(_no_run_id)] = Field(
        default=None, exclude=True, description="Not supported: the server assigns ids of runs."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_langchain(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known: dict[str, Any] = {}
        others: dict[str, Any] = {}
        key: str
        for key, value in data.items():
            name = SPELLINGS.get(key, key)
            if value is None:
                continue
            if known.get(name, value) != value:
                raise ValueError(f"{name}: two different values under its two spellings")
            (known if name in cls.model_fields else others)[name] = value
        if others and isinstance(configurable := known.get("configurable", {}), dict):
            known["configurable"] = {**configurable, **others}
        return known
