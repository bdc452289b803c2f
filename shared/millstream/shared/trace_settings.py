"""The environment variables of traces. Settings has them too: see settings.py."""

import re
from dataclasses import dataclass
from typing import Final

from millstream.shared.errors import SettingError
from millstream.shared.log_settings import LogSettings
from millstream.shared.setting import setting

TARGETS: Final = ("LANGFUSE", "PHOENIX", "GENERIC")
# Source: Langfuse, https://langfuse.com/docs/observability/features/environments
ENVIRONMENT: Final = re.compile(r"(?!langfuse)[a-z0-9_-]{1,40}")
MAX_RELEASE_CHARS: Final = 200  # Langfuse drops a longer one


@dataclass(frozen=True, slots=True)
class TraceSettings(LogSettings):
    """Where spans are sent, and what they say of the deployment; and the settings of the log."""

    otel_targets: str = setting(
        "OTEL_TARGETS",
        "",
        "Where traces are sent, separated by commas: `LANGFUSE`, `PHOENIX`, `GENERIC` (the receiver of "
        "OpenTelemetry's own `OTEL_EXPORTER_OTLP_…`). Empty: nothing is traced (docs/tracing.md).",
    )
    otel_console: str = setting(
        "OTEL_CONSOLE_EXPORT",
        "false",
        "`true` writes each span as a line of JSON to stderr.",
        choices="true false 1 0",
    )
    otel_service: str = setting("OTEL_SERVICE_NAME", "millstream", "`service.name` of the spans.")
    langfuse_url: str = setting(
        "LANGFUSE_BASE_URL LANGFUSE_HOST", "https://cloud.langfuse.com", "The base URL of Langfuse."
    )
    langfuse_public_key: str = setting(
        "LANGFUSE_PUBLIC_KEY", "", "The public key of the project in Langfuse."
    )
    langfuse_secret_key: str = setting(
        "LANGFUSE_SECRET_KEY", "", "The secret key of the project in Langfuse.", secret=True
    )
    trace_environment: str = setting(
        "LANGFUSE_TRACING_ENVIRONMENT",
        "",
        "The environment of the spans (`production`), for every target.",
    )
    trace_release: str = setting(
        "LANGFUSE_RELEASE",
        "",
        "The release of the project, for every target. Empty: spans have the version of Millstream.",
    )
    trace_user_id: str = setting(
        "TRACE_USER_ID",
        "true",
        "`false` leaves the identity of an authenticated user out of the spans (`user.id`, `langfuse.user.id`).",
        choices="true false 1 0",
    )
    phoenix_endpoint: str = setting(
        "PHOENIX_COLLECTOR_ENDPOINT",
        "http://localhost:6006",
        "The base URL of Phoenix, or the whole URL of its receiver (`…/v1/traces`).",
    )
    phoenix_api_key: str = setting("PHOENIX_API_KEY", "", "The API key of Phoenix.", secret=True)

    @property
    def targets(self) -> list[str]:
        """The names of OTEL_TARGETS in capitals, each once."""
        names = (name.strip().upper() for name in self.otel_targets.split(","))
        return list(dict.fromkeys(name for name in names if name))

    @property
    def console(self) -> bool:
        """Whether spans are written to stderr."""
        return self.otel_console in ("true", "1")

    @property
    def traces_identity(self) -> bool:
        """Whether spans name the authenticated user of their run."""
        return self.trace_user_id in ("true", "1")

    @property
    def is_traced(self) -> bool:
        """Whether anything receives spans."""
        return bool(self.targets) or self.console

    def check_traces(self) -> None:
        """Raises SettingError for what would only show when the first span is sent."""
        for name in self.targets:
            if name not in TARGETS:
                raise SettingError(f"OTEL_TARGETS: {name!r} is not one of {', '.join(TARGETS)}.")
        if "LANGFUSE" in self.targets:
            for name, key in (
                ("LANGFUSE_PUBLIC_KEY", self.langfuse_public_key),
                ("LANGFUSE_SECRET_KEY", self.langfuse_secret_key),
            ):
                if not key:
                    raise SettingError(f"OTEL_TARGETS has LANGFUSE, which needs {name}: set it.")
        environment = self.trace_environment
        if environment and not ENVIRONMENT.fullmatch(environment):
            raise SettingError(
                f"LANGFUSE_TRACING_ENVIRONMENT={environment!r} is invalid: it has 1 to 40 of the characters "
                "a-z 0-9 _ - and does not begin with 'langfuse'."
            )
        if len(self.trace_release) > MAX_RELEASE_CHARS:
            raise SettingError(f"LANGFUSE_RELEASE is longer than {MAX_RELEASE_CHARS} characters.")
