"""Findings gathered by code: what each means for the numbers, where it occurred, and what to do."""

from collections.abc import Iterable

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


def remarks(summaries: Iterable[CaseSummary]) -> tuple[Remark, ...]:
    """One remark per code over all cases: errors first, then warnings, then what only explains."""
    met: dict[str, list[tuple[CaseSummary, Finding]]] = {}
    for entry in summaries:
        # A case without a figure has those alone that its launches met, and none about a figure.
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
        )
        gathered.append(remark)
    return tuple(sorted(gathered, key=lambda remark: (_ORDER[Severity(remark.severity)], remark.code)))


def section(view: View) -> Section:
    found = remarks(view.everything)
    gist = ", ".join(f"{remark.mark} {remark.code} {remark.name} ({remark.num_cases})" for remark in found)
    return Section("findings", "Findings", remarks=found, gist=gist)
