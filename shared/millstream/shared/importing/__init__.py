"""The modules of a project: what they are called, how they are found, objects in them."""

from millstream.shared.importing.objects import load_object
from millstream.shared.importing.project import ProjectModules, homonyms, opened, place_of

__all__ = ["ProjectModules", "homonyms", "load_object", "opened", "place_of"]
