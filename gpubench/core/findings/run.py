"""GB1xx: worker, process and scheduling."""

from gpubench.core.findings.types import Effect, FindingSpec, Severity

SPECS = (
    FindingSpec(
        "GB101", "no-fork", Severity.INFO, Effect.NONE, "fresh",
        "The case ran in a fresh process instead of one forked from a prepared host.",
        "Nothing to do: the figure is as good, the run only takes longer.",
    ),
    FindingSpec(
        "GB102", "teardown", Severity.WARNING, Effect.NONE, "teardown",
        "The measurement was complete, but the process did not end cleanly afterwards (signal, hang or error status).",
        "Look at the case's stderr in the run folder; a crash at exit often means a broken driver or extension.",
    ),
    FindingSpec(
        "GB103", "worker-output", Severity.INFO, Effect.NONE, "output",
        "The workload wrote to stdout or stderr; the text is kept in the case's folder.",
        "Printing inside a step costs time; remove it from a workload that is measured.",
    ),
    FindingSpec(
        "GB104", "interrupted", Severity.WARNING, Effect.WEAKENS, "short",
        "The measurement was ended early by Ctrl-C or by the time budget; the steps so far are kept.",
        "Resume the run with `--resume` to measure what is missing.",
    ),
    FindingSpec(
        "GB105", "budget", Severity.INFO, Effect.NONE, "budget",
        "Repeats or cases were left out because the time budget was used up.",
        "Give a larger `--budget`, or `--resume` the run.",
    ),
)  # fmt: skip
