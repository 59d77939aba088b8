"""The report of a comparison: differences in the environment, what changed, what did not, and what is unclear."""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import Compared, speed_change
from gpubench.analysis.compare.run_sides import Difference
from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.analysis.verdict.not_interleaved import NOT_INTERLEAVED
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import format_percent, group_digits
from gpubench.report.comparison.change_cells import (
    LEVEL_WORDS,
    change_text,
    end_reason,
    ended_badly,
    is_suspect,
    kind_word,
    mark,
    metric_title,
    now_invalid,
    tone,
    unit_of,
    unverified,
    value_cell,
    verdict_word,
)
from gpubench.report.model.report_model import (
    Cell,
    Column,
    Fact,
    Line,
    ReportModel,
    Section,
    Table,
    code,
    line,
    lines,
    strong,
)
from gpubench.report.model.words import count, joined, sentence

Moved = tuple[CaseChange, MetricChange]


def build_comparison(compared: Compared, *, verbose: bool = False, extra: Sequence[Section] = ()) -> ReportModel:
    """The report of a candidate against its reference. `verbose` lists every row with the reason for its verdict.

    `extra` sections (an explanation from profiles; of two machines, which to choose, first) go before what is unclear.
    """
    rows = list(moves(compared.changes))
    changed = [each for each in rows if _stands_out(compared, each)]
    ended = [each for each in compared.changes if _ended_otherwise(each)]
    unclear = [moved for _, moved in rows if moved.judgement == "unclear"]
    suite = f"suite {compared.candidate.suite}, " if compared.candidate.suite else ""
    level = f"; {LEVEL_WORDS[compared.level]}" if compared.level else ""
    sections = (
        Section("differs", "Differs", facts=difference_facts(compared.differences)),
        *(extra if compared.machines else ()),
        Section("changed", "Changed", tables=_tables("changed", changed, compared, why=verbose)),
        Section("ends", "Ended otherwise", tables=ends_table(ended), gist=_kinds(ended)),
        *(() if compared.machines else extra),
        Section("counts", "Summary", lines=_counts(compared, len(changed), verbose=verbose)),
        Section("unclear", "Unclear", lines=unclear_lines(unclear, compared.settings.sesoi)),
        Section("all", "Every row", tables=_tables("all", rows, compared, why=True) if verbose else ()),
    )
    return ReportModel(
        title=f"{compared.candidate.name} against {compared.reference.name}",
        subtitle=line(f"{suite}{count(compared.num_in_common, 'case')} in common{level}"),
        run=compared.candidate.name,
        headline=_headline(compared),
        sections=tuple(section for section in sections if not section.empty),
    )


def moves(changes: Iterable[CaseChange]) -> Iterable[Moved]:
    return ((change, moved) for change in changes for moved in change.changes.values())


def _stands_out(compared: Compared, each: Moved) -> bool:
    """Whether a row is shown by default: a judged change, an INVALID case, or one that must not be judged."""
    change, moved = each
    if moved.judgement in ("worse", "better") or now_invalid(change):
        return True
    large = moved.change is not None and abs(moved.change.value) >= compared.settings.sesoi
    capped = moved.reason.startswith(NOT_INTERLEAVED)
    return moved.judgement == "unclear" and (capped or (large and moved.metric == compared.metrics[0]))


def _headline(compared: Compared) -> tuple[Line, ...]:
    """Verdicts on speed (each case's first metric that is a speed), then the step time over all cases."""
    known = (speed_change(change) for change in compared.changes if not now_invalid(change))
    words = Counter(verdict_word(moved) for moved in known if moved is not None)
    parts = [
        f"{words[word]} {'the same' if word == 'same' else word}"
        for word in ("slower", "faster", "same", "unclear")
        if words[word]
    ]
    said = [line("No case has a speed on both sides.")]
    if words:
        said = [line("Speed: ", strong(joined(parts)), f" of {count(words.total(), 'case')}.")]
    found = compared.overall
    how = "" if compared.interleaved else ", as stored"
    moved = next((each for change in compared.changes if (each := speed_change(change)) and each.comparison), None)
    if found is not None and found.num_cases == 1 and moved is not None:  # as in its row
        said.append(line(f"{sentence(metric_title(moved.metric))} {change_text(moved)}{how}."))
    elif found is not None and math.isfinite(found.ratio.value):
        percent, *ends = (
            format_percent(end - 1, signed=True)
            for end in (found.ratio.value, found.ratio.low, found.ratio.high)
            if end is not None
        )
        interval = f" ({' to '.join(ends)})" if len(ends) == 2 else ""
        over = f", geometric mean over {count(found.num_cases, 'case')}"
        said.append(line(f"Step time {percent}{interval}{over}{how}."))
    if compared.level == "stored":
        measure = "measure both in one run with `gpubench run SUITE --arm ...`"
        follows = (
            ": a smaller difference between machines means nothing."
            if compared.machines
            else ". `--allow-unpaired`: the verdicts here ignore that, and attribute it to the code. To tell them "
            f"apart, {measure}."
            if compared.allow_unpaired
            else f", so stored runs give no `slower` or `faster`: {measure}, or add `--allow-unpaired` to judge "
            "them anyway."
        )
        said.append(line(f"Two sessions on one machine differ by 1 % or more even if nothing changed{follows}"))
    return tuple(said)


