"""Scaling efficiency: how much of its speed alone each rank keeps when ranks work together."""

import math
from collections.abc import Sequence

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.launch_estimates import geometric_estimate
from gpubench.core.records import Estimate, Status
from gpubench.suite.model.case import Case

OF_RANKS = frozenset({"world_size", "strategy", "scaling", "micro_batches", "backend"})
"""Settings without a meaning for one process."""

_THREADS = "one process would have the threads of all ranks; give each its own number (`cpu_threads`)"
_ALONE = "no case of one process with the same settings was measured"
_ROUNDS = "no round has both this case and that of one process"


def judge_scaling(cases: Sequence[CaseSummary]) -> None:
    """Gives each case with several ranks its `scaling_efficiency`, or the reason why it has none."""
    several = [e for e in cases if e.case.world_size > 1 and not e.case.is_collective]
    alone = {_rest(entry.case): entry for entry in reversed(cases) if several and entry.case.world_size == 1}
    for entry in several:
        entry.metrics.scaling = _efficiency(entry, alone.get(_rest(entry.case)))


def _rest(case: Case) -> str:
    return repr(sorted((name, repr(value)) for name, value in case.settings.items() if name not in OF_RANKS))


def _efficiency(entry: CaseSummary, base: CaseSummary | None) -> Estimate | str:
    """Samples per second of n ranks over n times those of one process, for weak and strong scaling.

    A round measures both in succession, so the ratio is taken within rounds; the interval is over rounds, on logs.
    """
    if entry.case.device_type == "cpu" and entry.case.cpu_threads is None:
        return _THREADS
    if base is None:
        return _ALONE
    ours, theirs = _by_round(entry), _by_round(base)
    rounds = sorted(ours.keys() & theirs.keys())
    if not rounds:
        return _ROUNDS
    return geometric_estimate([math.log(ours[each] / (entry.case.world_size * theirs[each])) for each in rounds])


def _by_round(entry: CaseSummary) -> dict[int, float]:
    found = {record.repeat: record.metrics.get("throughput") for record in entry.records if record.status is Status.OK}
    return {number: rate for number, rate in found.items() if rate is not None and rate > 0}
