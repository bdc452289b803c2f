"""Requests for the long-term store, and its responses. Source: the LangGraph Platform API."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator

from millstream.api.http.schema_base import MAX_OFFSET, Limit, Offset, QueryModel, RequestModel

MAX_LABELS: Final = 64  # of a namespace
MAX_TTL_MINUTES: Final = 1e9
OPERATORS: Final = ("$eq", "$ne", "$gt", "$gte", "$lt", "$lte")


def _label(value: str) -> str:
    if not value:
        raise ValueError("a label can't be empty")
    if "." in value:
        raise ValueError("a label can't contain periods")
    if "\0" in value:
        raise ValueError("a label can't contain NUL")
    return value


def _root(value: list[str]) -> list[str]:
    if value[0] == "langgraph":
        raise ValueError("the first label can't be 'langgraph'")
    return value


def _dotted(value: Any) -> Any:
    if isinstance(value, str):
        return value.split(".")
    if isinstance(value, list) and all(isinstance(part, str) for part in value):
        return [label for part in value for label in part.split(".")]
    return value


def _operators(value: dict[str, Any]) -> dict[str, Any]:
    for name, condition in value.items():
        _check_operators(name, condition)
    return value


def _check_operators(field: str, condition: Any) -> None:
    if isinstance(condition, list):
        for item in condition:
            _check_operators(field, item)
    elif isinstance(condition, dict):
        operators = [name for name in condition if name.startswith("$")]
        for name in operators:
            if name not in OPERATORS:
                raise ValueError(
                    f"{field!r} has no operator {name!r}: there are {', '.join(OPERATORS)}"
                )
        if operators and len(operators) < len(condition):
            raise ValueError(f"{field!r} has operators and fields side by side")
        if not operators:
            for name, item in condition.items():
                _check_operators(f"{field}.{name}", item)


Label = Annotated[str, AfterValidator(_label)]
NamespacePart = Annotated[list[Label], Field(max_length=MAX_LABELS)]
Namespace = Annotated[list[Label], Field(min_length=1, max_length=MAX_LABELS)]
Root = Annotated[Namespace, AfterValidator(_root)]
Key = Annotated[str, Field(min_length=1)]
Filter = Annotated[dict[str, Any], AfterValidator(_operators)]


class ItemPut(RequestModel):
    """`PUT /store/items`"""

    namespace: Root = Field(description="The labels of the namespace, from the root.")
    key: Key = Field(description="The item's key.")
    value: dict[str, Any] = Field(description="The item's value, which replaces an older one.")
    index: Literal[False] | list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        description="Paths in the value that are searched by meaning; false for none. Default: those of `store.index`.",
    )
    ttl: float | None = Field(
        default=None,
        gt=0,
        le=MAX_TTL_MINUTES,
        allow_inf_nan=False,
        description="Lifetime of the item in minutes. Default: that of `store.ttl`.",
    )

    @field_validator("index", mode="before")
    @classmethod
    def _zero_is_not_false(cls, value: Any) -> Any:
        if value is not False and not isinstance(value, list):
            raise ValueError("Input should be false or a list of paths")
        return value


class ItemGet(QueryModel):
    """Query of `GET /store/items`."""

    namespace: Annotated[Namespace, BeforeValidator(_dotted, json_schema_input_type=str)] = Field(
        description="The labels, joined by periods."
    )
    key: Key = Field(description="The item's key.")
    refresh_ttl: bool | None = Field(
        default=None,
        description="Whether the item's lifetime starts again. Default: `store.ttl.refresh_on_read`.",
    )


class ItemDelete(RequestModel):
    """`DELETE /store/items`"""

    namespace: Root = Field(description="The labels of the namespace, from the root.")
    key: Key = Field(description="The item's key.")


class ItemSearch(RequestModel):
    """`POST /store/items/search`"""

    namespace_prefix: NamespacePart = Field(
        default=[], description="The first labels of the namespaces to search."
    )
    filter: Filter = Field(
        default={},
        description='Entries that the item\'s value has, or conditions on them: `{\\"age\\": {\\"$gte\\": 18}}`.',
    )
    limit: Limit = 10
    offset: Offset = 0
    query: str | None = Field(
        default=None,
        description="A text to search by meaning; needs `store.index`.",
    )
    refresh_ttl: bool | None = Field(
        default=None,
        description="Whether the lifetime of the items starts again. Default: `store.ttl.refresh_on_read`.",
    )


class NamespaceSearch(RequestModel):
    """`POST /store/namespaces`; `*` stands for any label."""

    prefix: NamespacePart = Field(default=[], description="The first labels of the namespaces.")
    suffix: NamespacePart = Field(default=[], description="The last labels of the namespaces.")
    max_depth: int | None = Field(
        default=None,
        ge=1,
        le=MAX_OFFSET,
        description="The number of labels after which namespaces are cut off.",
    )
    limit: Limit = 100
    offset: Offset = 0


class Item(BaseModel):
    """An item, as the API returns it."""

    namespace: list[str] = Field(description="The labels of its namespace.")
    key: str = Field(description="Its key.")
    value: dict[str, Any] = Field(description="Its value.")
    created_at: str = Field(description="The time of its creation, in ISO 8601.")
    updated_at: str = Field(description="The time of its last change.")


class FoundItem(Item):
    """An item of a search's result. `score` is its similarity, if the search had a query."""

    score: float | None = Field(description="Its similarity to the query.")


class FoundItems(BaseModel):
    """The response of a search for items."""

    items: list[FoundItem] = Field(description="The items.")


class FoundNamespaces(BaseModel):
    """The response of a search for namespaces."""

    namespaces: list[list[str]] = Field(description="The namespaces, each as its labels.")
