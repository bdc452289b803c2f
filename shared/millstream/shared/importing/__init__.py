"""The modules of a project: what they are called, how they are found, objects in them."""

from millstream.shared.importing.objects import load_object
from millstream.shared.importing.project import ProjectModules, opened

__all__ = ["ProjectModules", "load_object", "opened"]
