"""The environment variables of the log. Settings has them too: see settings.py."""

from dataclasses import dataclass

from millstream.shared.errors import SettingError
from millstream.shared.setting import setting


@dataclass(frozen=True, slots=True)
class LogSettings:
    """Which lines the log has, and in which form."""

    log_level: str = setting(
        "LOG_LEVEL", "INFO", "DEBUG, INFO, WARNING or ERROR.", choices="DEBUG INFO WARNING ERROR"
    )
    log_json: str = setting(
        "LOG_JSON",
        "auto",
        "`true`: lines of the log are JSON; `false`: text for people (docs/logs.md). `auto` is `true` unless stderr is "
        "a terminal; `millstream dev` uses `false`.",
        choices="auto true false",
    )
    log_color: str = setting(
        "LOG_COLOR",
        "auto",
        "Colours in lines of text. `auto` is `true` on a terminal without `NO_COLOR`.",
        choices="auto true false",
    )
    log_exclude_paths: str = setting(
        "LOG_EXCLUDE_PATHS",
        "/ok,/metrics",
        "Paths whose requests are not logged, separated by commas; `*` at the end of one is anything. `none`: all "
        "requests are logged.",
    )

    @property
    def excluded_paths(self) -> list[str]:
        """The paths whose requests are not logged."""
        if self.log_exclude_paths == "none":
            return []
        return [path for each in self.log_exclude_paths.split(",") if (path := each.strip())]

    def check_logs(self) -> None:
        """Raises SettingError for an excluded path that no request can have."""
        for path in self.excluded_paths:
            if not path.startswith("/"):
                raise SettingError(
                    f"LOG_EXCLUDE_PATHS: {path!r} is not a path: it must begin with /."
                )
