"""The surroundings of a launch: other processes, limits, errors. Read before and after it, never during it."""

import time
from collections.abc import Mapping
from typing import Any

from gpubench.core.findings import Finding, finding
from gpubench.core.units import format_bytes, format_watts, told_apart
from gpubench.telemetry.devices.base import Device, ProcessUse, Survey, TelemetryError, bounded

NOT_SURVEYED = Survey(None, None, "the device was not known before the launch")
_TIMEOUT_S = 2.0
_TEARDOWN_S = 0.5
_POLL_S = 0.05
_LIMITS = ("power_limit_w", "power_limit_default_w", "sm_clock_max_mhz")
_STATE_KEPT = (*_LIMITS, "ecc", "persistence", "pcie_generation", "pcie_width", "mig")


class Surroundings:
    """Process lists and state of one device before and after a launch.

    The launch's own process is in neither list, so all listed ones are others; those listed only afterwards get half a
    second to exit.
    """

    def __init__(self, device: Device) -> None:
        self._device = device
        self._before = self._after = NOT_SURVEYED
        self._state_before: Mapping[str, Any] = {}
        self._state_after: Mapping[str, Any] = {}
        self._reported: set[str] = set()

    def before(self) -> None:
        """Reads the surroundings before a launch."""
        self.begin(self._survey())

    def begin(self, survey: Survey) -> None:
        """The same for a device that was surveyed already (or could not be: `NOT_SURVEYED`)."""
        self._reported.clear()
        self._before, self._after, self._state_after = survey, NOT_SURVEYED, {}
        self._state_before = self._state()

    def after(self) -> None:
        """Reads the surroundings after a launch has ended."""
        known = {process.pid for process in self._before.processes or ()}
        waited_s = 0.0
        self._after = self._survey()
        while waited_s < _TEARDOWN_S and any(process.pid not in known for process in self._after.processes or ()):
            time.sleep(_POLL_S)
            waited_s += _POLL_S
            self._after = self._survey()
        self._state_after = self._state()

    def _survey(self) -> Survey:
        try:
            return bounded(self._device.survey, _TIMEOUT_S, what=f"the {self._device.kind} driver")
        except TelemetryError as error:
            return Survey(None, None, str(error))

    def _state(self) -> Mapping[str, Any]:
        try:
            return bounded(self._device.state, _TIMEOUT_S, what=f"the {self._device.kind} driver")
        except TelemetryError as error:
            return {"absent": {"state": str(error)}}

    @property
    def others(self) -> list[ProcessUse] | None:
        """Other processes on the device, None if they could not be listed."""
        if self._before.processes is None and self._after.processes is None:
            return None
        by_pid = {process.pid: process for survey in (self._before, self._after) for process in survey.processes or ()}
        return list(by_pid.values())

    @property
    def memory_before_bytes(self) -> int | None:
        """Device memory in use before the launch, in bytes."""
        return self._before.memory_used_bytes

    def detail(self) -> dict[str, Any]:
        """For the record: limits and link at the start, the limit at the end, and other processes."""
        others = self.others
        return {
            **{name: self._state_before.get(name) for name in _STATE_KEPT},
            "power_limit_end_w": self._state_after.get("power_limit_w"),
            "other_processes": None if others is None else [process._asdict() for process in others],
            "other_processes_absent": self._before.why if others is None else None,
        }

    def new_findings(self) -> tuple[Finding, ...]:
        """Findings since the last `before`, each once: first what the start shows, later what the end shows."""
        before, after = self._state_before, self._state_after
        found = []
        for other in self.others or ():
            memory = f" with {format_bytes(other.used_bytes)}" if other.used_bytes else ""
            message = f"Process {other.pid} ({other.name or 'name unknown'}) was on the GPU{memory}."
            found.append(finding("GB407", message, pid=other.pid, name=other.name, used_bytes=other.used_bytes))
        limit, default = before.get("power_limit_w"), before.get("power_limit_default_w")
        end = after.get("power_limit_w")
        if limit and default and limit < default - 0.5:
            ours, usual = told_apart(limit, default, format_watts)
            message = f"The power limit is {ours}, the card's default {usual}."
            found.append(finding("GB408", message, limit_w=limit, default_w=default))
        if limit and end and abs(end - limit) > 0.5:
            first, last = told_apart(limit, end, format_watts)
            message = f"The power limit went from {first} to {last} during the launch."
            found.append(finding("GB409", message, start_w=limit, end_w=end))
        errors = [state.get("ecc_uncorrected_volatile") for state in (before, after)]
        if errors[0] is not None and errors[1] is not None and errors[1] > errors[0]:
            count = errors[1] - errors[0]
            found.append(finding("GB418", f"{count} uncorrected memory errors were counted.", count=count))
        fresh = [one for one in found if one.message not in self._reported]
        self._reported.update(one.message for one in fresh)
        return tuple(fresh)
