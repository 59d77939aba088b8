"""The screen of `gpubench check`: one row per gate, then the cases behind them."""

import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import SPEED_METRICS
from gpubench.analysis.gate.gate_outcome import Checked
from gpubench.analysis.gate.gate_rules import GateResult
from gpubench.core.errors import ExitStatus
from gpubench.core.records import Status
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import (
    LEVEL_WORDS,
    change_text,
    end_reason,
    ended_badly,
    kind_word,
    metric_title,
)
from gpubench.report.comparison.comparison_report import difference_facts, ends_table, unclear_lines
from gpubench.report.model.report_model import (
    Column,
    Line,
    ReportModel,
    Section,
    Span,
    Table,
    Tone,
    code,
    line,
    lines,
    strong,
)
from gpubench.report.model.words import count

_NAMED = 5
_STAND_IN = line(
    "No gate was declared (", code("gates:"), " in the suite, ", code("--gate"), "); these are the defaults."
)
_MARKS = {"fail": "-", "unclear": "?", "no data": "?", "pass": "", "overruled": ""}
_TONES: dict[str, Tone] = {"fail": "bad", "pass": "plain"}


def build_check(checked: Checked, *, run: str, extra: Sequence[Section] = ()) -> ReportModel:
    """The report of a check of `run`: gates, failures and why they are real, failures not confirmed, and what to type
    next. `extra` sections say what makes cases slower.
    """
    compared = checked.compared
    level = f"; {LEVEL_WORDS[compared.level]}" if compared.level else ""
    sections = (
        Section("differs", "Differs", facts=difference_facts(compared.differences)),
        Section("gates", "Gates", lines=() if checked.declared else (_STAND_IN,), tables=(_gates(checked),)),
        Section("failures", "Beyond the limit", tables=_failures(checked)),
        *extra,
        Section("ends", "Did not end well", tables=ends_table(ended(checked))),
        Section("kept", "Not confirmed", lines=_not_confirmed(checked)),
        Section("missing", "Not checked", lines=_missing(checked)),
        Section("unclear", "Unclear", lines=_unclear(checked)),
        Section("next", "Next", lines=_next(checked, run)),
    )
    return ReportModel(
        title=f"Check of {compared.candidate.name} against {compared.reference.name}",
        subtitle=line(f"{count(compared.num_in_common, 'case')} in common{level}"),
        run=run,
        headline=(headline(checked),),
        sections=tuple(section for section in sections if not section.empty),
    )


def headline(checked: Checked) -> Line:
    """The outcome in a sentence."""
    outcomes = Counter(result.outcome for result in checked.results)
    failed = [result for result in checked.results if result.outcome == "fail"]
    unclear = count(outcomes["unclear"], "gate")
    if failed:
        cases = {change.case_id for result in failed for change in result.failures}
        said = f"{count(len(failed), 'gate')} of {len(checked.results)} failed, in {count(len(cases), 'case')}"
        return line(strong(f"FAIL: {said}."), " Accepted." if checked.accepted is not None else "")
    if checked.unmeasured and checked.verdict in (ExitStatus.GATE_FAILED, ExitStatus.USAGE):
        word = "FAIL" if checked.verdict is ExitStatus.GATE_FAILED else "NOT JUDGED"
        others = " No gate failed in the others." if any(result.covered for result in checked.results) else ""
        return line(strong(f"{word}: {count(len(checked.unmeasured), 'case')} not measured."), others)
    if checked.verdict is ExitStatus.GATE_FAILED:
        undecided = count(outcomes["unclear"] + outcomes["no data"], "gate")
        return line(strong(f"FAIL: {undecided} could not be decided"), " (", code("--on-unclear fail"), ").")
    were = "was" if outcomes["unclear"] == 1 else "were"
    doubt = f" {unclear} {were} unclear in some cases; this is not a failure." if outcomes["unclear"] else ""
    if checked.verdict is not ExitStatus.OK and checked.crashed_side:
        return line(strong("NOT JUDGED: "), checked.crashed_side, ".")
    if checked.verdict is ExitStatus.CASE_FAILED:
        return line(strong("No gate failed, but cases did: they gave no usable figures."), doubt)
    if checked.verdict is ExitStatus.USAGE:
        return line(strong("NOT JUDGED: no gate could be decided in any case."))
    lacking = [
        count(number, what)
        for number, what in ((outcomes["no data"], "gate"), (checked.num_without_data, "case"))
        if number
    ]
    without = f" No data: {' and '.join(lacking)}." if lacking else ""
    kept = f"PASS: {count(outcomes['pass'], 'gate')} kept." if outcomes["pass"] else "No gate failed."
    return line(strong(kept), doubt, without, *_speed_left_out(checked))


