"""Values whose methods raise, for tests of the encoder."""

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel


class NoRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no repr")


class NoText(NoRepr):
    def __str__(self) -> str:
        raise RuntimeError("no str")

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        return self is other


class NoDump(BaseModel):
    def model_dump(self, **_: Any) -> Any:
        raise RuntimeError("no dump")


class NoAttributes:
    def __getattr__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    def __repr__(self) -> str:
        return "<no attributes>"


class NoItems(Mapping[str, Any]):
    def __getitem__(self, key: str) -> Any:
        raise RuntimeError("no item")

    def __iter__(self) -> Iterator[str]:
        raise RuntimeError("no iterator")

    def __len__(self) -> int:
        return 3


class NoMessage(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no message")


class DumpsNonsense:
    def model_dump(self) -> Any:
        return self


class DumpTakesMore:
    def model_dump(self, much: int) -> Any:
        raise AssertionError

    def __repr__(self) -> str:
        return "<takes more>"


class EndlessDump:
    def to_dict(self) -> Any:
        return {"a": EndlessDump(), "b": 1}
