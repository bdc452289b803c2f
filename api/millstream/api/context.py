"""The first argument of each use case: the process that it runs in, and the caller that it acts for."""

from dataclasses import dataclass

from millstream.api.caller import Caller
from millstream.api.process import Process
from millstream.shared.assistants import GraphDirectory
from millstream.shared.events.hub import StreamHub
from millstream.shared.observer import RunObserver
from millstream.shared.redis import Client
from millstream.shared.settings import Settings


@dataclass(frozen=True, slots=True)
class RequestContext:
    """One request's process and caller, without the request: use cases know no HTTP."""

    process: Process
    caller: Caller

    @property
    def settings(self) -> Settings:
        """The settings of the process."""
        return self.process.settings

    @property
    def redis(self) -> Client:
        """The process' client of Redis, for use cases alone."""
        return self.process.redis

    @property
    def hub(self) -> StreamHub:
        """The process' reader of streams, for use cases alone."""
        return self.process.hub

    @property
    def directory(self) -> GraphDirectory:
        """The assistants and graphs that workers serve."""
        return self.process.directory

    @property
    def observer(self) -> RunObserver:
        """Receives reports of runs and streams."""
        return self.process.observer

    @property
    def closing(self) -> bool:
        """Whether the process is about to stop."""
        return self.process.hub.closing
