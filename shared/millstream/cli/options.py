"""Options that several commands have."""

import re
from typing import Any, Final

import click

redis_url = click.option(
    "--redis-url", metavar="URL", help="The Redis to use; wins over REDIS_URL."
)
as_json = click.option("--json", "as_json", is_flag=True, help="Print JSON.")

UNITS: Final = {"s": 1, "m": 60, "h": 3600, "d": 86400}
MAX_SECONDS: Final = 100 * 365 * UNITS["d"]


class Duration(click.ParamType[float | None]):
    """A time such as `90d`, `12h`, `30m` or `45s`, in seconds."""

    name = "time"

    def __init__(self, *, never: bool = False) -> None:
        """With `never`, the text `never` is None."""
        self._never = never

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float | None:
        """Returns the number of seconds."""
        if isinstance(value, float):
            return value
        text = str(value).strip().lower()
        if self._never and text == "never":
            return None
        match = re.fullmatch(r"(\d{1,9})([smhd])", text)
        if match is None or (seconds := int(match[1]) * UNITS[match[2]]) > MAX_SECONDS:
            never = ", or never" if self._never else ""
            self.fail(f"{value!r} is not a time such as 90d, 12h, 30m or 45s{never}.", param, ctx)
        return float(seconds)
