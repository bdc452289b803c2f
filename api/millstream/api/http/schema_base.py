"""What all requests have in common."""

from typing import Annotated, Any, ClassVar, Final

import msgspec
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

FARTHEST: Final = 2**53  # of an offset: what every client and Redis can count to


class RequestModel(BaseModel):
    """A JSON body. `null` means not given; a field that is not known is ignored."""

    model_config = ConfigDict(extra="ignore", strict=True)
    nullable: ClassVar[frozenset[str]] = frozenset()  # fields of which `null` says something

    @classmethod
    def taken(cls, data: dict[str, Any]) -> frozenset[str]:
        """Returns the names in a body that have an effect and are no fields."""
        return frozenset()

    @model_validator(mode="before")
    @classmethod
    def _null_is_not_given(cls, data: Any) -> Any:
        if isinstance(data, dict):
            return {
                name: value
                for name, value in data.items()
                if value is not None or name in cls.nullable
            }
        return data


class QueryModel(BaseModel):
    """Query parameters: strings that stand for numbers, flags and lists."""

    model_config = ConfigDict(extra="ignore")


def _listed(value: Any) -> Any:
    if isinstance(value, str):
        if value.startswith("["):  # as the npm SDK sends lists
            try:
                return msgspec.json.decode(value)
            except (msgspec.DecodeError, RecursionError):
                raise ValueError("it is neither names with commas nor a JSON list") from None
        return [part for part in value.split(",") if part]
    return value


Listed = BeforeValidator(_listed)  # `a`, `a,b`, `["a","b"]` or a repeated parameter
LastEventId = Annotated[
    str,
    Field(
        pattern=r"^(-1?|0|[0-9]{1,19}-[0-9]{1,19})?$",
        description="For clients that can't send the header `Last-Event-ID`, which goes before it.",
    ),
]
