"""GB5xx: traces. None of them touches a measured figure: a profile explains numbers, it never makes one."""

from gpubench.core.findings.types import Effect, FindingSpec, Severity

SPECS = (
    FindingSpec(
        "GB501", "no-device-work", Severity.WARNING, Effect.NONE, "no GPU rows",
        "The program called CUDA, but the trace holds no work of a GPU.",
        "The profiler could not collect it: check that it is not older than the driver, that nothing else traces the same "
        "process (one tool at a time), and that the container may use the GPU's counters.",
    ),
    FindingSpec(
        "GB502", "perturbed", Severity.WARNING, Effect.NONE, "perturbed",
        "A profiled step takes more than 1.15 times as long as a measured one.",
        "Trust counts and shares of GPU time; do not trust times and gaps of the host.",
    ),
    FindingSpec(
        "GB503", "unattributed", Severity.INFO, Effect.NONE, "unattributed",
        "More than 1 % of the GPU time was launched outside of every phase.",
        "The figures of the phases leave it out. Code between the phases of a step launches it.",
    ),
    FindingSpec(
        "GB504", "pageable-copies", Severity.WARNING, Effect.NONE, "pageable",
        "Data was copied between device and pageable host memory: slower than pinned, and it makes the host wait.",
        "Pin the memory (`data_path: pinned`, or DataLoader's `pin_memory=True`) and copy with `non_blocking=True`.",
    ),
    FindingSpec(
        "GB505", "gpu-waits-for-launches", Severity.INFO, Effect.NONE, "launch-bound",
        "The GPU stood idle because the host had not launched the next piece of work yet.",
        "Launch less or cheaper: CUDA graphs (`cuda_graph`), `compile`, a fused optimizer, a larger batch.",
    ),
    FindingSpec(
        "GB506", "gpu-waits-for-input", Severity.INFO, Effect.NONE, "input-bound",
        "The GPU stood idle while the host fetched the next batch.",
        "Use more loader workers, pinned memory, or data resident on the device.",
    ),
    FindingSpec(
        "GB507", "no-steps", Severity.INFO, Effect.NONE, "no steps",
        "The trace holds no ranges that mark steps, so nothing can be said per step or per phase.",
        "Name the range that is a step with `--step NAME`, or profile with `gpubench profile SUITE`.",
    ),
    FindingSpec(
        "GB508", "opaque-graphs", Severity.INFO, Effect.NONE, "graphs",
        "CUDA graphs were traced as a whole: the kernels inside are in no count and no share.",
        "Trace their nodes: nsys profile --cuda-graph-trace=node.",
    ),
    FindingSpec(
        "GB509", "no-tensor-cores", Severity.WARNING, Effect.NONE, "no tensor cores",
        "Convolutions and matrix products took a good part of the GPU time, and hardly any of it was spent in kernels that use tensor cores.",
        "Check that the precision took effect, that channels and sizes are multiples of 8, and that the layout is channels_last.",
    ),
    FindingSpec(
        "GB510", "layout-conversions", Severity.WARNING, Effect.NONE, "layout",
        "Kernels that only turn one memory layout into another took more than 5 % of the kernel time.",
        "Keep model and images in one layout: `memory_format: channels_last` for convolutions on tensor cores.",
    ),
    FindingSpec(
        "GB511", "steps-differ", Severity.WARNING, Effect.NONE, "steps",
        "The trace holds another number of steps than were asked for.",
        "The capture was cut short or opened late; look at the log beside the trace.",
    ),
    FindingSpec(
        "GB512", "unlinked-work", Severity.INFO, Effect.NONE, "unlinked",
        "Device work whose launch is not in the trace cannot be given to a step's phase.",
        "It was launched before the capture began, or by a process that was not traced.",
    ),
    FindingSpec(
        "GB513", "several-processes", Severity.INFO, Effect.NONE, "several processes",
        "Several processes of the trace have steps; the figures are of one on each device.",
        "Look at another: `gpubench profile read FILE --process PID`.",
    ),
)  # fmt: skip
