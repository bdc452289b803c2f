"""What a run is configured with, as clients send it. Source: LangChain's RunnableConfig."""

from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field, model_validator

from millstream.api.http.schema_base import RequestModel

# LangChain.js has other names for them.
SPELLINGS: Final = {
    "maxConcurrency": "max_concurrency",
    "recursionLimit": "recursion_limit",
    "runId": "run_id",
    "runName": "run_name",
}


def _no_callbacks(value: Any) -> None:
    if value not in ([], {}):
        raise ValueError("callbacks are objects of a process, and can't be sent to another one")


def _no_run_id(value: Any) -> None:
    raise ValueError("the server names its runs; an id of your own can go into `metadata`")


class Config(RequestModel):
    """A RunnableConfig. Any other name in it is an entry of `configurable`, as LangChain takes it."""

    tags: list[str] | None = None
    recursion_limit: int | None = Field(default=None, ge=1, description="Steps of the graph.")
    max_concurrency: int | None = Field(
        default=None, ge=0, description="Tasks that run at a time; 0: no limit."
    )
    run_name: str | None = Field(
        default=None, min_length=1, max_length=1000, description="In traces; else the graph's name."
    )
    configurable: dict[str, Any] = {}
    metadata: dict[str, Any] = {}
    callbacks: Annotated[None, BeforeValidator(_no_callbacks)] = Field(
        default=None, exclude=True, description="Refused: they can't be sent."
    )
    run_id: Annotated[None, BeforeValidator(_no_run_id)] = Field(
        default=None, exclude=True, description="Refused: the server names its runs."
    )

    @model_validator(mode="before")
    @classmethod
    def _as_langchain(cls, data: Any) -> Any:
        if not isinstance(data, dict):
            return data
        known: dict[str, Any] = {}
        others: dict[str, Any] = {}
        given: str
        for given, value in data.items():
            name = SPELLINGS.get(given, given)
            if value is None:
                continue
            if known.get(name, value) != value:
                raise ValueError(f"{name}: it is given twice, with different values")
            (known if name in cls.model_fields else others)[name] = value
        if others and isinstance(configurable := known.get("configurable", {}), dict):
            known["configurable"] = {**configurable, **others}
        return known
