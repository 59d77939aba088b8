"""Whether measured steps did the work that steps did while they were watched, and that a fresh model does.

All threads are listened to below Python, where a step does not notice. Only before the measured steps an `Observer`
watches as well, which it can notice: a step that works for the observer, or until it has gone, shows then.
"""

from collections.abc import Callable
from typing import Any

from gpubench.core.deferred import deferred
from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_percent
from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import work_of_model
from gpubench.worker.workloads.watched_steps import work_of

LEAST_SHARE = 0.5
"""Of the work of a watched step. Steps differ honestly: a penalty, a log or an average every few steps."""

LEAST_SHARE_OF_MODEL = 0.05
"""Of the work of a fresh model, which may take other operators: one for a whole layer of a transformer."""


class WorkCount:
    """The work of steps. Of a compiled or graphed step, or one in a framework's own loop, nothing is seen."""

    def __init__(self, case: Case) -> None:
        self._case = case
        self._seen = case.compile == "off" and not case.cuda_graph and case.framework == "loop"
        self._watched: int | None = None
        self._done: int | None = None

    def watch(self, step: Callable[[], Any]) -> None:
        """Before the measured steps: runs one more."""
        if self._seen:
            self._watched = work_of(step, watched=True)[0]

    def after_steps(self, step: Callable[[], Any]) -> list[Finding]:
        """Runs two more. GB316 if they do less than half of the watched one's work, or promise it."""
        done = 0
        for _ in range(2):
            work, result = work_of(step, watched=False) if self._seen else (0, step())
            if (promised := deferred(result)) is not None:
                return [finding("GB316", f"A step after the measured ones returned {promised}.", promised=promised)]
            done = max(done, work)
        self._done = done if self._seen else None
        if not self._watched or done >= LEAST_SHARE * self._watched:
            return []
        share = format_percent(done / self._watched)
        message = f"A step after the measured ones did {share} of the work of one that was watched."
        return [finding("GB316", message, watched=self._watched, done=done)]

    def against_model(self, workload: Any) -> list[Finding]:
        """GB308 if they did next to nothing of what a fresh model does. For after `close`."""
        expected = None if self._done is None else work_of_model(workload, self._case)
        if not expected or self._done is None or self._done >= LEAST_SHARE_OF_MODEL * expected:
            return []
        share = format_percent(self._done / expected)
        message = f"A step did {share} of the products and convolutions that a fresh model does on such a batch."
        return [finding("GB308", message, expected=expected, done=self._done)]
