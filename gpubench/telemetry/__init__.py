"""Power, energy, clocks, memory and throttling of GPUs, usable alone. `docs/telemetry.md` describes it."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpubench.telemetry.devices.replay import Recording, ReplayBackend, load_recording
    from gpubench.telemetry.monitor import Monitor, MonitorWindow
    from gpubench.telemetry.sampling.sampler import Schedule

__all__ = ["Monitor", "MonitorWindow", "Recording", "ReplayBackend", "Schedule", "load_recording"]

_HOMES = {
    "Monitor": "monitor",
    "MonitorWindow": "monitor",
    "Recording": "devices.replay",
    "ReplayBackend": "devices.replay",
    "Schedule": "sampling.sampler",
    "load_recording": "devices.replay",
}


def __getattr__(name: str) -> Any:
    """Loads a public name when it is first used: `import gpubench` stays cheap."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import importlib

    return getattr(importlib.import_module(f"gpubench.telemetry.{_HOMES[name]}"), name)
