"""The events that a run of invented figures would have sent, round by round."""

from collections.abc import Iterator
from pathlib import Path

from fakes.runs import FakeRun

from gpubench.core.records import Record
from gpubench.runner.events import (
    CaseFinished,
    Event,
    HostStarted,
    LaunchFinished,
    LaunchPhase,
    LaunchProgress,
    LaunchStarted,
    Notice,
    RunStarted,
)
from gpubench.store.run_info import PlannedCase

FOLDER = Path("reports/20261123-1602-cnn-7f3a")
LIVE = {
    "utilization": 0.91,
    "memory_used_bytes": 6.5 * 2**30,
    "memory_total_bytes": 79.6 * 2**30,
    "power_w": 612.0,
    "temperature_c": 61.0,
    "sm_clock_mhz": 1755.0,
    "throttle": "power cap",
}


def events_of(run: FakeRun, *, stop_before_last: bool = False, telemetry: bool = True) -> Iterator[Event]:
    """Every launch in order of repeat; with `stop_before_last` the last launch is left in the middle of measuring."""
    planned = {case.index: case for case in run.info.cases}
    launches = sorted(run.records, key=lambda record: (record.repeat, record.case_index))
    yield RunStarted(run.info, FOLDER, len(launches))
    yield HostStarted(4711, 3.1, {"torch": "2.13.0"}, ())
    seen: dict[int, list[Record]] = {}
    for number, record in enumerate(launches, start=1):
        case = planned[record.case_index]
        last = number == len(launches)
        yield LaunchStarted(case, record.repeat, 1 if case.kind == "quality" else run.info.repeats)
        yield LaunchPhase("measuring")
        yield LaunchProgress(61, 44.2e-3, 0.006, 0.005, telemetry=LIVE if telemetry else {})
        if last and stop_before_last:
            return
        yield LaunchFinished(case, record, number, len(launches))
        seen.setdefault(case.index, []).append(record)
        if len(seen[case.index]) == _launches_of(case, run):
            yield CaseFinished(case, tuple(seen[case.index]), number, len(planned), 10.0 * number, 10.0)
    yield Notice("worker host 4711 ended (signal 9)", "A new one was started; nothing is lost.")


def _launches_of(case: PlannedCase, run: FakeRun) -> int:
    return sum(record.case_index == case.index for record in run.records)
