"""One case in full."""

import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import Any, TypeGuard

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.scaling_efficiency import OF_RANKS
from gpubench.core.metrics import METRICS
from gpubench.core.records import Failure, RankRecord, Record, Series, Status
from gpubench.core.units import GIB, format_bytes, format_duration, format_percent
from gpubench.report.model.figure_cells import display_unit, interval_text, metric_cell
from gpubench.report.model.report_model import CasePage, Cell, Column, Fact, Section, Table, Tone, code, line
from gpubench.report.model.words import THROTTLE_REASONS, count
from gpubench.report.topics.findings import remarks
from gpubench.report.view.case_tables import status_word
from gpubench.report.view.scores import training_facts
from gpubench.store.run_info import RunInfo
from gpubench.suite.cases.labels import QUALITY

_CHANGING = ("-s", "--set", "--input", "--loss", "--repeats", "--timeout")
"""Options of `gpubench run` with a value, which change a case or how it is measured."""


def case_pages(entries: Iterable[CaseSummary], info: RunInfo) -> tuple[CasePage, ...]:
    """The page of each case."""
    return tuple(case_page(entry, info) for entry in entries)


def case_page(entry: CaseSummary, info: RunInfo, *, text: str = "") -> CasePage:
    """Everything about a case: requested and effective settings, figures, launches, findings, how to repeat it.

    `text` is the traceback or log of a failed case.
    """
    found = remarks([entry])
    sections = (
        Section("case", f"Case {entry.planned.index}: {entry.label}", facts=_facts(entry)),
        Section("figures", "Figures", tables=_figures(entry)),
        Section("training", "What it learned", facts=training_facts(entry)),
        Section("launches", "Launches", tables=_launches(entry)),
        Section("ranks", "Ranks of the last launch", tables=_ranks(entry)),
        Section("settings", "Settings", tables=(_settings(entry),)),
        Section("telemetry", "Telemetry", facts=telemetry_facts(entry)),
        Section("findings", "Findings", remarks=found),
        Section("repeat", "To repeat", facts=(Fact("This case", line(code(repeat_command(entry, info)))),)),
    )
    return CasePage(entry.planned.index, entry.label, tuple(section for section in sections if not section.empty), text)


def _facts(entry: CaseSummary) -> tuple[Fact, ...]:
    status = status_word(entry)
    facts = [Fact("Status", line(f"{status}: {entry.reason}" if entry.reason else status))]
    if entry.status is Status.OK:
        facts.append(Fact("Standing", line(f"{entry.validity.value}; correctness {_CORRECT[entry.correctness]}")))
    failure = next((record.failure for record in entry.records if record.failure is not None), None)
    facts += failure_facts(failure) if failure is not None else []
    facts.append(Fact("Case id", line(entry.planned.case_id)))
    effective = entry.effective
    if effective is not None and effective.device_name:
        where = f" ({effective.device})" if effective.device else ""
        facts.append(Fact("Ran on", line(f"{effective.device_name}{where}")))
    return tuple(facts)


_CORRECT = {"pass": "verified", "fail": "FAILED", "unverified": "not verified"}


def failure_facts(failure: Failure) -> list[Fact]:
    """Phase, error and sizes of a failure, and its log file."""
    facts = [Fact("Failed in", line(failure.phase)), Fact("Error", line(f"{failure.error}: {failure.message}"))]
    sizes = [
        f"{name} {format_bytes(value)}"
        for name, value in (
            ("requested", failure.requested_bytes),
            ("free", failure.free_bytes),
            ("total", failure.total_bytes),
            ("allocated at peak", failure.allocated_bytes),
            ("reserved at peak", failure.reserved_bytes),
        )
        if value is not None
    ]
    facts += [Fact("Memory", line(", ".join(sizes)))] if sizes else []
    ended = failure.signal or (f"exit status {failure.exit_code}" if failure.exit_code is not None else "")
    facts += [Fact("Process", line(ended))] if ended else []
    return [*facts, Fact("Log", line(code(failure.log)))] if failure.log else facts


def _figures(entry: CaseSummary) -> tuple[Table, ...]:
    def title(name: str) -> str:
        spec = METRICS[name]
        return (spec.title.removesuffix(f" {display_unit(spec)}") if display_unit(spec) else spec.title) or name

    def interval(name: str) -> str:
        return interval_text(entry.metrics[name], METRICS[name])

    figures = (
        Column("metric", "metric", "left", cell=title),
        Column("value", "value", cell=lambda name: metric_cell(name, entry.metrics, spread=True)),
        Column("unit", "unit", "left", cell=lambda name: display_unit(METRICS[name])),
        Column("interval", "95 % interval", "left", priority=1, cell=interval),
        Column("launches", "launches", priority=3, cell=lambda name: entry.metrics[name].n),
        Column("name", "name", "left", priority=2, cell=lambda name: name),
    )
    absent = (
        Column("metric", "not measured", "left", cell=lambda name: METRICS[name].title if name in METRICS else name),
        Column("reason", "why", "left", flexible=True, cell=lambda name: entry.absent[name]),
    )
    tables = (Table.of("figures", figures, entry.metrics), Table.of("absent", absent, entry.absent))
    return tuple(table for table in tables if table.rows)


