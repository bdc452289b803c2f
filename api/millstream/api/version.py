"""The version of Millstream."""

from importlib.metadata import version
from typing import Final

VERSION: Final = version("millstream")
