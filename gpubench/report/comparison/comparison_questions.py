"""The readers' first questions about a comparison, a sentence each: faster or slower, within its gates, how sure."""

from collections.abc import Sequence

from gpubench.analysis.compare.compare_sides import Compared, speed_change
from gpubench.analysis.gate.gate_outcome import DEFAULT_RULES
from gpubench.analysis.gate.gate_rules import GateResult, check_gates, rules_of
from gpubench.core.units import format_percent
from gpubench.report.comparison.change_cells import LEVEL_WORDS, metric_title
from gpubench.report.model.figure_cells import how_well_known
from gpubench.report.model.report_model import Fact, Line, Section, code, line
from gpubench.report.model.words import count, joined, sentence
from gpubench.store.run_info import understood
from gpubench.suite.model.suite import Gate

_MOST_WHY = 3


def comparison_questions(
    compared: Compared, gates: Sequence[object], headline: Sequence[Line], why: Sequence[Section] = ()
) -> tuple[Fact, ...]:
    """`gates` are those stored with the run; `headline` contributes its first two sentences, each section of `why` its
    first.
    """
    return (
        Fact("Faster or slower", tuple(span for said in headline[:2] for span in (*said, *line(" ")))),
        *(Fact(section.heading, section.lines[0]) for section in why[:_MOST_WHY]),
        Fact("Within its gates", _gates(compared, gates)),
        Fact("How sure it is", _how_sure(compared)),
    )


def _gates(compared: Compared, gates: Sequence[object]) -> Line:
    declared = rules_of(understood(Gate, gate, "the run's suite has a gate") for gate in gates)
    results = check_gates(declared or DEFAULT_RULES, compared.changes)
    whose = "of the suite" if declared else "by default, as the suite has none"
    failed = [result for result in results if result.outcome == "fail"]
    open_ = [result for result in results if result.outcome == "unclear"]
    passed = [result for result in results if result.outcome == "pass"]
    parts = [
        f"no: {joined([_failed(result) for result in failed])}" if failed else "",
        f"{_names(open_)} cannot be told" if open_ else "",
        f"{_names(passed)} {'passes' if len(passed) == 1 else 'pass'}" if passed else "",
    ]
    said = sentence("; ".join(part for part in parts if part))
    return line(f"{said} (gates {whose}); ", code("gpubench check --confirm 10"), " measures failures again.")


def _failed(result: GateResult) -> str:
    limit = result.rule.max_regression
    beyond = f" is over {format_percent(limit)} worse in" if limit is not None else " ended newly badly in"
    return f"{_name(result)}{beyond} {count(len(result.failures), 'case')}"


def _names(results: Sequence[GateResult]) -> str:
    return joined(list(dict.fromkeys(map(_name, results))))


def _name(result: GateResult) -> str:
    return "status" if result.rule.metric == "status" else metric_title(result.rule.metric)


def _how_sure(compared: Compared) -> Line:
    """How the sides were paired, and how narrow the intervals of the changes are."""
    found = [moved.change for change in compared.changes if (moved := speed_change(change)) is not None]
    widths = [change.half_width for change in found if change is not None and change.half_width is not None]
    known = how_well_known("changes", widths)
    level = LEVEL_WORDS[compared.level] if compared.level else ""
    said = "; ".join(part for part in (level, known) if part)
    return line(f"{sentence(said)}." if said else "No case was measured on both sides.")
