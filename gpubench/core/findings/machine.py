"""GB4xx: telemetry, power, clocks, other processes.

Effects are on the case's figures. A finding on energy alone does not affect throughput: the record's telemetry marks it
(`energy_valid` false, with the reason), and gates on energy leave such figures out.
"""

from gpubench.core.findings.finding_types import Effect, FindingSpec, Severity

SPECS: tuple[FindingSpec, ...] = (
    FindingSpec(
        "GB401",
        "telemetry-unavailable",
        Severity.INFO,
        Effect.NONE,
        "no telemetry",
        "Power, clocks and temperature could not be read.",
        "Install the NVIDIA driver and nvidia-ml-py, or run with access to the device.",
    ),
    FindingSpec(
        "GB402",
        "power-capped",
        Severity.INFO,
        Effect.NONE,
        "power cap",
        "The card ran at its power limit, which lowered its clocks. No fault: the card runs this load like that.",
        "Quote the power limit with the figure; compare only with runs at the same limit.",
    ),
    FindingSpec(
        "GB403",
        "throttled",
        Severity.WARNING,
        Effect.WEAKENS,
        "throttled",
        "The driver held clocks down because of heat, or to keep step with another card (sync boost).",
        "Improve cooling, let the card cool down between runs, or lock the clocks below the point where it throttles.",
    ),
    FindingSpec(
        "GB404",
        "hardware-slowdown",
        Severity.ERROR,
        Effect.INVALIDATES,
        "hw slowdown",
        "The hardware cut the clocks (critical heat, or the board's power brake): an emergency, not normal operation.",
        "Check cooling, power cables and power supply; `nvidia-smi -q -d PERFORMANCE` shows the reason. "
        "Do not quote this figure.",
    ),
    FindingSpec(
        "GB405",
        "clocks-not-locked",
        Severity.INFO,
        Effect.NONE,
        "clocks free",
        "The SM clock moved during the window: it is not locked.",
        "Nothing to do for throughput; for the steadiest comparisons lock it (`nvidia-smi -lgc MHZ`, as root).",
    ),
    FindingSpec(
        "GB406",
        "clock-drift",
        Severity.WARNING,
        Effect.WEAKENS,
        "clock drift",
        "The SM clock at the end of the window differed from that at its start by more than 2 %.",
        "Warm the card up for longer, or lock its clocks: steps in this window ran at different speeds.",
    ),
    FindingSpec(
        "GB407",
        "other-process",
        Severity.WARNING,
        Effect.WEAKENS,
        "shared GPU",
        "Another process had a compute context on this GPU while the case ran.",
        "Stop it, or choose another GPU with CUDA_VISIBLE_DEVICES.",
    ),
    FindingSpec(
        "GB408",
        "power-limit-lowered",
        Severity.WARNING,
        Effect.NONE,
        "low limit",
        "The power limit is below this card's default: figures are right for this limit, not for the card.",
        "Restore it (`nvidia-smi -pl WATTS`, needs root), or state the limit wherever you quote the figure.",
    ),
    FindingSpec(
        "GB409",
        "power-limit-changed",
        Severity.WARNING,
        Effect.WEAKENS,
        "limit moved",
        "The power limit changed while the case ran.",
        "Find what sets it (a job prologue, a power manager) and measure again.",
    ),
    FindingSpec(
        "GB410",
        "energy-window-short",
        Severity.INFO,
        Effect.NONE,
        "short J",
        "The measured window is shorter than a valid energy figure needs on this card.",
        "Raise `measure.min_window` (or `measure.min_time`): the value is kept, but gates leave it out.",
    ),
    FindingSpec(
        "GB411",
        "energy-disagrees",
        Severity.WARNING,
        Effect.NONE,
        "J suspect",
        "Two ways of measuring the same energy disagree by more than 3 %.",
        "Do not quote the energy of this case; `gpubench doctor` says whether this card's counter can be trusted.",
    ),
    FindingSpec(
        "GB412",
        "counter-reset",
        Severity.WARNING,
        Effect.NONE,
        "J reset",
        "The energy counter went backwards during the window; energy was taken from power readings instead.",
        "A driver reload or GPU reset does this: find out what caused it, and measure again.",
    ),
    FindingSpec(
        "GB413",
        "gpu-lost",
        Severity.ERROR,
        Effect.INVALIDATES,
        "GPU lost",
        "The driver lost the GPU while the case ran.",
        "Look at `dmesg` for Xid messages (79: fell off the bus), check power and seating; most need a power cycle.",
    ),
    FindingSpec(
        "GB414",
        "power-aliasing",
        Severity.WARNING,
        Effect.NONE,
        "J aliased",
        "Energy comes from a power sensor that sees only part of the time: for a periodic load it can be far off.",
        "Do not quote this energy figure; cards with an energy counter (Volta and newer) do not have this problem.",
    ),
    FindingSpec(
        "GB415",
        "device-unmatched",
        Severity.WARNING,
        Effect.NONE,
        "which GPU?",
        "The device that CUDA uses could not be matched to one card with certainty, so nothing was read.",
        "Check CUDA_VISIBLE_DEVICES and, in a container, the driver's libraries; `gpubench doctor` lists the cards.",
    ),
    FindingSpec(
        "GB416",
        "parent-shared",
        Severity.INFO,
        Effect.NONE,
        "MIG",
        "The case ran on a MIG slice: power, energy and clocks are those of the whole card.",
        "Throughput is the slice's own; leave energy out of comparisons.",
    ),
    FindingSpec(
        "GB417",
        "readings-missing",
        Severity.INFO,
        Effect.NONE,
        "gaps",
        "Part of the window has no telemetry readings: calls to the driver failed or were slow.",
        "`show RUN:CASE` lists what is missing; a busy or faulty driver causes this.",
    ),
    FindingSpec(
        "GB418",
        "ecc-errors",
        Severity.ERROR,
        Effect.WEAKENS,
        "ECC",
        "The card counted uncorrected memory errors while the case ran.",
        "Check the card (`nvidia-smi -q -d ECC,ROW_REMAPPER`), reset it, and measure again.",
    ),
)

UNFIT = frozenset({"GB401", "GB403", "GB404", "GB406", "GB407", "GB408", "GB409", "GB413", "GB415", "GB418"})
"""Codes that make a machine unfit under `--strict` (exit 4): the GPU is not in the state a user expects to measure, or
its state could not be checked.
"""


def unfit(codes: "frozenset[str] | set[str] | tuple[str, ...]") -> tuple[str, ...]:
    """Those of `codes` that `--strict` refuses, in order."""
    return tuple(sorted(UNFIT.intersection(codes)))
