"""Loads the graphs of a project and ends: a process of its own for `millstream doctor`, as code of the project runs."""

import argparse
import json
import sys
from pathlib import Path

from millstream.shared.errors import SettingError
from millstream.worker import graphs


def main() -> None:
    """Writes a line `millstream-graphs {"error": …}` to stdout; the error is '' if all graphs can be served."""
    parser = argparse.ArgumentParser(prog="millstream doctor")
    parser.add_argument("--config", type=Path, required=True)
    arguments = parser.parse_args()
    try:
        graphs.load(arguments.config)
        failure = ""
    except SettingError as error:
        failure = str(error)
    sys.stdout.write(f"\nmillstream-graphs {json.dumps({'error': failure})}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
