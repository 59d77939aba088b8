"""The reference CNN with a known slow-down in every step: what the judge must find, and how much of it.

`learning_rate` carries the slow-down, because arms that differ in it alone can share a process: 1e-3 is none, 1.03e-3
is 3 %. The processor time of the step is taken, and the processor kept busy for that share of it: as code does that has
so much more to do. Time in which the step waits for a processor is not its own, and grows by nothing here.
"""

import time
from collections.abc import Callable
from typing import Any

from gpubench.suite.model.case import Case
from gpubench.worker.workloads.cnn import CNN

PLAIN = 1e-3


class SlowedCNN(CNN):
    """`workload: aa_workload:SlowedCNN`."""

    def build(self, case: Case, device: Any) -> Callable[[], object]:
        step = super().build(case, device)
        share = round(case.learning_rate / PLAIN - 1, 6)
        if share == 0:
            return step
        clock = time.thread_time_ns

        def slowed() -> object:
            began = clock()
            result = step()
            until = began + (clock() - began) * (1 + share)
            while clock() < until:
                pass
            return result

        return slowed
