"""Names of queues. They are parts of keys and labels of metrics, so they are short and plain. Pure."""

import re
from collections.abc import Iterable
from typing import Final

DEFAULT: Final = "default"
QUEUE_KEY: Final = "millstream_queue"  # in an assistant's metadata: the queue that gets its runs
PATTERN: Final = r"^[a-z0-9][a-z0-9._-]{0,62}$"
RULE: Final = "1 to 63 of the characters a-z 0-9 . _ - with a letter or a digit first"
_NAME: Final = re.compile(PATTERN.strip("^$"))


def queue_name_error(name: object) -> str:
    """Returns why a value can't be the name of a queue; '' if it can."""
    if isinstance(name, str) and _NAME.fullmatch(name):
        return ""
    return f"{name!r:.80} is not the name of a queue: {RULE}"


def split_queue_names(names: str | Iterable[str]) -> tuple[str, ...]:
    """Returns the names in texts that separate them by commas, each once and in their order."""
    texts = [names] if isinstance(names, str) else names
    parts = (part.strip() for text in texts for part in text.split(","))
    return tuple(dict.fromkeys(part for part in parts if part))
