"""The report of a comparison: what differs around it, what changed, how much is unchanged, what cannot be told."""

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import Compared
from gpubench.analysis.compare.overall_change import Overall
from gpubench.analysis.compare.side_differences import Difference
from gpubench.analysis.verdict.not_interleaved import NOT_INTERLEAVED
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.core.units import format_percent, group_digits
from gpubench.report.comparison.change_cells import (
    LEVEL_WORDS,
    change_text,
    end_reason,
    ended_badly,
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
    EMPTY,
    Cell,
    Column,
    Fact,
    Line,
    ReportModel,
    Row,
    Section,
    Table,
    code,
    line,
    strong,
)
from gpubench.report.model.words import count, joined

Moved = tuple[CaseChange, MetricChange]

_COLUMNS = (
    Column("mark", "", "left"),
    Column("case", "case", "left", flexible=True),
    Column("metric", "metric", "left"),
    Column("reference", "before", priority=4),
    Column("candidate", "after", priority=3),
    Column("unit", "", "left", priority=2),
    Column("change", "change (95 % interval)"),
    Column("rounds", "n", priority=5),
    Column("verdict", "verdict", "left"),
    Column("why", "why", "left", flexible=True),
)
_FOLDED = ("metric", "verdict")
"""Columns that stand with the case where there is no room for them: rows of a case are told apart at any width."""

_ENDS = (
    Column("mark", "", "left"),
    Column("case", "case", "left", flexible=True),
    Column("verdict", "verdict", "left"),
    Column("reason", "reason", "left", flexible=True),
)


def build_comparison(compared: Compared, *, verbose: bool = False, extra: Sequence[Section] = ()) -> ReportModel:
    """One candidate against its reference. `verbose` lists every row with the reason of its verdict.

    `extra` sections (an explanation from profiles) stand before what is unclear.
    """
    changed = [each for each in moves(compared.changes) if _stands_out(compared, each)]
    sections = (
        Section("differs", "Differs", facts=difference_facts(compared.differences)),
        Section("changed", "Changed", tables=_tables("changed", changed, compared, why=verbose)),
        Section(
            "ends", "Ended otherwise", tables=ends_table([each for each in compared.changes if _ended_otherwise(each)])
        ),
        *extra,
        Section("counts", "All in all", lines=_counts(compared, len(changed), verbose=verbose)),
        Section("unclear", "Unclear", lines=unclear_lines(_unclear(compared), compared.settings.sesoi)),
        Section(
            "all",
            "Every row",
            tables=_tables("all", list(moves(compared.changes)), compared, why=True) if verbose else (),
        ),
    )
    return ReportModel(
        title=f"{compared.candidate.name} against {compared.reference.name}",
        subtitle=_subtitle(compared),
        run=compared.candidate.name,
        headline=_headline(compared),
        sections=tuple(section for section in sections if not section.empty),
    )


def moves(changes: Iterable[CaseChange]) -> Iterable[Moved]:
    return ((change, moved) for change in changes for moved in change.changes.values())


def _stands_out(compared: Compared, each: Moved) -> bool:
    """Whether a row is shown without being asked for: a judged change, an INVALID case, or one that may not be judged."""
    change, moved = each
    if moved.judgement in ("worse", "better") or now_invalid(change):
        return True
    large = moved.change is not None and abs(moved.change.value) >= compared.settings.sesoi
    capped = moved.reason.startswith(NOT_INTERLEAVED)
    return moved.judgement == "unclear" and (capped or (large and moved.metric == compared.metrics[0]))


def _subtitle(compared: Compared) -> Line:
    suite = f"suite {compared.candidate.suite}, " if compared.candidate.suite else ""
    level = f"; {LEVEL_WORDS[compared.level]}" if compared.level else ""
    return line(f"{suite}{count(compared.num_in_common, 'case')} in common{level}")


def _headline(compared: Compared) -> tuple[Line, ...]:
    lines = [_verdicts(compared)]
    found = compared.overall
    if found is not None:
        lines.append(_overall(found, "" if compared.interleaved else ", as stored"))
    if compared.level == "stored":
        lines.append(
            line(f"Two sessions of one machine differ by about 1 % with nothing changed{_what_follows(compared)}")
        )
    return tuple(each for each in lines if each)


def _what_follows(compared: Compared) -> str:
    measure = "`gpubench run SUITE --arm ...`"
    if compared.allow_unpaired:
        return f". `--allow-unpaired`: verdicts here do not know that, and call it a change of the code. To tell them apart, measure both in one run with {measure}."
    return (
        f", so stored runs give no `slower` or `faster`: measure both in one run with {measure}, "
        "or add `--allow-unpaired` to judge them all the same."
    )


