"""API and worker import optional libraries only if settings ask for them."""

import subprocess
import sys

import pytest

START = """
import sys

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("opentelemetry", "openinference") and not elsewhere():
            raise AssertionError(f"{name} is imported by Millstream")

def elsewhere():
    frame = sys._getframe()
    while frame is not None:
        module = frame.f_globals.get("__name__", "")
        if frame.f_code.co_name == "<module>" and module != "__main__":
            return not module.startswith("millstream.")
        frame = frame.f_back
    return False

sys.meta_path.insert(0, Blocked())
import millstream.api.main, millstream.worker.main, millstream.worker.isolation.child
from millstream.shared.settings import Settings
from millstream.shared.tracing.tracer import UNTRACED, open_tracer
assert open_tracer(Settings.from_env({}), graphs=True) is UNTRACED
print(*sys.modules)
"""


@pytest.fixture(scope="module")
def imported() -> set[str]:
    """The modules that a process of both roles has imported. Fails if Millstream imports OpenTelemetry.

    Libraries may import it for themselves.
    """
    process = subprocess.run(
        [sys.executable, "-c", START], capture_output=True, text=True, check=False, timeout=100
    )
    assert process.returncode == 0, process.stderr
    return set(process.stdout.split())


def packages(modules: set[str]) -> set[str]:
    return {name.partition(".")[0] for name in modules}


def test_without_targets_opentelemetry_is_not_imported(imported: set[str]) -> None:
    modules = {
        f"millstream.shared.tracing.{name}" for name in ("otel", "spans", "export", "opening")
    }
    assert not modules & imported
    assert "openinference" not in packages(imported)


def test_nothing_imports_the_package_until_metrics_are_opened(imported: set[str]) -> None:
    assert "prometheus_client" not in packages(imported)


def test_workers_start_without_the_store_library(imported: set[str]) -> None:
    assert "millstream.worker.main" in imported
    assert "redisvl" not in packages(imported)