def _launches(entry: CaseSummary) -> tuple[Table, ...]:
    def steps(get: Callable[[Series], Cell | str]) -> Callable[[Record], Cell | str | None]:
        """Empty for a launch without steps."""
        return lambda record: None if record.series is None else get(record.series)

    def note(record: Record) -> str:
        return record.reason or ", ".join(dict.fromkeys(found.code for found in record.findings))

    def took(record: Record) -> Cell | None:
        return None if record.wall_s is None else Cell(format_duration(record.wall_s), value=record.wall_s)

    def half_width(series: Series) -> Cell | str:
        if series.low_s is None or series.high_s is None:
            return ""
        half = (series.high_s - series.low_s) / 2 / series.median_s
        return Cell(f"{half * 100:.2f}%", value=half)

    def median(series: Series) -> Cell:
        return Cell(f"{series.median_s * 1e3:.4g}", value=series.median_s * 1e3)

    columns = (
        Column("repeat", "launch", cell=lambda record: record.repeat),
        Column("status", "status", "left", cell=lambda record: record.status.value),
        Column("median", "median ms", cell=steps(median)),
        Column("spread", "±", cell=steps(half_width)),
        Column("steady", "steady steps", priority=2, cell=steps(lambda series: str(series.num_steady * series.group))),
        Column("warmup", "warm-up", priority=3, cell=steps(lambda series: str(series.num_warmup * series.group))),
        Column("tau", "tau", priority=6, cell=steps(lambda series: f"{series.tau:.1f}")),
        Column("effective", "effective n", priority=5, cell=steps(lambda series: f"{series.n_effective:.0f}")),
        Column("bound", "bound by", "left", priority=1, cell=steps(lambda series: series.bound or "")),
        Column("wall", "took", priority=4, cell=took),
        Column("note", "note", "left", flexible=True, cell=note),
    )

    def tone(record: Record) -> Tone:
        return "plain" if record.status is Status.OK else "bad"

    return (Table.of("launches", columns, entry.records, tone=tone).without_empty_columns(),) if entry.records else ()


def _ranks(entry: CaseSummary) -> tuple[Table, ...]:
    """The ranks of the last launch that has any; earlier ones ran on the same devices."""
    if entry.case.world_size == 1:  # cards of a fleet, which its section compares
        return ()
    ranks = next((record.ranks for record in reversed(entry.records) if record.ranks), ())

    def milliseconds(name: str) -> Callable[[RankRecord], Cell | None]:
        def cell(rank: RankRecord) -> Cell | None:
            value = getattr(rank, name)
            return None if value is None else Cell(f"{value * 1e3:.4g}", value=value * 1e3)

        return cell

    def memory(rank: RankRecord) -> Cell | None:
        value = rank.peak_memory_bytes
        return None if value is None else Cell(f"{value / GIB:.3g}", value=value / GIB)

    columns = (
        Column("rank", "rank", cell=lambda rank: rank.rank),
        Column("device", "device", "left", cell=lambda rank: rank.device or ""),
        Column("step", "step ms", cell=milliseconds("step_time_s")),
        Column("own", "own ms", cell=milliseconds("own_time_s")),
        Column("exposed", "exposed ms", priority=1, cell=milliseconds("exposed_communication_s")),
        Column("memory", "mem GiB", priority=2, cell=memory),
        Column("name", "name", "left", priority=4, cell=lambda rank: rank.device_name or ""),
        Column("pid", "process", priority=3, cell=lambda rank: rank.pid),
    )
    return (Table.of("ranks", columns, ranks).without_empty_columns(),) if ranks else ()


