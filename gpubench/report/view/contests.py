"""Contests in a report: cases that may be ranked against each other (same workload, mode, device and timing), and their
wording.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from gpubench.analysis.insight.best_settings import SpeedRatio, best_settings
from gpubench.analysis.insight.decision import Decision, Ranking, batch_of
from gpubench.analysis.summary.case_figures import scaled
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.findings import FINDINGS, Effect, Finding, Validity
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.report.model.figure_cells import times_text
from gpubench.report.model.words import place, task
from gpubench.suite.cases.labels import short_word, varying
from gpubench.suite.model.case import Case
from gpubench.suite.model.precisions import LEGEND_ORDER

MOST_CHARTED = 8

LAUNCH = "launch"
"""The standing of a mark for a single launch, drawn small."""

DOTS = "Small dots are single launches."


@dataclass(frozen=True)
class Contest:
    """`key` is stable and usable as a file name; `subject` begins a sentence: `Training on the GPU`."""

    key: str
    subject: str
    ranking: Ranking

    @property
    def cases(self) -> tuple[CaseSummary, ...]:
        return self.ranking.cases

    @property
    def timing(self) -> str:
        return self.first.timing

    @property
    def first(self) -> Case:
        return self.cases[0].case

    @property
    def has_best(self) -> bool:
        """Whether one of its cases can be called the best. A small message is no better setting than a large one."""
        return self.ranking.first is not None and not self.first.is_collective

    @property
    def metric(self) -> str:
        return "latency_s" if self.timing == "latency" else "throughput"

    @cached_property
    def rankable(self) -> tuple[CaseSummary, ...]:
        """The cases with a figure that is not invalid."""
        return tuple(entry for entry in self.cases if has_figure(entry))

    @cached_property
    def differing(self) -> tuple[str, ...]:
        """Settings that tell the cases apart."""
        return varying(entry.case for entry in self.cases)

    @property
    def precisions(self) -> tuple[str, ...]:
        met = {entry.case.precision for entry in self.cases}
        return tuple(name for name in LEGEND_ORDER if name in met)


def has_figure(entry: CaseSummary) -> bool:
    return entry.status is Status.OK and entry.validity is not Validity.INVALID and entry.speed is not None


def contests(decision: Decision) -> tuple[Contest, ...]:
    """One contest per ranking, in the same order."""
    several = len({ranking.case.workload for ranking in decision.rankings}) > 1
    return tuple(
        Contest(_key(ranking.case, several), subject(ranking.case, several), ranking) for ranking in decision.rankings
    )


def subject(case: Case, several: bool, *, device: bool = True) -> str:
    """`Training on the GPU`; with `several` workloads, it names the workload too."""
    said = f"{task(case)}{' latency' if case.timing == 'latency' else ''}"
    said += f" on {place(case.device)}" if device else ""
    return f"{said} ({case.workload})" if several else said


def _key(case: Case, several: bool) -> str:
    words = (case.workload if several else "", case.mode, case.device, "latency" if case.timing == "latency" else "")
    return re.sub(r"[^A-Za-z0-9]+", "-", "-".join(words)).strip("-").lower()


def charted(decision: Decision) -> tuple[Contest, ...]:
    """The contests that get charts: at most eight with a figure. The tables hold all of them."""
    return tuple(contest for contest in contests(decision) if contest.rankable)[:MOST_CHARTED]


def by_batch(contest: Contest) -> dict[str, list[CaseSummary]]:
    """Per precision, the cases that differ from its best case only in batch size, sorted by it.

    If its best case was measured at only one batch size, the settings with the most batch sizes are used.
    """
    lines = {}
    for precision in contest.precisions:
        mine = [entry for entry in contest.cases if entry.case.precision == precision]
        block = _line_of(mine, [name for name in contest.differing if name != "batch_size"])
        if block:
            lines[precision] = sorted(block, key=batch_of)
    return lines


def _line_of(cases: Sequence[CaseSummary], others: Sequence[str]) -> list[CaseSummary]:
    blocks: dict[tuple[str, ...], list[CaseSummary]] = {}
    for entry in cases:
        blocks.setdefault(tuple(repr(getattr(entry.case, name)) for name in others), []).append(entry)
    measured = [block for block in blocks.values() if any(map(has_figure, block))]
    if not measured:
        return []
    best = max(best_settings(cases), key=lambda found: (found.won, found.summary.rank_speed or 0.0)).summary

    def rank(block: Sequence[CaseSummary]) -> tuple[bool, int, bool]:
        holds = any(entry is best for entry in block)
        return len(block) > 1 and holds, len(block), holds

    return max(measured, key=rank)


def other_settings(line: Sequence[CaseSummary], contest: Contest) -> str:
    """`NHWC bench`: the settings that vary in the contest but not along this line."""
    names = [name for name in contest.differing if name not in ("batch_size", "precision")]
    return " ".join(short_word(name, getattr(line[0].case, name)) for name in names)


def largest_that_fits(contest: Contest, precision: str) -> str:
    """`fp32 fits batch 256 and not 1024`; empty if nothing ran out. The smallest batch that did not fit counts."""
    mine = [entry for entry in contest.cases if entry.case.precision == precision]
    oom = min((batch_of(entry) for entry in mine if entry.status is Status.OOM), default=None)
    if oom is None:
        return ""
    fits = [batch_of(entry) for entry in mine if entry.status is Status.OK and batch_of(entry) < oom]
    return f"{precision} fits batch {max(fits)} and not {oom}" if fits else f"{precision} does not fit batch {oom}"


def figure(entry: CaseSummary, metric: str) -> tuple[float, float | None, float | None]:
    """The figure with the ends of its interval, in the metric's display unit, for charts."""
    spec = METRICS[metric]
    found = scaled(entry.metrics[metric], spec.display_factor, spec.unit)
    return found.value, found.low, found.high


