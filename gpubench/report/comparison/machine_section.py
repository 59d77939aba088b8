"""Which of two machines is faster, needs less energy, and costs less: the answer of `compare --machines`."""

from gpubench.analysis.compare.compare_sides import Overall
from gpubench.analysis.compare.machine_choice import CaseChoice, Gain, MachineChoice, gain
from gpubench.core.records import Estimate
from gpubench.core.units import format_number
from gpubench.report.model.report_model import Cell, Column, Fact, Line, Section, Table, line, lines, strong
from gpubench.report.model.words import count

_WORDS: dict[str, dict[Gain, str]] = {
    "speed": {"better": "faster", "worse": "slower"},
    "energy": {"better": "less energy", "worse": "more energy"},
    "money": {"better": "cheaper", "worse": "dearer"},
}


def machine_section(choice: MachineChoice, reference: str, candidate: str) -> Section:
    """`reference` and `candidate` name the sides."""
    facts = (
        Fact("Speed", _fact("speed", choice.speed, "times the samples per second", "no speed on both sides")),
        Fact("Energy", _fact("energy", choice.energy, "times the joules per sample", "no meter on both sides")),
        Fact(
            "Money",
            _fact("money", choice.money, "times the money per sample", "give --price of both: 2.5/h, or a file"),
        ),
    )
    lead = lines(f"{candidate}, compared with {reference}:")
    return Section("machines", "Which machine", lines=lead, facts=facts, tables=(_table(choice),))


def _fact(kind: str, found: Overall | None, what: str, absent: str) -> Line:
    if found is None:
        return line(f"not known: {absent}")
    word = _WORDS[kind].get(gain(found.ratio, higher=kind == "speed"), "cannot be told apart")
    over = f", geometric mean over {count(found.num_cases, 'case')}" if found.num_cases > 1 else ""
    return line(strong(word), f": {ratio_text(found.ratio)} {what}{over}")


def ratio_text(ratio: Estimate) -> str:
    """`1.83 (1.79, 1.88)`."""
    text = format_number(ratio.value, ratio.half_width)
    if ratio.low is None or ratio.high is None:
        return text
    ends = (format_number(end, ratio.half_width) for end in (ratio.low, ratio.high))
    return f"{text} ({', '.join(ends)})"


def _table(choice: MachineChoice) -> Table:
    def ratio(found: Estimate | None) -> Cell | None:
        return None if found is None else Cell(ratio_text(found), value=found.value, low=found.low, high=found.high)

    def pair(values: tuple[float | None, float | None]) -> str | None:
        return None if None in values else " -> ".join(format_number(each) for each in values if each is not None)

    def per_money(case: CaseChoice) -> str | None:
        return pair((_millions(case.per_money[0]), _millions(case.per_money[1])))

    columns = (
        Column("label", "case", "left", flexible=True, cell=lambda case: case.change.label),
        Column("speed", "x samples/s", cell=lambda case: ratio(case.speed)),
        Column("energy", "x J/sample", cell=lambda case: ratio(case.energy)),
        Column("money", "x money/sample", cell=lambda case: ratio(case.money)),
        Column("per_money", "million samples per money", priority=1, cell=per_money),
        Column("per_joule", "samples/s per W", priority=2, cell=lambda case: pair(case.per_joule)),
    )
    notes = lines(
        "Each figure with its 95 % interval over launches; what differs between the machines is listed above. Joules "
        "are those of the device as its meter counts them (board or module), without the rest of the machine.",
        "Money: the price of the machine's time while it runs the case, and nothing else."
        if choice.prices is not None
        else "",
    )
    return Table.of("machines", columns, choice.cases, notes=notes).without_empty_columns()


def _millions(value: float | None) -> float | None:
    return None if value is None else value / 1e6
