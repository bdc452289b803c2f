"""The base classes of request models."""

from typing import Annotated, Any, ClassVar, Final, Literal

import msgspec
from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    model_validator,
)
from pydantic_core import CoreSchema

MAX_OFFSET: Final = 2**53  # JavaScript clients and Redis count exactly up to it


def first_error_only(schema: CoreSchema) -> CoreSchema:
    """Returns the schema with lists that are refused at their first invalid item: an error takes a kilobyte."""
    pending: list[Any] = [schema]
    while pending:
        part = pending.pop()
        if isinstance(part, dict):
            if part.get("type") in ("list", "tuple", "set", "frozenset"):
                part["fail_fast"] = True
            pending += part.values()
        elif isinstance(part, list | tuple):
            pending += part
    return schema


class RequestModel(BaseModel):
    """A JSON body. A null counts as absent, and an unknown field is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)
    nullable: ClassVar[frozenset[str]] = frozenset()  # fields whose null has a meaning

    @classmethod
    def accepted_names(cls, data: dict[str, Any]) -> frozenset[str]:
        """Returns the names in a body that have an effect although they are no fields."""
        return frozenset()

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        """Returns the schema by which pydantic validates the body."""
        return first_error_only(handler(source))

    @model_validator(mode="before")
    @classmethod
    def _drop_nulls(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {
                name: value
                for name, value in data.items()
                if value is not None or name in cls.nullable
            }
        return data


class QueryModel(BaseModel):
    """Query parameters, whose strings are read as numbers, flags and lists."""

    model_config = ConfigDict(extra="ignore")


class JsonRpcCall(BaseModel):
    """A call in JSON-RPC 2.0. It only describes the body: the protocols' own code reads it."""

    jsonrpc: Literal["2.0"] = Field(description="The version of JSON-RPC.")
    id: str | int | None = Field(
        default=None, description="The client's id of the call; absent for a notification."
    )
    method: str = Field(description="The method, such as `tools/call` or `message/send`.")
    params: dict[str, Any] = Field(default={}, description="The params of the method.")


def _split_list(value: Any) -> Any:
    if isinstance(value, str):
        if value.startswith("["):  # as the npm SDK sends lists
            try:
                return msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError):
                raise ValueError("must be names separated by commas, or a JSON list") from None
        return [part for part in value.split(",") if part]
    return value


Limit = Annotated[int, Field(ge=1, le=1000, description="Maximal length of the list.")]
Offset = Annotated[int, Field(ge=0, le=MAX_OFFSET, description="Matches to skip.")]
SortOrder = Annotated[Literal["asc", "desc"], Field(description="Ascending or descending.")]
QueryList = BeforeValidator(_split_list)  # `a`, `a,b`, `["a","b"]` or a repeated parameter
LastEventId = Annotated[
    str,
    Field(
        pattern=r"^(-1?|0|[0-9]{1,19}-[0-9]{1,19})?$",
        description="For clients that can't send the header `Last-Event-ID`. The header takes precedence.",
    ),
]
