"""Runs a program under telemetry, alone or in turn with another."""

import random
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from types import TracebackType
from typing import Any, Self

from gpubench.analysis.summary.program_figures import (
    DeviceFigures,
    ProgramFigures,
    ProgramSummary,
    summarise_device,
    summarise_program,
)
from gpubench.analysis.verdict.interleaved_rounds import SequentialComparison
from gpubench.analysis.verdict.judge import Comparison
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.cli.own_variables import users_environment
from gpubench.cli.standing_verdicts import SEQUENTIAL_ROUNDS
from gpubench.core.errors import UsageError
from gpubench.core.metrics import SESOI
from gpubench.core.secrets import hide_secrets
from gpubench.runner.program_run import ProgramRun, SharedInput, run_program
from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.open_backend import open_backend
from gpubench.telemetry.run_telemetry import TelemetrySession, open_session
from gpubench.telemetry.sampling.sampler import Schedule

Measure = Callable[[Sequence[str]], ProgramFigures]
_READY_S = 3.0
_SCHEDULE = Schedule(slow_s=0.1)
"""Memory is read ten times a second, because the moment of a program's largest size is unknown."""


class ProgramTelemetry:
    """Telemetry of every device a program may use, open during its runs.

    `devices`: CUDA's numbers, UUIDs or PCI addresses; empty for all that the program may open. UsageError for a name
    that means no device.
    """

    def __init__(self, devices: Sequence[str] = ()) -> None:
        self.backend = open_backend()
        if devices and not self.backend.available:
            raise UsageError(f"--device: {self.backend.reason}", hint=self.backend.remedy)
        self._sessions: dict[str, TelemetrySession] = {}
        for identity in self._identities(devices):
            session = open_session(backend=self.backend, schedule=_SCHEDULE)
            session.track(identity)
            self._sessions[identity.uuid or identity.pci or ""] = session
        self._cpu = next(iter(self._sessions.values()), None) or open_session(backend=self.backend, schedule=_SCHEDULE)

    def _identities(self, devices: Sequence[str]) -> list[Identity]:
        if not self.backend.available:
            return []
        try:
            if devices:
                return [self.backend.identify(device) for device in devices]
            return [Identity(uuid=key) for key in self.backend.survey()]
        except TelemetryError as error:
            if not devices:
                return []
            raise UsageError(f"--device: {error}", hint=error.remedy) from error

    def __enter__(self) -> Self:
        for session in self._all():
            session.wait_until_ready(_READY_S)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        for session in self._all():
            session.close()

    def _all(self) -> list[TelemetrySession]:
        return list(self._sessions.values()) or [self._cpu]

    def measure(
        self, command: Sequence[str], *, stdout: int | None = None, stdin: SharedInput | None = None
    ) -> ProgramFigures:
        """Measures one run, which reads `stdin` from its start if that is a file. ProgramStartError if it cannot be
        started; never KeyboardInterrupt, which goes to the program.
        """
        for session in self._all():
            session.before_launch()
        if stdin is not None:
            stdin.rewind()
        run = run_program(command, users_environment(), stdout=stdout)
        for session in self._all():
            session.after_launch()
        return self._figures(run)

    def _figures(self, run: ProgramRun) -> ProgramFigures:
        cpu_s = run.user_s + run.system_s
        metrics: dict[str, float | None] = {
            "wall_s": run.wall_s,
            "user_s": run.user_s,
            "system_s": run.system_s,
            "cpus": cpu_s / run.wall_s,
            "peak_memory_bytes": run.peak_memory_bytes,
            "largest_process_bytes": run.largest_process_bytes,
            "num_processes": run.num_processes,
        }
        absent, devices = dict(run.absent), {}
        windows = {key: session.window(run.start_s, run.end_s, 0) for key, session in self._sessions.items()}
        first = next(iter(windows.values()), None) or self._cpu.window(run.start_s, run.end_s, 0)
        metrics["cpu_energy_j"] = first.metrics["cpu_energy_j"]
        if metrics["cpu_energy_j"] is None:
            absent["cpu_energy_j"] = first.absent["cpu_energy_j"]
        for key, window in windows.items():
            name = str(window.detail.get("device", {}).get("name") or key)
            figures = {name: value for name, value in window.metrics.items() if name != "cpu_energy_j"}
            devices[key] = DeviceFigures(name, figures, window.absent, window.detail)
        return ProgramFigures(metrics, absent, devices, run.exit_status, run.left_running, run.interrupted)

    @property
    def without_devices(self) -> str:
        """Why no device is measured; empty if one is."""
        return "" if self._sessions else self.backend.reason or "no card that this process may open"