def difference_facts(found: Sequence[Difference]) -> tuple[Fact, ...]:
    """`torch  2.12.1 -> 2.13.0`; with a remark if the numbers cannot be compared."""
    return tuple(
        Fact(each.shown, line(_change_of(each), " (forced: these numbers cannot be compared)" if each.refused else ""))
        for each in found
    )


def _change_of(each: Difference) -> str:
    if isinstance(each.before, list | tuple) and isinstance(each.after, list | tuple):
        gone = [f"-{name}" for name in each.before if name not in each.after]
        new = [f"+{name}" for name in each.after if name not in each.before]
        return " ".join([*gone, *new]) or "in another order"
    return " -> ".join("none" if value is None else str(value) for value in (each.before, each.after))


def _tables(key: str, rows: Sequence[Moved], compared: Compared, *, why: bool) -> tuple[Table, ...]:
    """Arms are named above their values; runs, whose names are long, are called before and after."""
    if not rows:
        return ()
    # Outputs of other people's tests are never checked; saying so in every row would be noise.
    checks = compared.candidate.source != "pytest-benchmark"
    arms = compared.candidate.source == "arm"
    before, after = (compared.reference.name, compared.candidate.name) if arms else ("before", "after")

    def of(get: Callable[[CaseChange, MetricChange], Cell | str | int | None]) -> Callable[[Moved], Any]:
        return lambda row: get(*row)

    def verdict(change: CaseChange, moved: MetricChange) -> str:
        word = "now INVALID" if now_invalid(change) else verdict_word(moved)
        if moved.judgement in ("worse", "better") and is_suspect(change):
            word += ", weakened"
        return f"{word}, output unverified" if checks and moved.judgement == "better" and unverified(change) else word

    folded = of(lambda change, moved: f"{change.label}, {metric_title(moved.metric)}: {verdict(change, moved)}")
    told = of(lambda _, moved: moved.reason if why or moved.judgement == "unclear" else "")
    reason = Column("why", "why", "left", flexible=True, cell=told)
    columns = (
        Column("mark", "", "left", cell=of(mark)),
        Column("case", "case", "left", flexible=True, form="wide", cell=of(lambda change, _: change.label)),
        # If there is no room, metric and verdict move to the case's text, so that rows differ at any width.
        Column("case", "case", "left", flexible=True, form="narrow", cell=folded),
        Column("metric", "metric", "left", form="wide", cell=of(lambda _, moved: metric_title(moved.metric))),
        Column("reference", before, priority=4, cell=of(lambda change, moved: _value(change.reference, moved))),
        Column("candidate", after, priority=3, cell=of(lambda change, moved: _value(change.candidate, moved))),
        Column("unit", "", "left", priority=2, cell=of(lambda _, moved: unit_of(moved.metric))),
        Column("change", "change (95 % interval)", cell=of(lambda _, moved: _change_cell(moved))),
        Column(
            "rounds", "n", priority=5, cell=of(lambda _, moved: (moved.comparison and moved.comparison.rounds) or None)
        ),
        Column("verdict", "verdict", "left", form="wide", cell=of(verdict)),
        # Without -v the section on unclear metrics has the reasons.
        replace(reason, form="wide", priority=0 if why else 6),
        replace(reason, form="narrow", priority=1 if why else 6),
    )
    meaning = {"-": "- worse", "+": "+ better", "?": "? unclear", "!": "! weakened by a finding"}
    used = [text for sign, text in meaning.items() if any(sign in mark(*row) for row in rows)]
    notes = (line("   ".join(used)),) if used else ()
    return (Table.of(key, columns, rows, notes=notes, tone=of(tone)).without_empty_columns(),)


