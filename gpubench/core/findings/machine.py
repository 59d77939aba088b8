"""GB4xx: telemetry, power, clocks, other processes."""

from gpubench.core.findings.types import Effect, FindingSpec, Severity

SPECS: tuple[FindingSpec, ...] = (
    FindingSpec(
        "GB401", "telemetry-unavailable", Severity.INFO, Effect.NONE, "no telemetry",
        "Power, clocks and temperature could not be read.",
        "Install the NVIDIA driver and nvidia-ml-py, or run with access to the device.",
    ),
)  # fmt: skip
