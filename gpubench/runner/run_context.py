"""What all parts of a run share while it measures."""

from dataclasses import dataclass

from gpubench.runner.events import Listener
from gpubench.runner.launch.attempt import Attempts
from gpubench.runner.launch.interrupt import Guard
from gpubench.runner.launch.job_on_host import Limits
from gpubench.store.run_writer import RunWriter
from gpubench.suite.model.suite import Suite


@dataclass(frozen=True)
class RunContext:
    """`search_path`: folders in which workers find workloads; `download`: whether they may fetch data sets."""

    suite: Suite
    writer: RunWriter
    attempts: Attempts
    guard: Guard
    tell: Listener
    limits: Limits
    search_path: tuple[str, ...] = ()
    download: bool = False

    @property
    def ended(self) -> bool:
        """Whether no further launch may start: by request, or because the time budget is used up."""
        return self.guard.stopping or self.limits.used_up
