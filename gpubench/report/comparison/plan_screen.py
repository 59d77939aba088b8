"""The screen of `gpubench plan`."""

import shlex
from collections.abc import Sequence
from typing import Any

from gpubench.analysis.compare.verdict_cost import CasePlan, VerdictPlan
from gpubench.core.metrics import SESOI
from gpubench.core.units import format_duration, format_percent
from gpubench.report.comparison.change_cells import SHORT_LEVELS
from gpubench.report.model.report_model import (
    EMPTY,
    Cell,
    Column,
    Line,
    ReportModel,
    Row,
    Section,
    Table,
    code,
    line,
    strong,
)
from gpubench.report.model.words import count

ENOUGH = 0.95
AFFORDABLE = 200
"""Rounds beyond which a quieter machine is the better advice."""

_COLUMNS = (
    Column("mark", "", "left"),
    Column("case", "case", "left", flexible=True),
    Column("level", "level", "left", priority=4),
    Column("noise", "noise per round"),
    Column("found", "found"),
    Column("same", "rounds, same"),
    Column("slower", "rounds, slower", priority=2),
    Column("needed", "for 95 %"),
    Column("time", "time", priority=1),
    Column("note", "note", "left", flexible=True, priority=3),
)


def build_plan(plan: VerdictPlan, *, pilot: str, suite: str = "SUITE", asked: Sequence[str] = ()) -> ReportModel:
    """Rounds and time per case. `pilot` is the name of the run the noise was taken from, of `suite` with the options
    `asked`.
    """
    sesoi = format_percent(plan.settings.sesoi)
    rows = tuple(_row(case, plan.settings.max_rounds) for case in plan.cases)
    notes = (
        line("noise per round: standard deviation of a round's ratio, with its 90 % interval from the pilot's rounds"),
        line(f"found: chance that a slow-down of {sesoi} is called `slower` within {plan.settings.max_rounds} rounds"),
        line(
            "rounds: mean number until the verdict, if nothing changed and at that slow-down; for 95 %: the rounds in all that find it 95 times in 100"
        ),
    )
    return ReportModel(
        title=f"Plan for a smallest change of {sesoi}",
        subtitle=line(f"from the pilot {pilot}, {count(len(plan.cases), 'case')}"),
        run=pilot,
        headline=(_headline(plan),),
        sections=(
            Section("cases", "Cases", tables=(Table("plan", _COLUMNS, rows, notes=notes).without_empty_columns(),)),
            Section("next", "Next", lines=_next(plan, suite, asked)),
        ),
    )


def _headline(plan: VerdictPlan) -> Line:
    known = [case.forecast for case in plan.cases if case.forecast is not None]
    if not known:
        return line(strong("No case has a forecast: "), "the pilot has too few rounds that came to an end.")
    weak = sum(forecast.found < ENOUGH for forecast in known)
    time = f"{format_duration(plan.seconds_same)} if nothing changed, {format_duration(plan.seconds_most)} at most"
    if not weak:
        return line(strong(f"{count(len(known), 'case')}, each found at least 95 times in 100: {time}."))
    return line(
        strong(f"{time}. "), f"{count(weak, 'case')} of {len(known)} too noisy to find the change 95 times in 100."
    )


def _row(case: CasePlan, max_rounds: int) -> Row:
    forecast = case.forecast
    if forecast is None or case.spread is None or case.low is None or case.high is None:
        cells = (Cell(""), Cell(case.label), Cell(SHORT_LEVELS[case.level]), *([EMPTY] * 6), Cell(case.reason))
        return Row(cells, "muted")
    weak = forecast.found < ENOUGH
    noise = f"{format_percent(case.spread)} ({format_percent(case.low)[:-1]} to {format_percent(case.high)[:-1]})"
    cells = (
        Cell("!" if weak else ""),
        Cell(case.label),
        Cell(SHORT_LEVELS[case.level]),
        Cell(noise, value=case.spread, low=case.low, high=case.high),
        Cell(format_percent(forecast.found, decimals=0), value=forecast.found),
        Cell(f"{forecast.rounds_same:.0f}", value=forecast.rounds_same),
        Cell(f"{forecast.rounds_slower:.0f}", value=forecast.rounds_slower),
        Cell("more than 10 000" if forecast.needed is None else str(forecast.needed), value=forecast.needed),
        Cell(format_duration(forecast.rounds_same * case.seconds), value=forecast.rounds_same * case.seconds),
        Cell(f"more than {max_rounds} rounds" if weak else ""),
    )
    return Row(cells, "warning" if weak else "plain")


def _next(plan: VerdictPlan, suite: str, asked: Sequence[str]) -> tuple[Line, ...]:
    """What to type: the same cases, taking turns in the same way, judged by the same smallest change."""
    needed = [case.forecast.needed for case in plan.cases if case.forecast and case.forecast.needed]
    most = max([*(each for each in needed if each <= AFFORDABLE), plan.settings.max_rounds])
    sesoi = "" if plan.settings.sesoi == SESOI else f" --sesoi {plan.settings.sesoi * 100:.10g}%"
    command = f"{shlex.join(['gpubench', 'run', suite, *asked])} --arm base=... --arm head=... --rounds {most}{sesoi}"
    lines = [line(code(command), " measures until every case is settled.")]
    if any(each > AFFORDABLE for each in needed):
        lines.append(
            line(
                f"Cases that need more than {AFFORDABLE} rounds are too noisy here: ",
                code("gpubench doctor"),
                " says what disturbs this machine.",
            )
        )
    if any(case.level == "launch" and case.forecast and case.forecast.found < ENOUGH for case in plan.cases):
        lines.append(
            line(
                "Arms that differ in settings alone can alternate in blocks of steps in one process, which is far less noisy: ",
                code("--interleave block"),
                ".",
            )
        )
    return tuple(lines)


def plan_document(plan: VerdictPlan, *, pilot: str) -> dict[str, Any]:
    """As JSON; times in seconds, spreads on log time."""
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