def _verdicts(compared: Compared) -> Line:
    """Of the speed, in words: the first metric of each case that is a speed."""
    words = Counter(
        verdict_word(moved) for change in compared.changes for moved in _speed_of(change) if not now_invalid(change)
    )
    if not words:
        return line("No case has a speed on both sides.")
    order = ("slower", "faster", "same", "unclear")
    parts = [f"{words[word]} {_as_said(word)}" for word in order if words[word]]
    return line("Speed: ", strong(joined(parts)), f" of {count(words.total(), 'case')}.")


def _as_said(word: str) -> str:
    return "the same" if word == "same" else word


def _speed_of(change: CaseChange) -> list[MetricChange]:
    from gpubench.analysis.compare.overall_change import speed_change

    found = speed_change(change)
    return [] if found is None else [found]


def _overall(found: Overall, how: str) -> Line:
    ratio = found.ratio
    if not math.isfinite(ratio.value):
        return ()
    percent = format_percent(ratio.value - 1, signed=True)
    ends = ""
    if ratio.low is not None and ratio.high is not None:
        low, high = (format_percent(end - 1, signed=True) for end in (ratio.low, ratio.high))
        ends = f" ({low} to {high})"
    over = f", geometric mean over {count(found.num_cases, 'case')}" if found.num_cases > 1 else ""
    return line(f"Step time {percent}{ends}{over}{how}.")


def difference_facts(found: Sequence[Difference]) -> tuple[Fact, ...]:
    """`torch  2.12.1 -> 2.13.0`; with a word where the numbers mean nothing together."""
    return tuple(
        Fact(each.shown, line(_change_of(each), " (forced: the numbers mean nothing together)" if each.refused else ""))
        for each in found
    )


def _change_of(each: Difference) -> str:
    if isinstance(each.before, list | tuple) and isinstance(each.after, list | tuple):
        gone = [f"-{name}" for name in each.before if name not in each.after]
        new = [f"+{name}" for name in each.after if name not in each.before]
        return " ".join([*gone, *new]) or "in another order"
    return " -> ".join("none" if value is None else str(value) for value in (each.before, each.after))


def _tables(key: str, rows: Sequence[Moved], compared: Compared, *, why: bool) -> tuple[Table, ...]:
    if not rows:
        return ()
    # Scripts made by others are never checked for what they compute; saying so on every row would say nothing.
    checks = compared.candidate.source != "pytest-benchmark"
    columns = _titled(compared)
    made = [_row(change, moved, why=why or moved.judgement == "unclear", checks=checks) for change, moved in rows]
    notes = _notes(made)
    folded = [
        replace(made_row, cells=_folded(made_row.cells, f"{change.label}, {metric_title(moved.metric)}"))
        for made_row, (change, moved) in zip(made, rows, strict=True)
    ]
    narrow = Table(key, _folded_columns(columns), tuple(folded), notes=notes).without_empty_columns()
    return (Table(key, columns, tuple(made), notes=notes, narrow=narrow).without_empty_columns(),)


def _folded_columns(columns: Sequence[Column]) -> tuple[Column, ...]:
    """Without those that stand with the case; reasons go last of all that may go."""
    return tuple(
        replace(each, priority=1) if each.key == "why" else each for each in columns if each.key not in _FOLDED
    )


def _folded(cells: Sequence[Cell], name: str) -> tuple[Cell, ...]:
    """`64, peak memory allocated: worse` in one cell."""
    of_key = {column.key: cell for column, cell in zip(_COLUMNS, cells, strict=True)}
    of_key["case"] = Cell(f"{name}: {of_key['verdict'].text}")
    return tuple(cell for key, cell in of_key.items() if key not in _FOLDED)


def _titled(compared: Compared) -> tuple[Column, ...]:
    """Arms are named above their values; of runs, whose names are long, one is before and one after."""
    if compared.candidate.source != "arm":
        return _COLUMNS
    names = {"reference": compared.reference.name, "candidate": compared.candidate.name}
    return tuple(replace(column, title=names.get(column.key, column.title)) for column in _COLUMNS)


def _notes(rows: Sequence[Row]) -> tuple[Line, ...]:
    marks = {row.cells[0].text for row in rows}
    meaning = {"-": "- worse", "+": "+ better", "?": "? unclear", "!": "! weakened by a finding"}
    used = [text for sign, text in meaning.items() if any(sign in each for each in marks)]
    return (line("   ".join(used)),) if used else ()


