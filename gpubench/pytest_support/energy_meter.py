"""Energy of tests, read from the driver while they run."""

from gpubench.telemetry.monitor import Monitor


def open_monitor(device: str) -> Monitor:
    """Samples the device (`auto`, `cuda`: CUDA's first). Takes up to three seconds; never fails, see `reason`."""
    _, _, number = device.partition(":")
    monitor = Monitor(int(number) if number.isdigit() else 0)
    monitor.open()
    return monitor


def energy_of(monitor: object, started_s: float, ended_s: float) -> tuple[float | None, str]:
    """Joules between two times of `time.monotonic()`, or None and why there is no valid figure."""
    assert isinstance(monitor, Monitor)
    window = monitor.window(started_s, ended_s)
    if window.energy_j is None or not window.energy_valid:
        return None, window.energy_invalid_reason or window.absent.get("energy_j") or monitor.reason
    return window.energy_j, ""


def close(monitor: object) -> None:
    assert isinstance(monitor, Monitor)
    monitor.close()
