"""The package of modules that are named by their path, in processes that a project's code starts.

API and workers find these modules themselves. A child that Python starts anew (multiprocessing's `spawn`) knows only
its import path, so it imports this package when it unpickles a function of a graph's file. See docs/decisions/0027.
"""

import os
from pathlib import Path

from millstream.shared.langgraph_json import ENTERED, enter, read_project

if ENTERED in os.environ:
    enter(read_project(Path(os.environ[ENTERED])))
