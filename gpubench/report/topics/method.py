"""How these numbers were made, in sentences, and what to type to see more, to repeat, or to continue."""

import shlex

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Status
from gpubench.core.units import format_duration, format_percent
from gpubench.report.model.report_model import Fact, Line, Section, code, line, lines
from gpubench.report.model.words import count
from gpubench.report.view.run_view import View
from gpubench.store.run_info import understood
from gpubench.suite.model.suite import Measure


def method_lines(summary: RunSummary) -> tuple[Line, ...]:
    """Isolation, clock, warm-up, stopping, interval and correctness, with the numbers of this run's suite."""
    measure = understood(Measure, summary.info.suite.get("measure") or {}, "the run's suite has a setting")
    series = [record.series for entry in summary.cases for record in entry.ok_records if record.series is not None]
    ways = {record.isolation for entry in summary.cases for record in entry.records if record.isolation}
    isolation = " Some or all were fresh interpreters." if "fresh" in ways else ""
    if ways == {"fork"}:
        isolation = " Processes were forked from a host that had imported torch and never touched the device."
    clocks, grouped = {each.clock for each in series}, max((each.group for each in series), default=1)
    timed = [
        "GPU steps were timed by CUDA events at the boundaries of every step, without synchronising inside the loop, "
        "and checked against the wall clock of the whole block."
        if "cuda_event" in clocks
        else "",
        "CPU steps were timed by the monotonic clock at the boundaries of every step."
        if "perf_counter" in clocks
        else "",
        f"Steps shorter than 1 ms were timed in groups (of up to {grouped})." if grouped > 1 else "",
    ]
    kept = {(entry.effective.extra if entry.effective else {}).get("freed_memory") for entry in summary.cases}
    if kept - {None} == {"kept"}:
        isolation += " Host memory that a step freed stayed with the process."
    lengths, middle, late = "", len(series) // 2, sum(not each.converged for each in series)
    if series:
        warm, steady = (
            sorted(getattr(each, name) * each.group for each in series)[middle] for name in ("num_warmup", "num_steady")
        )
        lengths = f" Here: {warm} warm-up and {steady} steady steps in the middle launch."
    if late:
        lengths += f" {count(late, 'launch', 'launches')} of {len(series)} reached the limit first."
    return lines(
        f"Each case was launched {_repeats(summary, measure)}, each launch in a separate process, all "
        f"launches in random order (seed {summary.info.seed}).{isolation} Settings were set, then read back before "
        "and after the measured steps; a mismatch fails the case.",
        " ".join(filter(None, timed)) or "No step was timed.",
        "Warm-up is found from the step times, not assumed. A launch ended when the median was known to "
        f"±{format_percent(measure.target_rel_ci)} (allowing for autocorrelation) and "
        f"{format_duration(measure.min_time)} had passed, at the latest after "
        f"{format_duration(measure.max_time)}.{lengths}",
        "One launch per case: the spread between processes is unknown, so no figure has an interval and none is called "
        "best. Run with --repeats 3 or more."
        if summary.info.repeats < 2
        else "± and intervals are 95 % t intervals over launches on log times: they include what differs between "
        "processes (memory layout, autotuning), not only between steps. Figures of several launches "
        "are geometric means.",
        "Effects, ratios and the ranking come from cases that took turns in one process, in blocks of 20 ms or two "
        "steps, in random order within each turn. A process gives one value per case; intervals are over processes. "
        "Cases that never met in one process are compared by their launches."
        if summary.contests
        else "",
        "Throughput is samples per step over the median step time. Nothing is dropped for being slow. A figure that is "
        "weakened or invalid (marks ! and -), or whose output was not verified (?), is shown but never called best.",
    )


def _repeats(summary: RunSummary, measure: Measure) -> str:
    known = measure.repeat_range
    if known is None or summary.info.arms:
        return count(summary.info.repeats, "time")
    until = f"until the half-width of its interval was {format_percent(measure.target_rel_ci)}"
    return f"{known.min} to {known.max} times ({until})"


def section(view: View) -> Section:
    return Section(
        "method",
        "How these numbers were made",
        short="Method",
        lines=(*method_lines(view.summary), *lines(*view.notices)),
    )


def repeat_section(view: View) -> Section:
    info, name = view.summary.info, view.name or view.summary.info.run
    typed = command_line(info.argv) or f"gpubench run {info.source} --seed {info.seed}"
    facts = [Fact("Repeat", line(code(typed)))]
    missing = [
        entry for entry in view.summary.cases if entry.status is Status.SKIPPED and not entry.planned.skip_status
    ]
    if missing:
        resume = code(f"gpubench run --resume {name}")
        facts.append(Fact("Go on", line(resume, f" measures the {count(len(missing), 'case')} left")))
    facts.append(Fact("One case", line(code(f"gpubench show {name}:NUMBER"), " shows it in full")))
    return Section("repeat", "To repeat", facts=tuple(facts))


def command_line(argv: tuple[str, ...]) -> str:
    """The original command, quoted for a shell."""
    return shlex.join(["gpubench", *argv[1:]]) if len(argv) > 1 else ""
