"""The screen of `gpubench plan`."""

import math
import shlex
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

from gpubench.analysis.compare.verdict_cost import CasePlan, VerdictForecast, VerdictPlan
from gpubench.core.metrics import SESOI
from gpubench.core.units import format_duration, format_percent
from gpubench.report.comparison.change_cells import SHORT_LEVELS
from gpubench.report.model.report_model import (
    Cell,
    Column,
    Line,
    ReportModel,
    Section,
    Table,
    Tone,
    code,
    line,
    lines,
    strong,
)
from gpubench.report.model.words import count

ENOUGH = 0.95
AFFORDABLE = 200
"""With more rounds than this, a quieter machine is the better advice."""


def build_plan(
    plan: VerdictPlan, *, pilot: str, suite: str = "SUITE", asked: Sequence[str] = (), everything: bool = False
) -> ReportModel:
    """Rounds and time per case. The noise is from the run `pilot` of `suite` with the options `asked`. Cases without a
    forecast take one line per reason; with `everything`, one row each.
    """
    shown = [case for case in plan.cases if everything or case.forecast is not None]
    why = Counter(case.reason for case in plan.cases if case not in shown)
    without = tuple(
        line(f"{count(number, 'case')} without a forecast: {reason}; ", code("--all"), " lists them.")
        for reason, number in why.items()
    )
    sesoi = format_percent(plan.settings.sesoi)
    notes = lines(
        "noise per round: standard deviation of a round's ratio, with its 90 % interval from the pilot's rounds",
        f"found: chance that a slow-down of {sesoi} is called `slower` within {plan.settings.max_rounds} rounds",
        "rounds: mean number until the verdict, if nothing changed and at that slow-down; for 95 %: the "
        "rounds in all that find it 95 times in 100",
    )
    return ReportModel(
        title=f"Plan for a smallest change of {sesoi}",
        subtitle=line(f"from the pilot {pilot}, {count(len(plan.cases), 'case')}"),
        run=pilot,
        headline=(_headline(plan),),
        sections=(
            Section("cases", "Cases", lines=without, tables=(_table(plan, shown, notes),) if shown else ()),
            Section("next", "Next", lines=_next(plan, suite, asked)),
        ),
    )


def _headline(plan: VerdictPlan) -> Line:
    known = [case.forecast for case in plan.cases if case.forecast is not None]
    if not known:
        return line(strong("No case has a forecast: "), "too few rounds of the pilot finished.")
    weak = sum(forecast.found < ENOUGH for forecast in known)
    time = f"{format_duration(plan.seconds_same)} if nothing changed, {format_duration(plan.seconds_most)} at most"
    if not weak:
        return line(strong(f"{count(len(known), 'case')}, each found at least 95 times in 100: {time}."))
    return line(
        strong(f"{time}. "), f"{count(weak, 'case')} of {len(known)} too noisy to find the change 95 times in 100."
    )


