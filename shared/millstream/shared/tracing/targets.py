"""Where spans are sent: the targets of OTEL_TARGETS as URLs and headers. Pure."""

import base64
from dataclasses import dataclass, field
from typing import Final

from millstream.shared.trace_settings import TraceSettings

TRACES_PATH: Final = "/v1/traces"
# Source: https://langfuse.com/integrations/native/opentelemetry
LANGFUSE_PATH: Final = "/api/public/otel/v1/traces"
LANGFUSE_INGESTION: Final = "4"


@dataclass(frozen=True, slots=True)
class Target:
    """One receiver of OTLP over HTTP."""

    name: str
    url: str | None  # None: where OpenTelemetry's own variables say
    headers: dict[str, str] = field(default_factory=dict, repr=False)


def targets_of(settings: TraceSettings) -> list[Target]:
    """Returns the targets, in the order in which OTEL_TARGETS names them."""
    return [_target(name, settings) for name in settings.targets]


def _target(name: str, settings: TraceSettings) -> Target:
    if name == "LANGFUSE":
        pair = f"{settings.langfuse_public_key}:{settings.langfuse_secret_key}"
        headers = {
            "authorization": f"Basic {base64.b64encode(pair.encode()).decode()}",
            "x-langfuse-ingestion-version": LANGFUSE_INGESTION,
        }
        return Target(name, settings.langfuse_url.rstrip("/") + LANGFUSE_PATH, headers)
    if name == "PHOENIX":
        url = settings.phoenix_endpoint.rstrip("/")
        key = settings.phoenix_api_key
        return Target(
            name,
            url if url.endswith(TRACES_PATH) else url + TRACES_PATH,
            {"authorization": f"Bearer {key}"} if key else {},
        )
    return Target(name, None)
