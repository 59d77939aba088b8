"""GB3xx: settings, parity, accuracy, work done."""

from gpubench.core.findings.types import Effect, FindingSpec, Severity

SPECS = (
    FindingSpec(
        "GB301", "settings-mismatch", Severity.ERROR, Effect.INVALIDATES, "settings!",
        "A setting read back after it was set is not what was asked for.",
        "Something overrides it (an environment variable, the workload itself, an old torch); see the message for which.",
    ),
    FindingSpec(
        "GB302", "not-finite", Severity.ERROR, Effect.INVALIDATES, "NaN",
        "The loss or the output was NaN or infinite during the measured steps.",
        "Lower the learning rate, or use a precision with more range.",
    ),
    FindingSpec(
        "GB303", "parameters-unmoved", Severity.ERROR, Effect.INVALIDATES, "no update",
        "Training steps did not change the parameters: they did not do the work.",
        "Check that the optimizer holds the model's parameters and that the scaler does not skip every step.",
    ),
    FindingSpec(
        "GB304", "scaler-skips", Severity.WARNING, Effect.INVALIDATES, "skips",
        "GradScaler skipped more than 1 % of the timed optimizer steps.",
        "Skipped steps are faster than real ones; measure longer so that the scale settles, or lower the initial scale.",
    ),
    FindingSpec(
        "GB305", "parity-failed", Severity.ERROR, Effect.INVALIDATES, "parity!",
        "The output on a fixed batch differs from the fp64 reference by more than this precision explains.",
        "Look at the effective settings: a kernel, layout or compiled graph computes something else.",
    ),
    FindingSpec(
        "GB306", "unverified", Severity.INFO, Effect.NONE, "unverified",
        "The workload offers no reference output, so correctness was not checked.",
        "Give the workload a `parity` method to have its precision and layout verified.",
    ),
    FindingSpec(
        "GB307", "accuracy-drop", Severity.WARNING, Effect.WEAKENS, "accuracy",
        "Trained at this precision, test accuracy fell below the reference by more than the suite allows.",
        "Keep this precision out of training, or tune its learning rate and loss scale.",
    ),
    FindingSpec(
        "GB308", "work-differs", Severity.ERROR, Effect.INVALIDATES, "work!",
        "The case did a different amount of work than its reference (samples, shapes or FLOPs).",
        "Check the workload: figures of different work must not be compared.",
    ),
    FindingSpec(
        "GB309", "recompiled", Severity.WARNING, Effect.WEAKENS, "recompiled",
        "torch.compile compiled again during the measured steps.",
        "Make shapes static, or warm up every shape before measuring.",
    ),
    FindingSpec(
        "GB310", "graph-breaks", Severity.INFO, Effect.NONE, "graph breaks",
        "torch.compile split the model into more than one graph.",
        "`TORCH_LOGS=graph_breaks` names the lines.",
    ),
)  # fmt: skip
