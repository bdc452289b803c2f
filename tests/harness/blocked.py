"""A process in which Millstream blocks the event loop, for the check that finds it."""

import asyncio
import sys
from pathlib import Path

from millstream.shared.langgraph_json import read_content


async def main(file: str) -> None:
    """Reads a file in the event loop."""
    read_content(Path(file))


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