def _row(change: CaseChange, moved: MetricChange, *, why: bool, checks: bool) -> Row:
    assert change.reference is not None
    assert change.candidate is not None
    value = None if moved.change is None or not math.isfinite(moved.change.value) else moved.change
    verdict = "now INVALID" if now_invalid(change) else verdict_word(moved)
    if checks and verdict == "faster" and unverified(change):
        verdict += ", output unverified"
    rounds = moved.comparison.rounds if moved.comparison is not None else 0
    cells = (
        Cell(mark(change, moved)),
        Cell(change.label),
        Cell(metric_title(moved.metric)),
        value_cell(change.reference.launch_values(moved.metric), moved.metric),
        value_cell(change.candidate.launch_values(moved.metric), moved.metric),
        Cell(unit_of(moved.metric)),
        Cell(
            change_text(moved),
            value=None if value is None else value.value,
            low=None if value is None else value.low,
            high=None if value is None else value.high,
        ),
        Cell(str(rounds), value=rounds) if rounds else EMPTY,
        Cell(verdict),
        Cell(moved.reason if why else ""),
    )
    return Row(cells, tone(change, moved))


def _ended_otherwise(change: CaseChange) -> bool:
    """Cases that have figures on one side alone, no longer end as they did, or crashed in some of their launches."""
    if change.kind in ("fixed", "added", "removed"):
        return True
    before, after = change.reference, change.candidate
    same = before is not None and after is not None and before.status is after.status
    in_part = after is not None and after.status is Status.OK and after.num_crashed > 0
    return ended_badly(change) and (in_part or not same)


def ends_table(changes: Sequence[CaseChange]) -> tuple[Table, ...]:
    """How each of these cases ended, and why; no table where there is none."""
    if not changes:
        return ()
    rows = [
        Row((Cell(mark(each)), Cell(each.label), Cell(kind_word(each)), Cell(end_reason(each))), tone(each))
        for each in changes
    ]
    narrow = Table(
        "ends",
        tuple(column for column in _ENDS if column.key != "verdict"),
        tuple(
            replace(row, cells=(row.cells[0], Cell(f"{row.cells[1].text}: {row.cells[2].text}"), row.cells[3]))
            for row in rows
        ),
    )
    table = Table("ends", _ENDS, tuple(rows), narrow=narrow.without_empty_columns())
    return (table.without_empty_columns(),)


def _counts(compared: Compared, num_changed: int, *, verbose: bool) -> tuple[Line, ...]:
    """What the tables above leave out."""
    counts: Counter[tuple[str, str]] = Counter((moved.metric, moved.judgement) for _, moved in moves(compared.changes))
    lines = []
    for metric in compared.metrics:
        parts = [
            f"{counts[metric, judgement]} {word}"
            for judgement, word in (
                ("worse", "worse"),
                ("better", "better"),
                ("same", "unchanged"),
                ("unclear", "unclear"),
            )
            if counts[metric, judgement]
        ]
        if parts:
            lines.append(line(f"{metric_title(metric)}: {joined(parts)}"))
    idle = sum(change.kind == "not_measured" and not _ended_otherwise(change) for change in compared.changes)
    if idle:
        lines.append(line(f"{count(idle, 'case')} not measured on both sides"))
    if num_changed and not verbose and any(counts[metric, "same"] for metric in compared.metrics):
        lines.append(line("Only rows that changed are listed; ", code("-v"), " lists all with their reasons."))
    return tuple(lines)


def _unclear(compared: Compared) -> list[MetricChange]:
    return [moved for _, moved in moves(compared.changes) if moved.judgement == "unclear"]


def unclear_lines(unclear: Sequence[MetricChange], sesoi: float) -> tuple[Line, ...]:
    """What `unclear` means here: once per reason, and the rounds that would tell a change of `sesoi`."""
    if not unclear:
        return ()
    reasons = Counter((moved.metric, _kind_of(moved)) for moved in unclear)
    lines = [
        line(f"{metric_title(metric)}: {count(number, 'case')}, {why}") for (metric, why), number in reasons.items()
    ]
    needed = [
        moved.comparison.rounds_needed for moved in unclear if moved.comparison and moved.comparison.rounds_needed
    ]
    if needed:
        lines.append(line(f"{_from_to(needed)} rounds would tell a change of {format_percent(sesoi)} from none."))
    return (
        *lines,
        line("`unclear` means that these data can tell neither a change nor its absence; it never fails a gate."),
    )


def _from_to(numbers: Sequence[int]) -> str:
    low, high = min(numbers), max(numbers)
    return group_digits(str(low)) if low == high else f"{group_digits(str(low))} to {group_digits(str(high))}"


def _kind_of(moved: MetricChange) -> str:
    """A reason without its own numbers, so that equal ones can be counted together."""
    if moved.reason.startswith(NOT_INTERLEAVED):
        return NOT_INTERLEAVED
    interval, colon, rest = moved.reason.partition(": ")
    return rest if colon and interval.endswith("%") else moved.reason


def speed_metric_of(change: CaseChange) -> str | None:
    """The name of the case's speed metric, None without one."""
    found = _speed_of(change)
    return found[0].metric if found else None


def unknown_metrics(names: Iterable[str]) -> list[str]:
    """Those that are not in the registry, or have no better and no worse."""
    return [name for name in names if name not in METRICS or METRICS[name].better is None]
