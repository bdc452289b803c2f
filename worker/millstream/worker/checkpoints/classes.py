"""Finds the classes of stored objects by their names. A missing class is an error, never replaced by plain data."""

import importlib
import logging
import sys
from typing import Any, Final
from weakref import WeakKeyDictionary

from millstream.shared.errors import RefusedError
from millstream.shared.importing import find_homonyms, module_path

log = logging.getLogger(__name__)


class ClassNotFoundError(RefusedError):
    """A checkpoint holds an object whose class the project does not have under the stored name."""


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
    except Exception as error:  # noqa: BLE001 - of the project's code, as it is imported
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
        findable = attribute is model or (callable(attribute) and not isinstance(attribute, type))
        _FINDABLE[model] = findable
        if not findable:
            log.warning(
                "Objects of %s.%s are stored as plain data and read as plain data: their class is not at the top level "
                "of its module.",
                model.__module__, model.__qualname__,
            )  # fmt: skip
    return findable