def _speed_left_out(checked: Checked) -> tuple[str | Span, ...]:
    """A note that no gate covers a speed, because readers of PASS would assume it."""
    if any(result.rule.metric in SPEED_METRICS for result in checked.results):
        return ()
    return (" Speed was not judged: no gate is on it (", code("--gate throughput=3%"), ").")


def _gates(checked: Checked) -> Table:
    def worst(result: GateResult) -> str:
        if result.worst is None:
            return ""
        return moved_by(result, result.worst, result.worst.changes.get(result.rule.metric))

    def folded(result: GateResult) -> str:
        return f"{_limited(result, gate_title(result))}: {outcome_text(result)}"

    columns = (
        Column("mark", "", "left", cell=lambda result: _MARKS[result.outcome]),
        Column("gate", "gate", "left", flexible=True, form="wide", cell=gate_title),
        Column("gate", "gate", "left", flexible=True, form="narrow", cell=folded),
        Column("limit", "limit", "left", flexible=True, form="wide", cell=limit_text),
        Column("worst", "worst (95 % interval)", cell=worst),
        Column("where", "where", "left", 1, flexible=True, cell=lambda result: result.worst and result.worst.label),
        Column("cases", "cases", priority=2, cell=lambda result: result.num_cases),
        Column("outcome", "outcome", "left", form="wide", cell=outcome_text),
    )
    made = Table.of("gates", columns, checked.results, tone=lambda result: _TONES.get(result.outcome, "muted"))
    return made.without_empty_columns()


def _limited(result: GateResult, what: str) -> str:
    """`throughput, limit 3.0%`; `status, no new oom`."""
    return f"{what}, {'' if result.rule.no_new else 'limit '}{limit_text(result)}"


def gate_title(result: GateResult) -> str:
    """`throughput`, `memory where mode=train`."""
    rule = result.rule
    where = "".join(f" {name}={value}" for name, value in rule.where.items())
    metric = "status" if rule.metric == "status" else metric_title(rule.metric)
    return metric + where + (f" @ {rule.cases}" if rule.cases else "")


def limit_text(result: GateResult) -> str:
    rule = result.rule
    return f"no new {', '.join(rule.no_new)}" if rule.no_new else format_percent(rule.max_regression or 0.0)


def outcome_text(result: GateResult) -> str:
    """`fail, 2 cases, confirmed`; `pass`, `unclear in 3`."""
    if result.outcome == "fail":
        fresh = result.confirmation
        confirmed = "" if fresh is None else ", not measured again" if fresh.lost else ", confirmed"
        return f"fail, {count(len(result.failures), 'case')}{confirmed}"
    if result.outcome == "overruled":
        return "later gates decide"
    return f"unclear in {len(result.unclear)}" if result.outcome == "unclear" else result.outcome


def _failures(checked: Checked) -> tuple[Table, ...]:
    rows = failures(checked.results)
    if not rows:
        return ()

    def of(get: Callable[[GateResult, CaseChange, MetricChange | None], str]) -> Callable[[Any], str]:
        return lambda row: get(*row)

    def metric(moved: MetricChange | None) -> str:
        return "status" if moved is None else metric_title(moved.metric)

    folded = of(lambda result, change, moved: f"{change.label}: {_limited(result, metric(moved))}")
    why = Column("why", "why", "left", flexible=True, cell=of(lambda result, change, _: why_real(result, change)))
    columns = (
        Column("mark", "", "left", cell=lambda _: "-"),
        Column("case", "case", "left", flexible=True, form="wide", cell=of(lambda _, change, __: change.label)),
        Column("case", "case", "left", flexible=True, form="narrow", cell=folded),
        Column("metric", "metric", "left", form="wide", cell=of(lambda _, __, moved: metric(moved))),
        Column("change", "change (95 % interval)", cell=of(moved_by)),
        Column("limit", "limit", "left", flexible=True, form="wide", cell=of(lambda result, _, __: limit_text(result))),
        replace(why, form="wide"),
        replace(why, form="narrow", priority=1),
    )
    return (Table.of("failures", columns, rows, tone=lambda _: "bad").without_empty_columns(),)


def failures(results: Sequence[GateResult]) -> list[tuple[GateResult, CaseChange, MetricChange | None]]:
    """Every case that broke a rule, with the change of its metric (None for a status)."""
    return [
        (result, change, change.changes.get(result.rule.metric)) for result in results for change in result.failures
    ]


def moved_by(result: GateResult, change: CaseChange, moved: MetricChange | None) -> str:
    """How a case broke a rule: its change, or for a status, how it ended."""
    return kind_word(change) if moved is None else change_text(moved, result.rule.max_regression)


