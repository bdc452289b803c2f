"""The modules of a project: their names, how Python finds them, and objects in them."""

from millstream.shared.importing.objects import load_object
from millstream.shared.importing.project import (
    ProjectModules,
    find_homonyms,
    module_path,
    open_project,
)

__all__ = ["ProjectModules", "find_homonyms", "load_object", "module_path", "open_project"]
