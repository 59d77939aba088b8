"""From the summary of a run to its report. Pure: reads no file, knows no format."""

from collections.abc import Iterable, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gpubench.analysis.insight.factor_effects import FactorEffect, factor_effects
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.findings import Severity
from gpubench.core.records import Status
from gpubench.report.model.report_model import Line, ReportModel, Section, Table, code, line
from gpubench.report.model.setting_words import varying
from gpubench.report.model.words import count, sentence
from gpubench.report.topics.answers import answers
from gpubench.report.topics.best_table import best_tables
from gpubench.report.topics.case_page import case_pages
from gpubench.report.topics.case_tables import MARKS, MEMORY, absent_notes, case_table, metrics_present
from gpubench.report.topics.contests import contests
from gpubench.report.topics.effects_table import effects_table
from gpubench.report.topics.findings_list import remarks
from gpubench.report.topics.found_batch import found_batches
from gpubench.report.topics.headline import headline
from gpubench.report.topics.memory import METRICS_SHOWN as MEMORY_METRICS
from gpubench.report.topics.memory import largest_batches
from gpubench.report.topics.method import method_lines, repeat_facts
from gpubench.report.topics.quality_tables import parity_table, quality_table
from gpubench.report.topics.roofline_table import ceilings_section
from gpubench.report.topics.samples import fastest_of_each
from gpubench.report.topics.setup import environment_facts, machine_line
from gpubench.report.topics.switches_table import switches_table
from gpubench.report.topics.to_accuracy import to_accuracy_table
from gpubench.report.topics.unmeasured import unmeasured_table
from gpubench.report.topics.waterfall import waterfall_section

if TYPE_CHECKING:
    from gpubench.report.topics.charts.chosen import Charts

SPEED_METRICS = (
    "throughput",
    "latency_s",
    "step_time_s",
    "largest_batch",
    MEMORY,
    "energy_per_sample_j",
    "mean_power_w",
    "achieved_flops",
)
TIME_METRICS = (
    "step_time_s",
    "step_time_p50_s",
    "step_time_p90_s",
    "step_time_p95_s",
    "step_time_p99_s",
    "latency_p50_s",
    "latency_p90_s",
    "latency_p95_s",
    "latency_p99_s",
    "latency_floor_s",
    "sustained_throughput",
    "host_enqueue_s",
    "input_wait_s",
    "input_wait_share",
    "device_idle_share",
    "cpu_time_share",
)
ENERGY_METRICS = (
    "energy_per_sample_j",
    "samples_per_j",
    "mean_power_w",
    "peak_power_w",
    "energy_above_idle_j",
    "cpu_energy_j",
    "sm_clock_mhz",
    "temperature_c",
    "throttle_share",
    "utilization",
)
EFFICIENCY_METRICS = (
    "achieved_flops",
    "mfu",
    "flops_per_sample",
    "achieved_bandwidth",
    "bytes_per_sample",
    "sm_activity",
    "tensor_activity",
    "dram_activity",
)
COLD_METRICS = (
    "first_step_s",
    "build_s",
    "cuda_context_s",
    "compile_s",
    "time_to_steady_s",
    "warmup_steps",
    "isolation_s",
    "graph_breaks",
    "recompilations",
)


def build_report(
    summary: RunSummary,
    *,
    folder: str = "",
    pages: bool = True,
    notices: Sequence[str] = (),
    charts: "Charts | None" = None,
    extra: Sequence[Section] = (),
    most_rows: int | None = None,
    effects: Sequence[FactorEffect] | None = None,
) -> ReportModel:
    """The report of one run. `folder` is how commands name the run; without `pages` the single cases are left out.

    `notices` are things to know about the stored run itself (a torn line, a migrated record); `charts` those of
    `report.charts.chosen`, for what can show them; `extra` sections stand before the table of all cases. Tables of
    single quantities hold the fastest case of each precision alone where there would be more than `most_rows` rows.
    `effects` where they are known already.
    """
    everything = [*summary.cases, *(quality.summary for quality in summary.quality)]
    name = folder or summary.info.run
    known = charts or {}
    few = _few(summary, most_rows)
    found = factor_effects(summary.cases) if effects is None else effects
    quality = (*_one(quality_table(summary)), *_one(to_accuracy_table(summary)), *_one(parity_table(summary)))
    sections = (
        Section("switches", "What to switch on", tables=_one(switches_table(summary, found))),
        Section("best", "Best settings", tables=best_tables(summary)),
        Section("batch", "Batch size"),
        waterfall_section(summary),
        Section("effects", "What each setting does, all others equal", tables=_one(effects_table(summary, found))),
        _memory(summary, few),
        _metrics("energy", "Energy and device state", few, ENERGY_METRICS),
        ceilings_section(summary),
        _metrics("efficiency", "Efficiency", few, EFFICIENCY_METRICS),
        _metrics("steadiness", "Steadiness and step times", few, TIME_METRICS),
        Section("accuracy", "Accuracy and parity", tables=quality),
        *extra,
        _cases(summary),
        _metrics("cold", "Cold start", few, COLD_METRICS, "Figures of their own: none of this is in throughput."),
        Section("unmeasured", "Cases without figures", tables=_one(unmeasured_table(everything))),
        Section("findings", "Findings", remarks=remarks(everything)),
        Section("environment", "Set-up", facts=environment_facts(summary)),
        Section("method", "How these numbers were made", lines=(*method_lines(summary), *map(line, notices))),
        Section("repeat", "To repeat", facts=repeat_facts(summary, name)),
    )
    return ReportModel(
        title=f"{summary.info.suite_name}: {_subject(summary)}",
        subtitle=line(f"{counts_text(summary)}. {sentence(machine_line(summary.info))}."),
        run=summary.info.run,
        headline=headline(summary),
        sections=tuple(section for section in with_charts(sections, known) if not section.empty),
        pages=case_pages(everything, summary.info) if pages else (),
        answers=answers(summary),
    )


