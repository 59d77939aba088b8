"""Findings grouped by code: what each means for the numbers, where it occurred, and what to do."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.findings import FINDINGS, Effect, Finding, Severity
from gpubench.core.records import Status
from gpubench.report.model.report_model import Remark, Section
from gpubench.report.view.run_view import View

_EXAMPLES = 3
_ORDER = {Severity.ERROR: 0, Severity.WARNING: 1, Severity.INFO: 2}
_MARKS = {Severity.ERROR: "-", Severity.WARNING: "!", Severity.INFO: "?"}
_CONSEQUENCES = {
    Effect.INVALIDATES: "the figure is not valid",
    Effect.WEAKENS: "the result is less reliable and is never reported as best",
    Effect.NONE: "the figure stands",
}


_SIZES: dict[str, Callable[[Mapping[str, Any]], float]] = {
    "GB202": lambda data: abs(data["drift"]),
    "GB203": lambda data: data["rel_half_width"],
    "GB204": lambda data: data["excess_share"],
    "GB205": lambda data: 1 - 1 / data["ratio"],
    "GB211": lambda data: data["between"],
    "GB212": lambda data: data["apart"],
}
"""The share of speed that an occurrence affects; other codes do not say."""


def explains(entry: CaseSummary, found: Finding) -> float:
    """Share of the case's interval of speed (0 to 1) that an occurrence explains; 0 if unknown."""
    speed, size = entry.metrics.get(entry.speed_metric), _SIZES.get(found.code)
    half = None if speed is None else speed.rel_half_width
    if not half or size is None:
        return 0.0
    try:
        return min(1.0, size(found.data) / half)
    except (KeyError, TypeError, ZeroDivisionError):  # another version may have stored less
        return 0.0


def remarks(summaries: Iterable[CaseSummary]) -> tuple[Remark, ...]:
    """One remark per code over all cases: errors, warnings, notes; of each, what explains most first."""
    met: dict[str, list[tuple[CaseSummary, Finding]]] = {}
    entries = tuple(summaries)
    measured = max(1, sum(entry.status is Status.OK for entry in entries))
    for entry in entries:
        # A case without a figure has only the findings of its launches, none about a figure.
        codes = {found.code for record in entry.records for found in record.findings}
        for found in entry.findings:
            if entry.status is Status.OK or found.code in codes:
                met.setdefault(found.code, []).append((entry, found))
    gathered = []
    for code, places in met.items():
        first, spec = places[0][1], FINDINGS.get(code)
        remark = Remark(
            mark=_MARKS[first.severity],
            code=code,
            name=spec.name if spec else "",
            severity=first.severity.value,
            consequence=_CONSEQUENCES[first.effect],
            meaning=spec.meaning if spec else first.message,
            examples=tuple((entry.label, found.message) for entry, found in places[:_EXAMPLES]),
            remedies=tuple(dict.fromkeys(found.hint for _, found in places if found.hint)),
            num_cases=len({entry.planned.index for entry, _ in places}),
            explains=sum(explains(entry, found) for entry, found in places) / measured,
        )
        gathered.append(remark)
    return tuple(
        sorted(gathered, key=lambda remark: (_ORDER[Severity(remark.severity)], -remark.explains, remark.code))
    )


def section(view: View) -> Section:
    found = remarks(view.everything)
    gist = ", ".join(f"{remark.mark} {remark.code} {remark.name} ({remark.num_cases})" for remark in found)
    return Section("findings", "Findings", remarks=found, gist=gist)
