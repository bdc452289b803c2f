"""Runs a module of the product as its next version would: its wire protocol is one number higher.

`python next_version.py MODULE ARGUMENT…`. What imports the number copies it, so it is raised before.
"""

import runpy
import sys
from pathlib import Path
from typing import Any, cast


def main() -> None:
    """Raises the number and runs the module."""
    # The folder of this file is no place to import from.
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]
    from millstream.shared import wire

    cast("Any", wire).PROTOCOL = wire.PROTOCOL + 1
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