def _settings(entry: CaseSummary) -> Table:
    """The settings, without uninformative defaults (no data root, no environment variables, a single rank)."""
    asked, back = entry.case.settings, dict[str, str]()
    idle = {"accumulate"} if entry.case.accumulate == 1 else set()
    idle |= OF_RANKS if entry.case.world_size == 1 else set()
    idle |= {"compress"} if entry.case.compress == "none" else set()
    left_out = {"versions", "extra", "device_uuid", "device_name"}
    for name, value in entry.effective.model_dump(exclude=left_out).items() if entry.effective is not None else ():
        if value is not None and value != {}:
            pairs = isinstance(value, dict)
            back[name] = ", ".join(f"{key} {each}" for key, each in value.items()) if pairs else _written(value)
    names = [name for name, value in asked.items() if name in back or not (value in (None, {}) or name in idle)]
    columns = (
        Column("setting", "setting", "left", cell=lambda name: name),
        Column("asked", "asked", "left", cell=lambda name: _written(asked[name]) if name in asked else ""),
        Column("effective", "read back", "left", flexible=True, cell=lambda name: back.get(name)),
    )
    return Table.of("settings", columns, [*names, *(name for name, text in back.items() if text and name not in asked)])


def _written(value: Any) -> str:
    """A value as written in a suite file."""
    if value is None or isinstance(value, bool):
        return {True: "true", False: "false", None: "null"}[value]
    if isinstance(value, dict):
        return ", ".join(f"{name}={text}" for name, text in value.items())
    return str(value)


def repeat_command(entry: CaseSummary, info: RunInfo) -> str:
    """The command that measures only this case, with the options that changed the suite for the run."""
    words = ["gpubench", "run", info.source]
    rest = iter(info.argv)
    for word in rest:
        if word in _CHANGING:
            words += [word, *islice(rest, 1)]
        elif word.partition("=")[0] in _CHANGING[1:] or re.match(r"-s.|--download$", word):
            words.append(word)
    name = f"{QUALITY if entry.planned.kind == 'quality' else ''}{entry.planned.case_id}"
    return shlex.join([*words, "--case", name])


_SCOPES = {"parent_shared": "of the whole card", "module": "of the whole module"}
_SOURCES = {"counter_ticks": "the energy counter, interpolated between its ticks"}


def telemetry_facts(entry: CaseSummary) -> tuple[Fact, ...]:
    """Facts from the first launch that has any; empty if nothing was recorded."""
    detail = next((record.telemetry for record in entry.ok_records if record.telemetry), None)
    if not detail:
        return ()
    if detail.get("available") is False:
        return (Fact("Telemetry", line(f"none: {detail.get('reason') or 'no reason was recorded'}")),)
    low, high = detail.get("sm_clock_min_mhz"), detail.get("sm_clock_max_mhz")
    clocks = f"{low:.0f} to {high:.0f} MHz" if _is_number(low) and _is_number(high) else ""
    total, others = detail.get("memory_total_bytes"), detail.get("other_processes")
    if others is None:
        processes = str(detail.get("other_processes_absent") or "")
    else:
        processes = count(len(others), "process", "processes") if others else "none"
    readings, coverage = detail.get("num_readings"), detail.get("coverage")
    covered = f", {format_percent(coverage, decimals=0)} of the window" if _is_number(coverage) else ""
    source, uncertainty = str(detail.get("energy_source") or ""), detail.get("energy_uncertainty_pct")
    energy = [f"from {_SOURCES.get(source, source.replace('_', ' '))}"] if source else []
    energy += [_SCOPES[scope] for scope in (detail.get("energy_scope"),) if source and scope in _SCOPES]
    if source and uncertainty is not None:
        energy.append(f"±{uncertainty:.1f}% over this window")
    if source and detail.get("energy_valid") is False:
        energy.append(f"not valid ({detail.get('energy_invalid_reason') or 'no reason was recorded'})")
    shares = detail.get("throttle_share_by_reason") or {}
    known = {name: share for name, share in shares.items() if _is_number(share)}
    held = [
        f"{format_percent(share)} by {THROTTLE_REASONS.get(name, name)}" for name, share in known.items() if share > 0
    ]
    texts = (
        ("Energy", ", ".join(energy)),
        ("Idle power", _number(detail, "idle_power_w", "W")),
        ("Power limit", _number(detail, "power_limit_w", "W")),
        ("SM clock", clocks),
        ("Clocks held by a setting", {True: "yes", False: "no"}.get(detail.get("clocks_held_by_setting"), "")),  # type: ignore[arg-type]
        ("Held down", ", ".join(held) if held else "never" if known else ""),
        ("Memory temperature", _number(detail, "memory_temperature_c", "°C")),
        ("Device memory", format_bytes(total) if _is_number(total) else ""),
        ("Other processes", processes),
        ("Readings", f"{readings}{covered}" if isinstance(readings, int) else ""),
    )
    return tuple(Fact(name, line(text)) for name, text in texts if text)


def _is_number(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float)


def _number(detail: Mapping[str, Any], name: str, unit: str) -> str:
    value = detail.get(name)
    return f"{value:.0f} {unit}" if _is_number(value) else ""
