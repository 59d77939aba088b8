"""What the nodes of a run sampled while they measured."""

from gpubench.protocol.node_messages import NodeWindow
from gpubench.telemetry.window.window_figures import TelemetryWindow

_METRICS = ("sm_clock_mhz", "memory_clock_mhz", "temperature_c", "throttle_share", "mean_power_w", "energy_j")
_DETAILS = ("power_limit_w", "pcie_generation", "pcie_width", "ecc")
THROTTLED = "throttled_"
"""Of a name, before the reason: a share of the window."""


def state_of(window: NodeWindow) -> dict[str, float]:
    """What a rank's record keeps of its device: metrics, limits, and why its clocks were held down."""
    read = {name: window.metrics.get(name) for name in _METRICS} | {name: window.detail.get(name) for name in _DETAILS}
    shares = window.detail.get("throttle_share_by_reason") or {}
    others = window.detail.get("other_processes")
    read["other_processes"] = None if others is None else len(others)
    read |= {f"{THROTTLED}{reason}": share for reason, share in shares.items()}
    return {name: float(value) for name, value in read.items() if value is not None}


class ClusterTelemetry:
    """The windows that the nodes sampled, in place of a local `TelemetrySession`."""

    def __init__(self) -> None:
        self._windows: dict[int, NodeWindow] = {}

    def forget(self) -> None:
        self._windows = {}

    def keep(self, windows: dict[int, NodeWindow]) -> None:
        self._windows = windows

    def window(self) -> TelemetryWindow | None:
        """The window of the first rank's device."""
        found = self._windows.get(0)
        if found is None:
            return None
        series = {name: list(values) for name, values in found.series.items()}
        return TelemetryWindow(dict(found.metrics), dict(found.absent), list(found.findings), found.detail, series)
