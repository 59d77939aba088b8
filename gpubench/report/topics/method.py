"""How these numbers were made, in sentences, and what to type to see more, to repeat, to go on."""

import shlex

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Series, Status
from gpubench.core.units import format_duration, format_percent
from gpubench.report.model.report_model import Fact, Line, Section, code, line
from gpubench.report.model.words import count
from gpubench.report.view.run_view import View
from gpubench.suite.model.suite import Measure


def method_lines(summary: RunSummary) -> tuple[Line, ...]:
    """Isolation, clock, warm-up, stopping, interval and correctness, with the numbers of this run's suite."""
    measure = Measure.model_validate(summary.info.suite.get("measure") or {})
    series = [record.series for entry in summary.cases for record in entry.ok_records if record.series is not None]
    return (
        line(
            f"Each case was launched {count(summary.info.repeats, 'time')}, each launch in a process of its own, all "
            f"launches in random order (seed {summary.info.seed}).{_isolation(summary)} Settings were set, then read "
            "back before and after the measured steps; a mismatch fails the case."
        ),
        line(_clocks(series)),
        line(
            "Warm-up is found from the step times, not assumed. A launch ended when the median was known to "
            f"±{format_percent(measure.target_rel_ci)} (autocorrelation counted in) and "
            f"{format_duration(measure.min_time)} "
            f"had passed, at the latest after {format_duration(measure.max_time)}.{_lengths(series)}"
        ),
        line(_interval(summary)),
        line(
            "Throughput is samples per step over the median step time. Nothing is dropped for being slow. A figure "
            "that is weakened or invalid (marks ! and -), or whose output was not verified (?), is shown and wins no "
            "headline."
        ),
    )


def _isolation(summary: RunSummary) -> str:
    ways = {record.isolation for entry in summary.cases for record in entry.records if record.isolation}
    if ways == {"fork"}:
        return " Processes were forked from a host that had imported torch and never touched the device."
    return " Some or all were fresh interpreters." if "fresh" in ways else ""


def _clocks(series: list[Series]) -> str:
    clocks = {each.clock for each in series}
    said = []
    if "cuda_event" in clocks:
        said.append(
            "GPU steps were timed by CUDA events at the boundaries of every step, without synchronising inside the "
            "loop, and checked against the wall clock of the whole block."
        )
    if "perf_counter" in clocks:
        said.append("CPU steps were timed by the monotonic clock at the boundaries of every step.")
    grouped = max((each.group for each in series), default=1)
    if grouped > 1:
        said.append(f"Steps shorter than 1 ms were timed in groups (of up to {grouped}).")
    return " ".join(said) or "No step was timed."


def _lengths(series: list[Series]) -> str:
    if not series:
        return ""
    steps = sorted(each.num_steady * each.group for each in series)
    warm = sorted(each.num_warmup * each.group for each in series)
    middle = len(series) // 2
    late = sum(not each.converged for each in series)
    ended = f" {count(late, 'launch', 'launches')} of {len(series)} reached the limit first." if late else ""
    return f" Here: {warm[middle]} warm-up and {steps[middle]} steady steps in the middle launch.{ended}"


def _interval(summary: RunSummary) -> str:
    if summary.info.repeats < 2:
        return (
            "One launch per case: the spread between processes is unknown, so no figure has an interval and none is "
            "called best. Run with --repeats 3 or more."
        )
    return (
        "± and intervals are 95 % t intervals over launches on log times: they hold what differs between processes "
        "(memory layout, autotuning), not only between steps. Figures of several launches are geometric means."
    )


def section(view: View) -> Section:
    lines = (*method_lines(view.summary), *map(line, view.notices))
    return Section("method", "How these numbers were made", short="Method", lines=lines)


def repeat_section(view: View) -> Section:
    info, name = view.summary.info, view.name or view.summary.info.run
    typed = command_line(info.argv) or f"gpubench run {info.suite_path or info.suite_name} --seed {info.seed}"
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
    """The command as it was typed, for a shell."""
    return shlex.join(["gpubench", *argv[1:]]) if len(argv) > 1 else ""
