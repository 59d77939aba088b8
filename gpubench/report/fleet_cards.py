"""Which cards of a fleet are slow, and why."""

import math

from gpubench.analysis.fleet.judge_run import Fleet, FleetCard, FleetProbe, SlowCard
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Cell, Chart, Column, Datum, Line, Section, Table, line, strong
from gpubench.report.model.words import count
from gpubench.report.view.run_view import View

_MOST_ROWS = 24
_PERCENT = 100.0


def section(view: View) -> Section:
    fleet = view.summary.fleet
    if fleet is None or not fleet.cards:
        return Section("fleet", "Cards of the fleet", short="Fleet")
    probes = [probe for probe in fleet.probes if probe.screening is not None]
    lines = tuple(line(f"{each.label}: {each.reason}.") for each in fleet.probes if each.reason)
    charts = tuple(chart for probe in probes if (chart := cards_chart(fleet, probe))) if view.charts else ()
    tables = (cards_table(fleet),)
    return Section("fleet", "Cards of the fleet", short="Fleet", lines=lines, tables=tables, charts=charts)


def verdict_lines(fleet: Fleet) -> tuple[Line, ...]:
    """The answer of a fleet's report: the slow cards, and those without a figure."""
    limit, number = format_percent(fleet.slower_than), len(fleet.cards)
    found = [_slow_line(each) for each in fleet.slow]
    failed = [card for card in fleet.cards if card.failed is not None]
    found += [line(strong(card.name), f" has no figure: {card.failed}.") for card in failed[:_MOST_ROWS]]
    judged = [probe for probe in fleet.probes if probe.screening is not None]
    if judged and not fleet.slow:
        doubtful = {card for probe in judged for card in probe.suspects if probe.is_open(card)}
        healthy = f"None of {count(number - len(failed), 'card')} is known to be {limit} slower than the others"
        found.append(line(strong(healthy), f"; {count(len(doubtful), 'suspect')} not confirmed." if doubtful else "."))
    if not judged:
        reasons = dict.fromkeys(probe.reason for probe in fleet.probes)
        found.append(line(strong("No card can be judged"), f": {'; '.join(reasons) or 'no launch has a figure'}."))
    return tuple(found)


def _slow_line(slow: SlowCard) -> Line:
    why = f"{slow.why.cause}: " if slow.why.cause else ""
    by = f"{_share(slow.retest.excess)} slower"
    interval = f"({_share(slow.retest.low)} to {_share(slow.retest.high)})"
    return line(strong(f"{slow.card.name} is {by}"), f" {interval} in {slow.probe.label}; {why}{slow.why.evidence}.")


def _share(log: float) -> str:
    return format_percent(math.expm1(log))


def cards_table(fleet: Fleet) -> Table:
    """Slow, suspected and failed cards, and the slowest of the others up to a screenful."""
    slow = {each.card.number: each for each in fleet.slow}
    suspected = fleet.suspected

    def slowest(card: FleetCard) -> float:
        return max((each for probe in fleet.probes if (each := probe.excess(card.number)) is not None), default=0.0)

    order = sorted(
        fleet.cards,
        key=lambda card: (card.number not in slow, card.number not in suspected, card.failed is None, -slowest(card)),
    )
    certain = len(slow) + len(suspected - slow.keys()) + sum(card.failed is not None for card in order)
    shown = order[: max(certain, _MOST_ROWS)]
    columns = [
        Column("mark", "", "left", cell=lambda card: {"slow": "!", "no figure": "x"}.get(fleet.verdict(card), "")),
        Column("card", "card", "left", cell=lambda card: card.name),
        Column("product", "product", "left", priority=3, cell=lambda card: card.product),
        Column("uuid", "UUID", "left", priority=4, cell=lambda card: card.uuid),
        *(_probe_column(probe, place) for place, probe in enumerate(fleet.probes)),
        Column("verdict", "verdict", "left", cell=lambda card: fleet.verdict(card)),
        Column("cause", "cause", "left", 1, cell=lambda card: _cause(slow.get(card.number))),
    ]
    notes = [line("Slower than the centre of the healthy cards, in the first launches; a verdict is of fresh ones.")]
    if len(shown) < len(order):
        notes.append(line(f"{count(len(order) - len(shown), 'faster card')} not listed."))
    return Table.of(
        "fleet", columns, shown, notes=tuple(notes), tone=lambda card: "bad" if fleet.verdict(card) in _BAD else "plain"
    ).without_empty_columns()


_BAD = ("slow", "no figure")


def _cause(slow: SlowCard | None) -> str | None:
    return None if slow is None else slow.why.cause or "unknown"


def _probe_column(probe: FleetProbe, place: int) -> Column:
    def cell(card: FleetCard) -> Cell | None:
        excess = probe.excess(card.number)
        return None if excess is None else Cell(f"{_PERCENT * excess:+.2f}%", value=_PERCENT * excess)

    return Column(f"probe-{place + 1}", probe.label, unit="%", cell=cell)


def cards_chart(fleet: Fleet, probe: FleetProbe) -> Chart | None:
    """The slowest cards of one probe, with the retests of suspects."""
    by_number = {card.number: card for card in fleet.cards}
    order = sorted(probe.cards, key=lambda card: -(probe.excess(card) or 0.0))
    rows: list[tuple[Datum, ...]] = []
    for card in order[:_MOST_ROWS]:
        name, excess = by_number[card].name, probe.excess(card) or 0.0
        rows.append((name, _PERCENT * excess, None, None, "first launches", "valid", ""))
        again = (probe.retests or {}).get(card)
        if again is not None:
            ends = (_PERCENT * math.expm1(each) for each in (again.excess, again.low, again.high))
            rows.append((name, *ends, "measured again", "valid", ""))
    named = [by_number[card].name for card in probe.named or ()]
    what = f"{named[0]} is slow" if len(named) == 1 else f"{len(named)} cards are slow" if named else "no card is slow"
    title = f"{probe.label}: {what}"
    hidden = len(order) - min(len(order), _MOST_ROWS)
    return Chart(
        key=f"fleet-{probe.case_index}",
        form="dots",
        title=title,
        reading="Each row is a card, the slowest first; the interval is that of the fresh launches in which a suspect "
        "and a healthy card were measured together." + (f" {hidden} faster cards are left out." if hidden else ""),
        alt=f"Dots of how much slower each card is than the healthy ones, in per cent. {title}.",
        columns=("card", "% slower", "low", "high", "launches", "standing", "case"),
        rows=tuple(rows),
        options={
            "limit": _PERCENT * fleet.slower_than,
            "limit_label": "slow",
            "zero": True,
            "x_format": "+~r",
            "x_title": "% slower than the healthy cards",
        },
    )
