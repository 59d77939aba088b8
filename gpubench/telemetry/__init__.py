"""Power, energy, clocks, memory and throttling of GPUs, usable alone. `docs/telemetry.md` describes it."""

from typing import TYPE_CHECKING

from gpubench.core import lazy_names

if TYPE_CHECKING:
    from gpubench.telemetry.devices.replay import Recording, ReplayBackend, load_recording
    from gpubench.telemetry.monitor import Monitor, MonitorWindow
    from gpubench.telemetry.sampling.sampler import Schedule

__all__ = ["Monitor", "MonitorWindow", "Recording", "ReplayBackend", "Schedule", "load_recording"]

_HOMES = {
    "Monitor": "gpubench.telemetry.monitor",
    "MonitorWindow": "gpubench.telemetry.monitor",
    "Recording": "gpubench.telemetry.devices.replay",
    "ReplayBackend": "gpubench.telemetry.devices.replay",
    "Schedule": "gpubench.telemetry.sampling.sampler",
    "load_recording": "gpubench.telemetry.devices.replay",
}

__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
