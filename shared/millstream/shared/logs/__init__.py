"""Log lines: their form, the ids on them, and what must never be on them."""

from millstream.shared.logs.context import begin, begin_run, bind, bind_run
from millstream.shared.logs.setup import configure, early_settings, identify

__all__ = ["begin", "begin_run", "bind", "bind_run", "configure", "early_settings", "identify"]
