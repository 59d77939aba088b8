"""What makes cases slower, in words and a table each: the answer of `--why`."""

from collections.abc import Mapping
from types import MappingProxyType

from gpubench.analysis.compare.compare_sides import Compared, slower_cases, step_time_change
from gpubench.core.records import Estimate
from gpubench.core.units import format_number, format_percent
from gpubench.profile.figures.explain_change import ENOUGH, ChangeExplained, Part
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Cell, Column, Line, Section, Table, line, lines, strong
from gpubench.report.model.words import count, joined

Answer = ChangeExplained | str
"""What was found about a case, or why it could not be profiled."""

_NAME_WIDTH = 56
_NO_OPERATOR = "no operator: Python, or waiting"
_LEAST_SHOWN = 0.0005
_LEAD = (
    "The arms were profiled in turn. A part is named if it is certain and makes up a tenth of the change; "
    "changes are shares of the reference's step time."
)


def why_sections(
    answers: Mapping[str, Answer], verdicts: Mapping[str, Estimate | None] = MappingProxyType({})
) -> tuple[Section, ...]:
    """A section per case, by its label. Empty without any. `verdicts`: the changes that the document shows, where an
    answer may be about an earlier one.
    """
    return tuple(
        Section(
            f"why-{number}",
            f"Why: {label}",
            lines=_lines(answer, verdicts.get(label), lead=number == 1),
            tables=() if isinstance(answer, str) or not answer.parts else (_table(answer),),
        )
        for number, (label, answer) in enumerate(answers.items(), start=1)
    )


def kept_sections(compared: Compared, kept: Mapping[str, ChangeExplained]) -> tuple[Section, ...]:
    """The same from explanations that a run keeps, for the cases that are slower by this comparison."""
    verdicts = {change.label: step_time_change(change) for change in slower_cases(compared)}
    return why_sections({label: kept[label] for label in verdicts if label in kept}, verdicts)


def _lines(answer: Answer, verdict: Estimate | None, *, lead: bool) -> tuple[Line, ...]:
    if isinstance(answer, str):
        return lines(f"Not profiled: {answer}")
    other = verdict is not None and change_text(verdict) != change_text(answer.change)
    now = f"This was asked of another verdict; here it is {change_text(verdict)}." if other and verdict else ""
    said = [_headline(answer), *lines(_unexplained(answer), now, _device(answer), _how(answer))]
    return (*said, *lines(_LEAD)) if lead else tuple(said)


def _headline(found: ChangeExplained) -> Line:
    """`backward +2.9% (+2.6, +3.2): aten::convolution_backward +3.1%; the rest is unchanged.`"""
    if not found.parts:
        seen = f"they show {change_text(found.seen)} for {change_text(found.change)} of the verdict"
        return line(strong("Nothing stands out"), f" in {count(found.turns, 'turn')} of windows: {seen}.")
    phases = []
    for phase in dict.fromkeys(part.phase for part in found.parts):
        own = [part for part in found.parts if part.phase == phase]
        named = [f"{part_name(part)} ({format_percent(part.change.value, signed=True)})" for part in own]
        total = found.phases.get(phase)
        phases.append(f"{phase} {change_text(total)}: {joined(named)}" if total else joined(named))
    rest = found.rest
    unchanged = rest.low is not None and rest.high is not None and rest.low <= 0 <= rest.high
    ending = "the rest is unchanged" if unchanged else f"the rest {change_text(rest)}, in many small parts"
    return line(strong("; ".join(phases)), f"; {ending}.")


def _unexplained(found: ChangeExplained) -> str:
    """How much of the verdict's change the parts make up."""
    of = f"of the verdict's {change_text(found.change)}"
    if found.explained is None:
        return ""
    if found.explained < ENOUGH:
        low, high, named = found.change.low, found.change.high, found.change.value * found.explained
        within = low is not None and high is not None and low <= named <= high
        left = format_percent(found.change.value - named, signed=True)
        doubt = "is not, which is no more than the verdict's interval leaves open"
        return f"{format_percent(found.explained)} {of} is explained; {left} {doubt if within else 'is not'}."
    left = f", {format_percent(1 - found.explained)} is not" if found.explained < 1 else ""
    return f"{format_percent(found.explained)} {of} is explained{left}."


def _device(found: ChangeExplained) -> str:
    """What copies and idleness have to do with it; only where a device was seen."""
    said = {"copies": found.copies, "idle time": found.idle}
    nothing = [name for name, moved in said.items() if found.on_device and (moved is None or not _clear(moved))]
    some = [f"{name} {change_text(moved)}" for name, moved in said.items() if moved is not None and _clear(moved)]
    explains = f"{joined(nothing)} {'explains' if len(nothing) == 1 else 'explain'} nothing" if nothing else ""
    text = "; ".join(each for each in (", ".join(some), explains) if each)
    return f"{text[:1].upper()}{text[1:]}." if text else ""


def _clear(moved: Estimate) -> bool:
    away = moved.low is not None and moved.high is not None and (moved.low > 0 or moved.high < 0)
    return away and abs(moved.value) >= _LEAST_SHOWN


def _how(found: ChangeExplained) -> str:
    where = "both arms in one process" if found.one_process else "a process per window"
    return f"{count(found.turns, 'window')} of {count(found.steps, 'step')} a side, {where}."


def change_text(change: Estimate) -> str:
    """`+2.9% (+2.6, +3.2)`."""
    text = format_percent(change.value, signed=True)
    if change.low is None or change.high is None:
        return text
    ends = (format_percent(end, signed=True).removesuffix("%") for end in (change.low, change.high))
    return f"{text} ({', '.join(ends)})"


def part_name(part: Part) -> str:
    """`aten::mm`, `a became b`, `new: c`, or what stands for time without an operator."""
    before, after = (shorten(name, _NAME_WIDTH) for name in (part.before, part.after))
    if not before and not after:
        return _NO_OPERATOR
    words = {"same": after, "changed": f"{before} became {after}", "added": f"new: {after}", "gone": f"gone: {before}"}
    return words[part.kind]


def _table(found: ChangeExplained) -> Table:
    rest = Part(phase="the rest", kind="same", before="", after="", change=found.rest)

    def change(part: Part) -> Cell:
        low, high = (None if end is None else 100 * end for end in (part.change.low, part.change.high))
        return Cell(change_text(part.change), value=100 * part.change.value, low=low, high=high)

    def calls(part: Part) -> str:
        before, after = (format_number(round(each, 1)) for each in part.calls)
        return "" if not any(part.calls) else before if before == after else f"{before} -> {after}"

    def name(part: Part) -> str:
        return "in no part that is certain and large enough" if part is rest else part_name(part)

    columns = (
        Column("phase", "phase", "left", cell=lambda part: part.phase),
        Column("change", "change", unit="%", cell=change),
        Column("calls", "calls a step", priority=2, cell=calls),
        Column("part", "operator or kernel", "left", flexible=True, cell=name),
        Column("within", "within", "left", 3, flexible=True, cell=lambda part: " > ".join(part.within)),
        Column("notes", "also different", "left", 1, flexible=True, cell=lambda part: "; ".join(part.notes)),
    )
    return Table.of("why", columns, (*found.parts, rest)).without_empty_columns()