def with_charts(sections: Iterable[Section], charts: "Charts") -> tuple[Section, ...]:
    """Sections with the charts of their key."""
    return tuple(replace(section, charts=charts.get(section.key, ())) for section in sections)


def _one(table: Table | None) -> tuple[Table, ...]:
    return () if table is None else (table,)


def _subject(summary: RunSummary) -> str:
    return str(summary.info.suite.get("description") or f"run {summary.info.run}").strip().rstrip(".")


def counts_text(summary: RunSummary) -> str:
    """`12 cases: 10 ok, 1 oom, 1 skipped`; training runs to a result are said apart."""
    counts = ", ".join(f"{number} {status.value}" for status, number in summary.counts.items())
    total = count(len(summary.cases), "case")
    trained = (
        f" and {count(len(summary.quality), 'training run to a result', 'training runs to a result')}"
        if summary.quality
        else ""
    )
    return f"{total}{trained}: {counts}" if counts else total


def axes(summary: RunSummary) -> tuple[str, ...]:
    """Settings that tell the cases of this run apart."""
    return varying(entry.case for entry in summary.cases)


def speed_metrics(summaries: Sequence[CaseSummary]) -> tuple[str, ...]:
    """Columns of the table of cases: the speed in use first, then what some case has."""
    timings = {entry.case.timing for entry in summaries}
    names = [name for name in SPEED_METRICS if name not in _other_timing(timings)]
    return tuple(name for name in names if name in ("throughput", "latency_s") or metrics_present(summaries, [name]))


def _other_timing(timings: AbstractSet[str]) -> tuple[str, ...]:
    if timings == {"latency"}:
        return ("throughput", "step_time_s")
    return () if "latency" in timings else ("latency_s",)


def cases_table(summary: RunSummary) -> Table:
    """Every measured case with its speed, memory and energy."""
    names = speed_metrics(summary.cases)
    notes: tuple[Line, ...] = (MARKS, *absent_notes(summary.cases, ("mean_power_w", "energy_per_sample_j")))
    return case_table("cases", summary.cases, axes(summary), names, notes=notes)


def _cases(summary: RunSummary) -> Section:
    memory = line("mem: peak allocated by torch on a GPU; on a CPU the peak resident memory above its baseline.")
    table = cases_table(summary)
    return Section(
        "cases", "All cases", lines=(memory,) if any(c.key == MEMORY for c in table.columns) else (), tables=(table,)
    )


@dataclass(frozen=True)
class _Few:
    """The cases that the tables of single quantities show, of all those of the run; `axes` tell these apart."""

    shown: tuple[CaseSummary, ...]
    everything: tuple[CaseSummary, ...]
    axes: tuple[str, ...]

    @property
    def note(self) -> tuple[Line, ...]:
        """What is not shown, and where it is."""
        if len(self.shown) == len(self.everything):
            return ()
        what = "The fastest case of each precision, mode and device; every case is under All cases"
        return (line(f"{what}, and in ", code("gpubench show RUN --all"), "."),)


def _few(summary: RunSummary, most: int | None) -> _Few:
    shown = summary.cases
    if most is not None and len(shown) > most:
        chosen = {id(entry) for contest in contests(shown) for entry in fastest_of_each(contest)}
        shown = tuple(entry for entry in shown if id(entry) in chosen)
    return _Few(shown, summary.cases, axes(summary))


def _metrics(key: str, heading: str, few: _Few, names: Sequence[str], said: str = "") -> Section:
    """A table of those of `names` that were measured, of the cases that have any; empty where none has."""
    ok = [entry for entry in few.shown if entry.status is Status.OK and metrics_present([entry], names)]
    shown = metrics_present(ok, names)
    if not shown:
        return Section(key, heading, lines=absent_notes(few.everything, names))
    notes = (*few.note, *absent_notes(few.everything, names))
    table = case_table(key, ok, few.axes, shown, note=False, notes=notes)
    return Section(key, heading, lines=(line(said),) if said else (), tables=(table,))


def _memory(summary: RunSummary, few: _Few) -> Section:
    section = _metrics("memory", "Memory", few, MEMORY_METRICS)
    return Section(
        "memory",
        "Memory",
        lines=(*found_batches(summary.cases), *largest_batches(summary.cases), *section.lines),
        tables=section.tables,
    )


def num_spoiled(summary: RunSummary) -> int:
    """Cases with a finding of weight (a warning or an error)."""
    return sum(any(found.severity != Severity.INFO for found in entry.findings) for entry in summary.cases)
