"""Removes the secrets of the settings from log lines, also from those of libraries and of the project's code."""

import json
from dataclasses import fields
from typing import Final
from urllib.parse import quote

from millstream.shared.redis.url import passwords
from millstream.shared.settings import Settings

MIN_CHARS: Final = 6  # a shorter one would be found by chance, in words and numbers
MASK: Final = "***"


class Secrets:
    """The secret values of a process."""

    def __init__(self, settings: Settings) -> None:
        """Reads them from the settings that are marked as secret, and from the URL of Redis."""
        values = set(passwords(settings.redis_url))
        for field in fields(settings):
            if not field.repr and field.name != "redis_url":
                values.update(str(getattr(settings, field.name)).split(","))
        forms = {
            form
            for value in map(str.strip, values)
            if len(value) >= MIN_CHARS
            for form in (value, quote(value, safe=""), json.dumps(value)[1:-1])
        }
        # The longest first: one secret may be a part of another.
        self._forms: Final = tuple(sorted(forms, key=len, reverse=True))

    def mask(self, line: str) -> str:
        """Returns the line with `***` in place of each secret."""
        for form in self._forms:
            if form in line:
                line = line.replace(form, MASK)
        return line
