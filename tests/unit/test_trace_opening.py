"""How the tracer of a process is put together, and what becomes of a provider that the project has set."""

import asyncio
import builtins
import json
from collections.abc import Iterator
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from millstream.shared.errors import SettingError
from millstream.shared.scripts import Claim
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import RunTracer, open_tracer
from millstream.shared.wire import RunSpec

CONSOLE = {"OTEL_CONSOLE_EXPORT": "true", "LANGFUSE_RELEASE": "v7", "OTEL_SERVICE_NAME": "agents"}
CLAIM = Claim(
    RunSpec(
        protocol=1,
        run_id="r",
        thread_id="t",
        assistant_id="a",
        graph_id="g",
        queue="q",
        strategy="enqueue",
        temporary=False,
        metadata=b'{"customer":"acme"}',
        kwargs=b"{}",
    ),
    "t/r", 7, 1, None, 0,
)  # fmt: skip


class GlobalProvider:
    """Stands for OpenTelemetry's global provider, which can be set once for each process."""

    def __init__(self) -> None:
        self.current: Any = trace.ProxyTracerProvider()

    def get(self) -> Any:
        return self.current

    def set(self, provider: Any) -> None:
        self.current = provider


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[GlobalProvider]:
    global_provider = GlobalProvider()
    monkeypatch.setattr(trace, "get_tracer_provider", global_provider.get)
    monkeypatch.setattr(trace, "set_tracer_provider", global_provider.set)
    yield global_provider
    if isinstance(global_provider.current, TracerProvider):
        global_provider.current.shutdown()


def lines_of(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    """Returns the spans on stderr by their names."""
    lines = capsys.readouterr().err.splitlines()
    return {span["name"]: span for span in map(json.loads, lines)}


def run_node(tracer: RunTracer, provider: Any) -> None:
    """Makes a span of the project's code in an attempt, and closes the tracer."""
    with (
        tracer.attempt(CLAIM),
        provider.get_tracer("project").start_as_current_span("mine"),
    ):
        pass
    asyncio.run(tracer.aclose())


def test_the_console_gets_each_span_as_one_line(
    provider: GlobalProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    tracer = open_tracer(Settings.from_env(CONSOLE))
    run_node(tracer, provider.current)
    spans = lines_of(capsys)
    assert set(spans) == {"mine", "process q"}
    assert spans["mine"]["parent_id"] == spans["process q"]["context"]["span_id"]
    for span in spans.values():
        assert span["attributes"]["metadata.customer"] == "acme"
        assert span["attributes"]["langfuse.release"] == "v7"
        assert span["resource"]["attributes"]["service.name"] == "agents"
        assert span["resource"]["attributes"]["service.version"] == "v7"


def test_a_provider_of_the_project_stays_and_its_spans_are_sent_too(
    provider: GlobalProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    project, memory = TracerProvider(shutdown_on_exit=False), InMemorySpanExporter()
    project.add_span_processor(SimpleSpanProcessor(memory))
    provider.set(project)
    tracer = open_tracer(Settings.from_env(CONSOLE))
    assert provider.current is project
    run_node(tracer, project)
    assert [span.name for span in memory.get_finished_spans()] == ["mine"]
    spans = lines_of(capsys)
    assert spans["mine"]["parent_id"] == spans["process q"]["context"]["span_id"]
    assert spans["mine"]["attributes"]["metadata.customer"] == "acme"


def test_the_runs_attributes_survive_many_others(
    provider: GlobalProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """A model call with a long conversation has hundreds; by default the oldest are dropped."""
    tracer = open_tracer(Settings.from_env(CONSOLE))
    with tracer.attempt(CLAIM) as span:
        for number in range(500):
            span.set(f"llm.input_messages.{number}", number)
    asyncio.run(tracer.aclose())
    attributes = lines_of(capsys)["process q"]["attributes"]
    assert attributes["metadata.customer"] == "acme"
    assert len(attributes) > 500


def test_missing_packages_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    imported = builtins.__import__

    def without(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.startswith("millstream.shared.tracing.opening"):
            raise ModuleNotFoundError("No module named 'opentelemetry.sdk'")
        return imported(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(SettingError, match=r"opentelemetry.sdk.*pip install 'millstream\[otel\]'"):
        open_tracer(Settings.from_env(CONSOLE))