@dataclass
class MeasuredPrograms:
    """The runs of a command, and with a `reference` the rounds of both, run r of each side by side.

    `stopped` says why there are fewer runs than requested. `exit_status` is the first non-zero one.
    """

    command: Sequence[str]
    reference: Sequence[str] | None = None
    runs: list[ProgramFigures] = field(default_factory=list)
    reference_runs: list[ProgramFigures] = field(default_factory=list)
    comparison: Comparison | None = None
    exit_status: int = 0
    stopped: str = ""


def measure_programs(
    measure: Measure,
    command: Sequence[str],
    reference: Sequence[str] | None,
    *,
    runs: int | None,
    warmup: int = 0,
    sesoi: float | None = None,
    ignore_failure: bool = False,
    order: random.Random | None = None,
) -> MeasuredPrograms:
    """Measures runs of one command, or rounds of two until a verdict, each round in random order.

    A failed or interrupted run ends the measurement; its figures count only if there are no others. `runs` defaults to
    1, or 24 rounds of two commands.
    """
    made = MeasuredPrograms(command, reference)
    sides: list[tuple[Sequence[str], list[ProgramFigures]]] = [(command, made.runs)]
    sequence: SequentialComparison | None = None
    planned = runs or 1
    if reference is not None:
        sides.append((reference, made.reference_runs))
        planned = runs or SEQUENTIAL_ROUNDS
        sequence = SequentialComparison(CompareSettings(sesoi=sesoi or SESOI, max_rounds=max(3, planned)))
    shuffle = order or random.Random()
    for number in range(-warmup, planned):
        shuffle.shuffle(sides)
        taken: dict[int, ProgramFigures] = {}
        for words, kept in sides:
            found = measure(words)
            made.exit_status = made.exit_status or found.exit_status
            failed = found.exit_status != 0 and not ignore_failure
            if found.interrupted or failed:
                why = "interrupted" if found.interrupted else f"ended with status {found.exit_status}"
                place = f"warm-up run {number + warmup + 1}" if number < 0 else f"run {number + 1} of {planned}"
                if planned > 1 or number < 0:
                    made.stopped = f"{place} {why}: nothing was run after it"
                if sequence is None and number >= 0 and not kept:
                    kept.append(found)
                return made
            taken[id(kept)] = found
        if number < 0:
            continue
        for _, kept in sides:
            kept.append(taken[id(kept)])
        if sequence is not None:
            sequence.add_round(*([_wall_s(side[-1])] for side in (made.reference_runs, made.runs)))
            made.comparison = sequence.result
            if sequence.verdict is not None:
                return made
    return made


def _wall_s(run: ProgramFigures) -> float:
    wall_s = run.metrics["wall_s"]
    assert wall_s is not None
    return wall_s


def as_document(measured: MeasuredPrograms, why_no_device: str) -> dict[str, Any]:
    """The JSON document: `commands` with their figures, runs and devices, and the `verdict` on two."""
    sides = [(measured.command, measured.runs), (measured.reference, measured.reference_runs)]
    found = measured.comparison
    return {
        "schema": 1,
        "commands": [_side(words, runs) for words, runs in sides if words is not None],
        "no_device": why_no_device or None,
        "stopped": measured.stopped or None,
        "exit_status": measured.exit_status,
        "verdict": found
        and {
            "verdict": found.verdict,
            "ratio": found.ratio,
            "low": found.low,
            "high": found.high,
            "rounds": found.rounds,
            "sesoi": found.settings.sesoi,
            "p_value": found.p_value,
            "rounds_needed": found.rounds_needed,
            "reason": found.reason,
        },
    }


def _side(words: Sequence[str], runs: Sequence[ProgramFigures]) -> dict[str, Any]:
    keys = dict.fromkeys(key for run in runs for key in run.devices)
    names = {key: next(run.devices[key].name for run in runs if key in run.devices) for key in keys}
    return {
        "command": hide_secrets(list(words)),
        **_figures(summarise_program(runs)),
        "devices": [{"key": key, "name": names[key], **_figures(summarise_device(runs, key))} for key in keys],
        "runs": [
            {
                **run.metrics,
                "absent": dict(run.absent),
                "exit_status": run.exit_status,
                "left_running": run.left_running,
                "devices": {
                    key: {**device.metrics, "absent": dict(device.absent), "detail": dict(device.detail)}
                    for key, device in run.devices.items()
                },
            }
            for run in runs
        ],
    }


def _figures(found: ProgramSummary) -> dict[str, Any]:
    return {
        "metrics": {
            name: {key: value for key, value in asdict(each).items() if value is not None}
            for name, each in found.metrics.items()
        },
        "absent": found.absent,
    }
