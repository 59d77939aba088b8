"""Whether measured steps do the work that they did while being watched, and that a fresh model does.

Operators of all threads are recorded below Python, which a step does not notice. Before the measured steps an
`Observer`, which a step can notice, watches as well: so a step that works only while watched is found.
"""

from collections.abc import Callable
from statistics import fmean
from typing import Any

from gpubench.core.deferred import deferred
from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_percent
from gpubench.suite.model.case import Case
from gpubench.worker.checks.work_counts import work_of_model
from gpubench.worker.workloads.watched_steps import traceable, work_of

LEAST_SHARE = 0.5
"""Least share of a watched step's work. Steps may differ: a penalty, a log or an average every few steps."""

_STEPS_AFTER, _STEPS_ON_AVERAGE = 2, 8

LEAST_SHARE_OF_MODEL = 0.05
"""Least share of a fresh model's work. It is small because the model may use other operators, such as one for a whole
layer of a transformer.
"""


class WorkCount:
    """The work of steps. Compiled or graphed steps, those in a framework's own loop, and those that torch does not let
    watch, show nothing.
    """

    def __init__(self, case: Case) -> None:
        self._case = case
        self._seen = case.compile == "off" and not case.cuda_graph and case.framework == "loop"
        self._watched: int | None = None
        self._done: int | None = None

    def watch(self, step: Callable[[], Any]) -> None:
        """Call before the measured steps: runs two more."""
        self._seen = self._seen and traceable(step)
        if self._seen:
            self._watched = work_of(step, watched=True)[0]

    def after_steps(self, step: Callable[[], Any]) -> list[Finding]:
        """Runs two more steps. GB316 if they do less than half of the watched step's work, and so do more of them on
        average (a model may draw its depth at random), or if they defer it.
        """
        least, works = LEAST_SHARE * (self._watched or 0), list[int]()
        for _ in range(_STEPS_ON_AVERAGE):
            work, result = work_of(step, watched=False) if self._seen else (0, step())
            if (promised := deferred(result)) is not None:
                return [finding("GB316", f"A step after the measured ones returned {promised}.", promised=promised)]
            works.append(work)
            if len(works) == _STEPS_AFTER and max(works) >= least:
                break
        self._done = max(works) if self._seen else None
        done = fmean(works)
        if not self._watched or len(works) == _STEPS_AFTER or done >= least:
            return []
        share = format_percent(done / self._watched)
        message = f"Steps after the measured ones did {share} of the work of one that was watched."
        return [finding("GB316", message, watched=self._watched, done=done)]

    def against_model(self, workload: Any) -> list[Finding]:
        """GB308 if the steps did next to none of a fresh model's work. Call it after `close`."""
        expected = None if self._done is None else work_of_model(workload, self._case)
        if not expected or self._done is None or self._done >= LEAST_SHARE_OF_MODEL * expected:
            return []
        share = format_percent(self._done / expected)
        message = f"A step did {share} of the products and convolutions that a fresh model does on such a batch."
        return [finding("GB308", message, expected=expected, done=self._done)]
