"""The classes of stored objects, found by their names: or an error, never another class and never bare data."""

import importlib
import logging
import sys
from typing import Any, Final
from weakref import WeakKeyDictionary

from millstream.shared.errors import RefusedError
from millstream.shared.importing import find_homonyms, module_path

log = logging.getLogger(__name__)


class ClassNotFoundError(RefusedError):
    """A checkpoint holds an object of a class that the project does not have under its stored name."""


def find_class(module: str, name: str) -> Any:
    """Returns what a checkpoint calls `module` and `name`: a class, or what takes its place.

    Raises ClassNotFoundError that says what is missing, and what to do.
    """
    places = find_homonyms(module)
    if places:
        raise ClassNotFoundError(
            f"A stored {name} can't be read: its module is stored as {module!r}, which may be any of "
            f"{', '.join(places)}. It was stored before there were several; take the others out of "
            "`dependencies` to read it."
        )
    try:
        return getattr(importlib.import_module(module), name)
    except AttributeError:
        missing = f"{module} has no {name!r}"
    except ModuleNotFoundError as error:
        missing = f"there is no module {error.name!r}"
    except Exception as error:  # noqa: BLE001 - of the project's code, as it is imported
        missing = f"{module} can't be imported: {type(error).__name__}: {error}"
    place = module_path(module) or f"the module {module}"
    raise ClassNotFoundError(
        f"A stored {name} can't be read: {missing}. If the class was moved or renamed, leave its old name behind "
        f"in {place}: `{name} = NewName`, or `from the.new.module import NewName as {name}`."
    )


_FINDABLE: Final[WeakKeyDictionary[type, bool]] = WeakKeyDictionary()


def is_findable(model: type) -> bool:
    """Tells whether stored objects of a class come back as such: its module has it under its name.

    Classes within functions or other classes are not; it is logged, once for each.
    """
    known = _FINDABLE.get(model)
    if known is None:
        found = getattr(sys.modules.get(model.__module__), model.__name__, None)
        known = found is model or (callable(found) and not isinstance(found, type))
        _FINDABLE[model] = known
        if not known:
            log.warning(
                "Objects of %s.%s are stored as plain data and come back as such: their class is not at the top level "
                "of its module.",
                model.__module__, model.__qualname__,
            )  # fmt: skip
    return known
