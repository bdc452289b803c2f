"""Projects as they are published: with their folders, imports, keys of langgraph.json and schemas.

Each answers with a text that its parts contain. None calls a model.
"""

from harness.sample_projects.project import SampleProject
from harness.sample_projects.root_files import EXAMPLE, MONOREPO, SELF_IMPORTING, SWARM
from harness.sample_projects.src_packages import DEEP_RESEARCH, MEMORY, REACT, RETRIEVAL

__all__ = ["SAMPLE_PROJECTS", "SampleProject"]

SAMPLE_PROJECTS = {
    "react": REACT,
    "memory": MEMORY,
    "retrieval": RETRIEVAL,
    "single file": EXAMPLE,
    "self-importing": SELF_IMPORTING,
    "monorepo": MONOREPO,
    "deep research": DEEP_RESEARCH,
    "swarm": SWARM,
}