def why_real(result: GateResult, change: CaseChange) -> str:
    """Why a failure is not noise."""
    moved = change.changes.get(result.rule.metric)
    if moved is None:
        why = end_reason(change) or kind_word(change)
    elif moved.change is not None and moved.change.low is not None:
        why = "the whole interval is beyond the limit"
    else:
        why = moved.reason
    fresh = result.confirmation
    if fresh is not None and any(each is change for each in fresh.lost):
        return f"{why}; the fresh rounds gave no figure that could clear it"
    return why if fresh is None else f"{why}, confirmed in {count(fresh.rounds, 'fresh round')}"


def ended(checked: Checked) -> tuple[CaseChange, ...]:
    """Cases whose launches crashed, or that ended worse or differently than before, unless a failed gate on `status`
    names them.
    """
    told = {
        (change.measured.kind, change.case_id)
        for result in checked.results
        if result.rule.metric == "status"
        for change in result.failures
    }
    return tuple(
        change
        for change in checked.compared.changes
        if ended_badly(change) and (change.measured.kind, change.case_id) not in told
    )


def _not_confirmed(checked: Checked) -> tuple[Line, ...]:
    return lines(
        *(
            f"{change.label}: {gate_title(result)} was beyond {limit_text(result)} and kept it in "
            f"{count(result.confirmation.rounds, 'fresh round')}"
            for result in checked.results
            if result.confirmation is not None
            for change in result.confirmation.kept
        )
    )


def _missing(checked: Checked) -> tuple[Line, ...]:
    """Cases that no gate can judge, because a side did not measure them."""
    gone = [
        change
        for change in checked.compared.changes
        if change.candidate is None and change.reference is not None and change.reference.status is Status.OK
    ]
    return lines(
        _not_measured(checked.unmeasured),
        _not_measured(gone, f" of {checked.compared.reference.name}"),
    )


def _not_measured(changes: Sequence[CaseChange], which: str = "") -> str:
    if not changes:
        return ""
    more = f" and {len(changes) - _NAMED} more" if len(changes) > _NAMED else ""
    were = "was" if len(changes) == 1 else "were"
    named = ", ".join(change.label for change in changes[:_NAMED])
    return f"{count(len(changes), 'case')}{which} {were} not measured: {named}{more}"


def _unclear(checked: Checked) -> tuple[Line, ...]:
    """Why cases are undecided; for cases measured again, from the fresh rounds."""
    unclear = [change.changes[result.rule.metric] for result in checked.results for change in result.unclear]
    return tuple(unclear_lines(unclear, checked.compared.settings.sesoi))


def _next(checked: Checked, run: str) -> tuple[Line, ...]:
    """What to type next: to look closer, or to accept."""
    reference, candidate = checked.compared.reference, checked.compared.candidate
    said = []
    if checked.compared.level in ("stored", "single") and any(result.unclear for result in checked.results):
        told = "Runs made at different times cannot fail a speed gate: measure both in one run with "
        judged = (", or judge them anyway with ", code("--allow-unpaired"), ".")
        said.append(line(told, code("gpubench run SUITE --arm ..."), *judged))
    if checked.verdict is not ExitStatus.OK and candidate.source != "pytest-benchmark":
        # The command that shows every row; `compare` accepts no baseline. A run's name may be followed by its tag.
        beside = Path(shlex.split(run)[0]).with_name(reference.name.partition(" ")[0])
        named = {"arm": "", "run": f"{shlex.quote(str(beside))} "}.get(reference.source)
        rows = code(
            "" if named is None or candidate.source != reference.source else f"gpubench compare {named}{run} -v"
        )
        said.append(line("To look: ", rows, ", " if rows.text else "", code(f"gpubench show {run}:CASE")))
    if checked.unmeasured and candidate.source != "pytest-benchmark":
        said.append(line("To measure what is missing: ", code(f"gpubench run --resume {run}")))
    if checked.verdict is ExitStatus.USAGE and checked.accepted is None:
        said.append(line("To pass anyway: ", code("--on-unclear pass"), "; to fail: ", code("--on-unclear fail")))
    failed = checked.verdict is ExitStatus.GATE_FAILED and checked.accepted is None
    if failed and reference.source == "baseline":
        accept = code(f"gpubench check {run} --accept 'REASON'")
        said.append(line("To accept: ", accept, " makes this run the baseline, with the reason in its history."))
    if checked.written is not None:
        said.append(line("Baseline written: ", code(str(checked.written)), ". Commit it."))
    return tuple(said)
