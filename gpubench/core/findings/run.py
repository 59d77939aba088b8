"""GB1xx: worker, process and scheduling."""

from gpubench.core.findings.finding_types import Effect, FindingSpec, Severity

SPECS = (
    FindingSpec(
        "GB101",
        "no-fork",
        Severity.INFO,
        Effect.NONE,
        "fresh",
        "The case ran in a fresh process instead of one forked from a prepared host.",
        "Nothing to do: the figure is just as good; the run only takes longer.",
    ),
    FindingSpec(
        "GB102",
        "teardown",
        Severity.WARNING,
        Effect.NONE,
        "teardown",
        "The measurement was complete, but the process did not end cleanly afterwards (signal, hang or error status).",
        "Look at the case's stderr in the run folder; a crash at exit often means a broken driver or extension.",
    ),
    FindingSpec(
        "GB103",
        "worker-output",
        Severity.INFO,
        Effect.NONE,
        "output",
        "The workload wrote to stdout or stderr; the text is kept in the case's folder.",
        "Printing inside a step takes time; remove it from a measured workload.",
    ),
    FindingSpec(
        "GB104",
        "interrupted",
        Severity.WARNING,
        Effect.WEAKENS,
        "short",
        "Ctrl-C or the time budget ended the measurement early; the steps so far are kept.",
        "Resume the run with `--resume` to measure what is missing.",
    ),
    FindingSpec(
        "GB105",
        "budget",
        Severity.INFO,
        Effect.NONE,
        "budget",
        "Repeats or cases were left out because the time budget was used up.",
        "Raise `--budget`, or `--resume` the run.",
    ),
    FindingSpec(
        "GB106",
        "not-in-blocks",
        Severity.INFO,
        Effect.NONE,
        "launches",
        "The arms could not alternate in one process and were measured in separate launches.",
        "Nothing to do: the verdict is just as good but takes more rounds. The message says why.",
    ),
    FindingSpec(
        "GB107",
        "carry-over",
        Severity.INFO,
        Effect.NONE,
        "carry-over",
        "In one process, an arm differed from itself (the arm before it had an effect); launches were used instead.",
        "Nothing to do: the measured blocks are not used. `--interleave launch` skips the attempt.",
    ),
)
