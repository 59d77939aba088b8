"""Makes a baseline from a stored run, and a baseline the reference of a comparison."""

from typing import Any

from gpubench.analysis.compare.run_sides import Side, side_of
from gpubench.analysis.summary.case_summary import CaseEntry
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status
from gpubench.store.baselines import Accepted, Baseline, BaselineCase, machine_name, rounded
from gpubench.store.run_info import understood
from gpubench.suite.model.case import Case


def baseline_side(baseline: Baseline) -> Side:
    """The baseline as the reference of a comparison."""
    made = baseline.history[-1] if baseline.history else None
    facts: dict[str, Any] = {} if made is None or made.commit is None else {"git commit": made.commit}
    entries = tuple(
        CaseEntry(
            case_id=case.id,
            label=case.label,
            kind=case.kind,
            settings=understood(Case, case.settings, "the baseline has a setting").settings,
            values={name: dict(enumerate(values, start=1)) for name, values in case.metrics.items()},
            status=case.status,
            reason=case.reason,
            validity=case.validity,
            correctness=case.correctness,
            effective=case.effective,
        )
        for case in baseline.cases
    )
    name = f"baseline of {made.run}" if made else "baseline"
    return Side(name, "baseline", baseline.suite, entries, baseline.environment, facts)


def baseline_of(
    run: RecordedRun,
    *,
    created: str,
    reason: str,
    arm: str | None = None,
    before: Baseline | None = None,
    summary: RunSummary | None = None,
) -> Baseline:
    """A run, or one `arm` of it, as a baseline `created` (UTC) for `reason`. `summary`: the run's, if already made.

    The baseline has the metrics that can get worse, and the work per sample. Cases that the run did not measure
    (another `-k`, a skip) are taken from `before`.
    """
    side = side_of(run, run.info.run, arm=arm, summary=summary)
    measured = {(case.kind, case.case_id): case for case in side.cases if case.status is not Status.SKIPPED}
    kept = [case for case in (before.cases if before else ()) if (case.kind, case.id) not in measured]
    names = (*(name for name, spec in METRICS.items() if spec.better is not None), "flops_per_sample")
    cases = [
        BaselineCase(
            id=case.case_id,
            kind="quality" if case.kind == "quality" else "measure",
            label=case.label,
            settings=Case.model_validate(case.settings).model_dump(mode="json", exclude_defaults=True),
            status=case.status,
            reason=case.reason,
            validity=case.validity,
            correctness=case.correctness,
            effective=dict(case.took_effect()),
            metrics={n: tuple(map(rounded, found.values())) for n in names if (found := case.launch_values(n))},
        )
        for case in measured.values()
    ]
    commit = side.facts.get("git commit") if arm is None else None
    return Baseline(
        suite=run.info.suite_name,
        suite_digest=run.info.suite_digest,
        machine=machine_name(run.info.environment),
        environment=dict(side.environment),
        history=(
            *(before.history if before else ()),
            Accepted(created=created, run=run.info.run, reason=reason, commit=commit),
        ),
        cases=(*cases, *kept),
    )