def _table(plan: VerdictPlan, cases: Sequence[CasePlan], notes: tuple[Line, ...]) -> Table:
    def forecast(get: Callable[[CasePlan, VerdictForecast], Cell | str]) -> Callable[[CasePlan], Cell | str | None]:
        """Empty for a case without a forecast."""
        return lambda case: None if case.forecast is None else get(case, case.forecast)

    def note(case: CasePlan) -> str:
        if case.forecast is None:
            return case.reason
        return f"more than {plan.settings.max_rounds} rounds" if case.forecast.found < ENOUGH else ""

    def tone(case: CasePlan) -> Tone:
        if case.forecast is None:
            return "muted"
        return "warning" if case.forecast.found < ENOUGH else "plain"

    def noise(case: CasePlan, _: VerdictForecast) -> Cell:
        spread, low, high = (format_percent(each or 0.0) for each in (case.spread, case.low, case.high))
        return Cell(f"{spread} ({low[:-1]} to {high[:-1]})", value=case.spread, low=case.low, high=case.high)

    def time(case: CasePlan, found: VerdictForecast) -> Cell:
        return Cell(format_duration(found.rounds_same * case.seconds), value=found.rounds_same * case.seconds)

    def needed(_: CasePlan, found: VerdictForecast) -> Cell:
        return Cell("more than 10 000" if found.needed is None else str(found.needed), value=found.needed)

    def chance(_: CasePlan, found: VerdictForecast) -> Cell:
        return Cell(format_percent(found.found, decimals=0), value=found.found)

    def rounds(name: str) -> Callable[[CasePlan, VerdictForecast], Cell]:
        return lambda _, found: Cell(f"{getattr(found, name):.0f}", value=getattr(found, name))

    columns = (
        Column("mark", "", "left", cell=lambda case: "!" if tone(case) == "warning" else ""),
        Column("case", "case", "left", flexible=True, cell=lambda case: case.label),
        Column("level", "level", "left", priority=4, cell=lambda case: SHORT_LEVELS[case.level]),
        Column("noise", "noise per round", cell=forecast(noise)),
        Column("found", "found", cell=forecast(chance)),
        Column("same", "rounds, same", cell=forecast(rounds("rounds_same"))),
        Column("slower", "rounds, slower", priority=2, cell=forecast(rounds("rounds_slower"))),
        Column("needed", "for 95 %", cell=forecast(needed)),
        Column("time", "time", priority=1, cell=forecast(time)),
        Column("note", "note", "left", flexible=True, priority=3, cell=note),
    )
    return Table.of("plan", columns, cases, notes=notes, tone=tone).without_empty_columns()


def _next(plan: VerdictPlan, suite: str, asked: Sequence[str]) -> tuple[Line, ...]:
    """What to type next: the same cases, alternating in the same way, with the same smallest change."""
    needed = [case.forecast.needed or math.inf for case in plan.cases if case.forecast]
    most = max([*(int(each) for each in needed if each <= AFFORDABLE), plan.settings.max_rounds])
    sesoi = "" if plan.settings.sesoi == SESOI else f" --sesoi {plan.settings.sesoi * 100:.10g}%"
    command = f"{shlex.join(['gpubench', 'run', suite, *asked])} --arm base=... --arm head=... --rounds {most}{sesoi}"
    noisy = f"Cases that need more than {AFFORDABLE} rounds are too noisy here: "
    blocks = (
        "Arms that differ in settings alone can alternate in blocks of steps in one process, which is far less noisy: "
    )
    settled = "measures until every case is settled"
    if any(each > most for each in needed):
        settled = f"settles the cases that need no more than {most} rounds"
    said = [line(code(command), f" {settled}.")]
    if any(each > AFFORDABLE for each in needed):
        said.append(line(noisy, code("gpubench doctor"), " says what disturbs this machine."))
    if any(case.level == "launch" and case.forecast and case.forecast.found < ENOUGH for case in plan.cases):
        said.append(line(blocks, code("--interleave block"), "."))
    return tuple(said)


def plan_document(plan: VerdictPlan, *, pilot: str) -> dict[str, Any]:
    """The JSON document; times in seconds, spreads on log time."""
    return {
        "schema": 1,
        "pilot": pilot,
        "settings": {
            "sesoi": plan.settings.sesoi,
            "alpha": plan.settings.alpha,
            "max_rounds": plan.settings.max_rounds,
        },
        "overhead_s": plan.overhead_s,
        "seconds_same": plan.seconds_same,
        "seconds_most": plan.seconds_most,
        "cases": [
            {
                "id": case.case_id,
                "label": case.label,
                "level": case.level,
                "pilot_rounds": case.rounds,
                "spread": case.spread,
                "spread_low": case.low,
                "spread_high": case.high,
                "seconds_per_round": case.seconds,
                "reason": case.reason or None,
                "forecast": None if case.forecast is None else vars(case.forecast),
            }
            for case in plan.cases
        ],
    }
