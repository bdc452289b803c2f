"""Finds the classes of stored objects by their names.

A missing class is an error, never replaced by plain data. So is a name of something else than a class whose objects
are stored: a client that writes to Redis must not choose which function a worker calls. See docs/decisions/0093.
"""

import importlib
import logging
import sys
from collections import deque
from dataclasses import is_dataclass
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from enum import Enum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network
from pathlib import PurePath
from typing import Any, Final
from uuid import UUID
from weakref import WeakKeyDictionary

from langgraph.store.base import Item
from langgraph.types import Send

from millstream.shared.errors import RefusedError
from millstream.shared.importing import find_homonyms, module_path

log = logging.getLogger(__name__)


# LangGraph stores objects of these classes and of their subclasses, beside dataclasses.
STORED_CLASSES: Final = (
    Enum, UUID, Decimal, set, frozenset, deque, date, time, timedelta, tzinfo, PurePath, IPv4Address, IPv4Network,
    IPv6Address, IPv6Network, Item, Send,
)  # fmt: skip
# It stores objects that have one of these methods: pydantic models, pydantic's secrets, old models, named tuples.
STORED_METHODS: Final = ("model_dump", "get_secret_value", "dict", "_asdict")


class ClassNotFoundError(RefusedError):
    """A checkpoint holds an object whose class the project does not have under the stored name."""


class ClassNotAllowedError(ClassNotFoundError):
    """A checkpoint names something that is no class of stored objects."""


def is_data_class(attribute: object) -> bool:
    """Returns whether it is a class whose objects LangGraph stores by their values (`_msgpack_default`)."""
    if not isinstance(attribute, type):
        return False
    return (
        is_dataclass(attribute)
        or issubclass(attribute, STORED_CLASSES)
        or any(callable(getattr(attribute, method, None)) for method in STORED_METHODS)
    )


def find_data_class(module: str, name: str) -> Any:
    """Returns the class that is stored as `name` of `module`.

    Raises:
        ClassNotAllowedError: it is something else, such as a function.
        ClassNotFoundError: as `find_class`.
    """
    # An import of such a module would run it as a program.
    if module.rpartition(".")[2] != "__main__" or module in sys.modules:
        attribute = find_class(module, name)
        if is_data_class(attribute):
            return attribute
    raise ClassNotAllowedError(
        f"A stored {name} can't be read: {module}.{name} is not a dataclass, a pydantic model, an enum, a named tuple "
        "or another class whose objects LangGraph stores. If your project did store it, add it to "
        "checkpointer.serde.allowed_msgpack_modules of langgraph.json, with all other classes of your states."
    )


def find_class(module: str, name: str) -> Any:
    """Returns the object that is stored as `name` of `module`: a class, or its replacement.

    Raises ClassNotFoundError, whose text names what is missing and what to do.
    """
    homonyms = find_homonyms(module)
    if homonyms:
        raise ClassNotFoundError(
            f"A stored {name} can't be read: its module is stored as {module!r}, which may be any of "
            f"{', '.join(homonyms)}. The object was stored when there was only one of them. "
            "Remove the others from `dependencies` to read it."
        )
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        missing = f"{module} has no {name!r}"
    except ModuleNotFoundError as error:
        missing = f"there is no module {error.name!r}"
    except (Exception, SystemExit) as error:  # noqa: BLE001 - of the project's code, as it is imported
        missing = f"{module} can't be imported: {type(error).__name__}: {error}"
    path = module_path(module) or f"the module {module}"
    raise ClassNotFoundError(
        f"A stored {name} can't be read: {missing}. If the class was moved or renamed, keep its old name "
        f"in {path}: `{name} = NewName`, or `from the.new.module import NewName as {name}`."
    )


_FINDABLE: Final[WeakKeyDictionary[type, bool]] = WeakKeyDictionary()


def is_findable(model: type) -> bool:
    """Returns whether the class can be found again: its module has it under its name.

    A class within a function or another class can't. A warning is logged once per class.
    """
    findable = _FINDABLE.get(model)
    if findable is None:
        attribute = getattr(sys.modules.get(model.__module__), model.__name__, None)
        findable = attribute is model
        _FINDABLE[model] = findable
        if not findable:
            log.warning(
                "Objects of %s.%s are stored as plain data and read as plain data: their class is not at the top level "
                "of its module.",
                model.__module__, model.__qualname__,
            )  # fmt: skip
    return findable
