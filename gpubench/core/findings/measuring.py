"""GB2xx: timing, warm-up, convergence."""

from gpubench.core.findings.types import Effect, FindingSpec, Severity

SPECS = (
    FindingSpec(
        "GB201", "clock-mismatch", Severity.ERROR, Effect.INVALIDATES, "clock!",
        "Wall clock and device clock disagree about the length of the measured block.",
        "Check for a broken driver or a virtual machine without a stable clock (`gpubench doctor`); do not quote this figure.",
    ),
    FindingSpec(
        "GB202", "not-steady", Severity.WARNING, Effect.WEAKENS, "drifts",
        "Step time still drifted over the measured window.",
        "Measure longer (`measure.max_time`), or look for heating, throttling or a growing workload.",
    ),
    FindingSpec(
        "GB203", "not-converged", Severity.WARNING, Effect.WEAKENS, "wide",
        "The time limit came before the interval of the median was as narrow as asked.",
        "Raise `measure.max_time`, loosen `measure.target_rel_ci`, or quiet the machine.",
    ),
    FindingSpec(
        "GB204", "outliers", Severity.INFO, Effect.NONE, "outliers",
        "Some steps took much longer than the median; all of them are kept.",
        "The median is hardly moved; look at p99 and sustained throughput if these steps matter to you.",
    ),
    FindingSpec(
        "GB205", "pre-empted", Severity.WARNING, Effect.WEAKENS, "pre-empted",
        "The process waited for the CPU while it measured: wall time exceeded CPU time.",
        "Stop other programs, or pin the run to free cores.",
    ),
    FindingSpec(
        "GB206", "few-launches", Severity.WARNING, Effect.WEAKENS, "n=1",
        "Fewer than two launches: the spread between processes is unknown, so no interval can be given.",
        "Run with at least `--repeats 3`.",
    ),
    FindingSpec(
        "GB207", "grouped-steps", Severity.INFO, Effect.NONE, "grouped",
        "Steps are shorter than 1 ms and were timed in groups; percentiles are those of groups.",
        "Nothing to do; quote the median, not the tail.",
    ),
    FindingSpec(
        "GB208", "few-steps", Severity.WARNING, Effect.WEAKENS, "few steps",
        "Fewer steps than the interval of a median needs were measured.",
        "Raise `measure.max_time`, or use a smaller batch.",
    ),
    FindingSpec(
        "GB209", "launch-bound", Severity.INFO, Effect.NONE, "launch-bound",
        "The device waited for the host to launch work: a faster GPU would change little.",
        "Use CUDA graphs, `compile`, a fused optimizer, or a larger batch.",
    ),
    FindingSpec(
        "GB210", "input-bound", Severity.INFO, Effect.NONE, "input-bound",
        "Steps waited for input data.",
        "Use more loader workers, pinned memory, or data resident on the device.",
    ),
    FindingSpec(
        "GB211", "launches-differ", Severity.INFO, Effect.NONE, "launches differ",
        "Launches differ from each other by much more than steps within a launch do.",
        "The quoted interval already holds this; more `--repeats` make it narrower.",
    ),
)  # fmt: skip
