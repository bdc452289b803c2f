"""The long-term store. Source: the LangGraph Platform API."""

from typing import Annotated, Any, Final, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field, field_validator

from millstream.api.http.schema_base import FARTHEST, QueryModel, RequestModel

DEEPEST: Final = 64  # labels of a namespace
LONGEST: Final = 1e9  # minutes
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
    for name, want in value.items():
        _check_operators(name, want)
    return value


def _check_operators(field: str, want: Any) -> None:
    if isinstance(want, list):
        for item in want:
            _check_operators(field, item)
    elif isinstance(want, dict):
        marked = [name for name in want if name.startswith("$")]
        for name in marked:
            if name not in OPERATORS:
                raise ValueError(
                    f"{field!r} has no operator {name!r}: there are {', '.join(OPERATORS)}"
                )
        if marked and len(marked) < len(want):
            raise ValueError(f"{field!r} has operators and fields side by side")
        if not marked:
            for name, item in want.items():
                _check_operators(f"{field}.{name}", item)


Label = Annotated[str, AfterValidator(_label)]
Place = Annotated[list[Label], Field(max_length=DEEPEST)]
Namespace = Annotated[list[Label], Field(min_length=1, max_length=DEEPEST)]
Root = Annotated[Namespace, AfterValidator(_root)]
Key = Annotated[str, Field(min_length=1)]
Filter = Annotated[dict[str, Any], AfterValidator(_operators)]


class ItemPut(RequestModel):
    """`PUT /store/items`"""

    namespace: Root
    key: Key
    value: dict[str, Any]
    index: Literal[False] | list[Annotated[str, Field(min_length=1)]] | None = Field(
        default=None,
        description="Paths in the value to search by; false for none. Default: `store.index`'s.",
    )
    ttl: float | None = Field(
        default=None,
        gt=0,
        le=LONGEST,
        allow_inf_nan=False,
        description="Minutes that the item lives. Default: `store.ttl`'s.",
    )

    @field_validator("index", mode="before")
    @classmethod
    def _zero_is_not_false(cls, value: Any) -> Any:
        if value is not False and not isinstance(value, list):
            raise ValueError("Input should be false or a list of paths")
        return value


class ItemGet(QueryModel):
    """Query of `GET /store/items`."""

    namespace: Annotated[Namespace, BeforeValidator(_dotted)] = Field(
        description="The labels, joined by periods."
    )
    key: Key
    refresh_ttl: bool | None = None


class ItemDelete(RequestModel):
    """`DELETE /store/items`"""

    namespace: Root
    key: Key


class ItemSearch(RequestModel):
    """`POST /store/items/search`"""

    namespace_prefix: Place = []
    filter: Filter = {}
    limit: int = Field(default=10, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=FARTHEST)
    query: str | None = Field(
        default=None, description="What the items should be about; needs `store.index`."
    )
    refresh_ttl: bool | None = None


class NamespaceSearch(RequestModel):
    """`POST /store/namespaces`; `*` stands for any label."""

    prefix: Place = []
    suffix: Place = []
    max_depth: int | None = Field(default=None, ge=1, le=FARTHEST)
    limit: int = Field(default=100, ge=1, le=1000)
    offset: int = Field(default=0, ge=0, le=FARTHEST)


class Item(BaseModel):
    """An item as the API shows it."""

    namespace: list[str]
    key: str
    value: dict[str, Any]
    created_at: str
    updated_at: str


class FoundItem(Item):
    """An item that a search found; `score` is how near it is, if the search had a query."""

    score: float | None


class FoundItems(BaseModel):
    """Answer of a search."""

    items: list[FoundItem]


class FoundNamespaces(BaseModel):
    """Answer of a search for namespaces."""

    namespaces: list[list[str]]
