"""Runs a module of the product as its next version: with a protocol number that is one higher.

`python next_version.py MODULE ARGUMENT…`. It raises the number first, because importers copy it.
"""

import runpy
import sys
from pathlib import Path
from typing import Any, cast


def main() -> None:
    """Raises the number and runs the module."""
    # Nothing is to be imported from the folder of this file.
    sys.path[:] = [entry for entry in sys.path if Path(entry) != Path(__file__).parent]
    from millstream.shared import wire

    cast("Any", wire).PROTOCOL = wire.PROTOCOL + 1
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