def _change_cell(moved: MetricChange) -> Cell:
    found = moved.change
    if found is None or not math.isfinite(found.value):
        return Cell(change_text(moved))
    return Cell(change_text(moved), value=found.value, low=found.low, high=found.high)


def _value(side: ComparableCase | None, moved: MetricChange) -> Cell:
    assert side is not None
    return value_cell(side.launch_values(moved.metric), moved.metric)


def _ended_otherwise(change: CaseChange) -> bool:
    """Whether a case has figures on one side only, ended differently than before, or crashed in some launches."""
    if change.kind in ("fixed", "added", "removed"):
        return True
    before, after = change.reference, change.candidate
    same = before is not None and after is not None and before.status is after.status
    in_part = after is not None and after.status is Status.OK and after.num_crashed > 0
    return ended_badly(change) and (in_part or not same)


def _kinds(changes: Iterable[CaseChange]) -> str:
    """`36 removed, 1 fixed`."""
    return ", ".join(f"{number} {word}" for word, number in Counter(map(kind_word, changes)).items())


def ends_table(changes: Sequence[CaseChange]) -> tuple[Table, ...]:
    """How each of these cases ended, and why; empty without any."""
    if not changes:
        return ()
    columns = (
        Column("mark", "", "left", cell=mark),
        Column("case", "case", "left", flexible=True, form="wide", cell=lambda each: each.label),
        Column(
            "case", "case", "left", flexible=True, form="narrow", cell=lambda each: f"{each.label}: {kind_word(each)}"
        ),
        Column("verdict", "verdict", "left", form="wide", cell=kind_word),
        Column("reason", "reason", "left", flexible=True, cell=end_reason),
    )
    return (Table.of("ends", columns, changes, tone=tone).without_empty_columns(),)


def _counts(compared: Compared, num_changed: int, *, verbose: bool) -> tuple[Line, ...]:
    """Counts of what the tables above leave out."""
    counts: Counter[tuple[str, str]] = Counter((moved.metric, moved.judgement) for _, moved in moves(compared.changes))
    said = []
    for metric in compared.metrics:
        parts = [
            f"{counts[metric, judgement]} {'unchanged' if judgement == 'same' else judgement}"
            for judgement in ("worse", "better", "same", "unclear")
            if counts[metric, judgement]
        ]
        said += [line(f"{metric_title(metric)}: {joined(parts)}")] if parts else []
    idle = sum(change.kind == "not_measured" and not _ended_otherwise(change) for change in compared.changes)
    said += lines(f"{count(idle, 'case')} not measured on both sides" if idle else "")
    if num_changed and not verbose and any(counts[metric, "same"] for metric in compared.metrics):
        said.append(line("Only rows that changed are listed; ", code("-v"), " lists all with their reasons."))
    return tuple(said)


def unclear_lines(unclear: Sequence[MetricChange], sesoi: float) -> tuple[Line, ...]:
    """Why metrics are unclear, once per reason, and the rounds needed to detect a change of `sesoi`."""
    if not unclear:
        return ()
    reasons = Counter((moved.metric, _kind_of(moved)) for moved in unclear)
    found = (moved.comparison.rounds_needed for moved in unclear if moved.comparison)
    needed = sorted(each for each in found if each)
    rounds = " to ".join(dict.fromkeys(group_digits(str(end)) for end in (*needed[:1], *needed[-1:])))
    return lines(
        *(f"{metric_title(metric)}: {count(number, 'case')}, {why}" for (metric, why), number in reasons.items()),
        f"It takes {rounds} rounds to tell a change of {format_percent(sesoi)} from none." if rounds else "",
        "`unclear` means that the data neither show a change nor rule one out; it fails a gate only with "
        "`--on-unclear fail`.",
    )


def _kind_of(moved: MetricChange) -> str:
    """A reason without its own numbers, so that equal ones can be counted together."""
    if moved.reason.startswith(NOT_INTERLEAVED):
        return NOT_INTERLEAVED
    interval, colon, rest = moved.reason.partition(": ")
    return rest if colon and interval.endswith("%") else moved.reason


def unknown_metrics(names: Iterable[str]) -> list[str]:
    """Names that are not in the registry, or have no better or worse direction."""
    return [name for name in names if name not in METRICS or METRICS[name].better is None]
