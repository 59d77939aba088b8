"""Keeps a run as this machine's baseline, if `gpubench check` allows it."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from gpubench.analysis.compare.baseline_side import baseline_of
from gpubench.analysis.compare.run_sides import arms_of
from gpubench.analysis.gate.gate_outcome import Checked
from gpubench.analysis.gate.gate_rules import regression_of
from gpubench.cli.gate.choose_sides import CheckRequest, baseline_file, rules_for_run
from gpubench.cli.print_errors import say
from gpubench.core.errors import ExitStatus, UsageError
from gpubench.core.findings import Validity, validity
from gpubench.core.records import Status
from gpubench.store.baselines import read_baseline, write_baseline
from gpubench.store.run_reader import Run

PASSED = "the check passed"
FIRST = "the first baseline"


def first_baseline(run: Run, asked: CheckRequest) -> Path | None:
    """Writes the run as the first baseline of its machine and suite, and returns the file; None if there is one to
    check.

    UsageError for a run that measured nothing, and for `--update` with arms, which are judged against each other and
    need no baseline.
    """
    if arms_of(run):
        if asked.update:
            raise UsageError(
                f"run {run.info.run} has arms, which are compared with each other, so it cannot be a baseline",
                hint="Leave out --update, or make a baseline from a run without --arm.",
            )
        return None
    path = baseline_file(run, asked.baselines)
    if asked.against or path.exists() or not (asked.update or asked.accept):
        return None
    rules_for_run(run, asked.gates)  # refuses an invalid gate, although there is nothing to judge
    ended_well = [record for record in run.records if record.status is Status.OK]
    if not ended_well:
        raise UsageError(f"run {run.info.run} measured nothing: there is nothing to keep as a baseline")
    if all(validity(record.findings) is Validity.INVALID for record in ended_well):
        raise UsageError(
            f"no figure of run {run.info.run} is valid: there is nothing to keep as a baseline",
            hint=f"`gpubench show {run.info.run}` says why.",
        )
    return _write(run, path, asked.accept or FIRST)


def keep(checked: Checked, run: Run, asked: CheckRequest) -> Checked:
    """Writes the baseline with --accept, whatever the gates say, or with --update if they passed.

    For arms it only notes the reason. A run that may have broken a limit replaces the baseline only with --accept:
    otherwise the baseline would follow every small regression.
    """
    if checked.compared.candidate.source == "arm":
        return replace(checked, accepted=asked.accept)
    if asked.accept is None and not (asked.update and checked.verdict is ExitStatus.OK):
        return checked
    doubtful = [  # metrics that are `unclear` in some case, with an estimate beyond the limit
        result.rule.metric
        for result in checked.results
        if (limit := result.rule.max_regression) is not None
        and any(regression_of(change, result.rule.metric) > limit for change in result.unclear)
    ]
    if doubtful and asked.accept is None:
        say(
            f"note: the baseline is unchanged: {', '.join(doubtful)} may be beyond the limit, which these data cannot "
            "tell. --accept REASON makes this run the baseline anyway."
        )
        return checked
    written = _write(run, baseline_file(run, asked.baselines), asked.accept or PASSED)
    return replace(checked, accepted=asked.accept, written=written)


def _write(run: Run, path: Path, reason: str) -> Path:

    before = read_baseline(path) if path.exists() else None
    created = datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    write_baseline(path, baseline_of(run, created=created, reason=reason, before=before))
    return path