BAND = "The band is the 95 % interval over launches."
HOLLOW = "Hollow marks are weakened by a finding."


def standing(entry: CaseSummary) -> str:
    """`valid`, `suspect` or `unverified`: decides how the case is marked."""
    if entry.validity is Validity.SUSPECT:
        return "suspect"
    return "unverified" if entry.correctness == "unverified" else "valid"


def times(ratio: float) -> str:
    """`3.4x`; without decimals from 10 on."""
    return f"{ratio:.0f}x" if ratio >= 9.95 else f"{ratio:.1f}x" if ratio >= 1.95 else f"{ratio:.2f}x"


def change(ratio: float) -> str:
    """`+52%` of 1.52."""
    return format_percent(ratio - 1, signed=True, decimals=0 if abs(ratio - 1) >= 0.095 else 1)


def with_hollow(reading: str, entries: Sequence[CaseSummary]) -> str:
    """`reading`, with the meaning of hollow marks if there are any."""
    return f"{reading} {HOLLOW}" if any(standing(entry) != "valid" for entry in entries) else reading


def name_of(entry: CaseSummary, contest: Contest) -> str:
    """`amp-bf16 b256 NHWC`: the settings that distinguish a case in this contest."""
    differ = [name for name in contest.differing if name != "precision"]
    return " ".join([entry.case.precision, *(short_word(name, getattr(entry.case, name)) for name in differ)])


def over(found: SpeedRatio, what: str) -> str:
    """`3.43x ±0.01 as fast as WHAT`, or that this is not certain."""
    said = times_text(found.ratio)
    if found.certain:
        return f"{said} as fast as {what}"
    return f"as fast as {what} ({said})" if found.verdict == "same" else f"not certainly faster than {what} ({said})"


def why_not_short(entry: CaseSummary) -> str:
    """`is weakened by not-converged (GB203)`: `why_not` as part of a sentence about the case."""
    found = _worst(entry)
    if found is None:
        return _why_not_verified(entry)
    spec = FINDINGS.get(found.code)
    verb = "is not valid: " if found.effect == Effect.INVALIDATES else "is weakened by "
    return f"{verb}{f'{spec.name} ' if spec else ''}({found.code})"


def why_not(entry: CaseSummary) -> str:
    """Why a case with a figure may not win, by its most severe finding."""
    found = _worst(entry)
    return f"{_why_not_verified(entry)}." if found is None else f"{found.message} ({found.code})"


def _worst(entry: CaseSummary) -> Finding | None:
    severe = (
        found for effect in (Effect.INVALIDATES, Effect.WEAKENS) for found in entry.findings if found.effect == effect
    )
    return next(severe, None)


def _why_not_verified(entry: CaseSummary) -> str:
    return "its output failed the check" if entry.correctness == "fail" else "its output was not verified"


def launch_dots(entry: CaseSummary, metric: str, factor: float = 1.0) -> list[tuple[str, float]]:
    """(`launch 2`, value) of each launch; empty for a single launch, which is the figure itself."""
    found = entry.launch_values(metric)
    return [(f"launch {repeat}", value * factor) for repeat, value in found.items()] if len(found) > 1 else []
