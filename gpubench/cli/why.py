"""`--why`: profiles the arms of cases that were judged slower, in turn, and explains what makes them slower."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpubench.cli.print_errors import say
from gpubench.core.errors import GpubenchError, UsageError

if TYPE_CHECKING:
    from gpubench.analysis.compare.case_changes import CaseChange
    from gpubench.analysis.compare.compare_sides import Compared
    from gpubench.profile.figures.explain_change import ChangeExplained
    from gpubench.report.comparison.why_slower import Answer
    from gpubench.runner.arms.arm import Arm
    from gpubench.runner.stored_run import RunPlace
    from gpubench.store.run_reader import Run

TIMEOUT_S = 900.0
FELL_BACK = ("GB106", "GB107")
_ONLY_ARMS = "--why profiles the arms of one run in turn, and these are results of different runs."
_MEASURE = "Measure both in one run: gpubench run SUITE --arm base='git=main' --arm head="


def explain_found(run: "Run | None", found: "Sequence[Compared]", *, force: bool) -> "list[dict[str, Answer]]":
    """Per comparison, the answers for its slower cases. `run` is the run of both arms, None for comparisons of several
    runs.

    UsageError in that case; see `explain_slower`.
    """
    from gpubench.analysis.compare.compare_sides import slower_cases

    if run is None:
        raise UsageError(_ONLY_ARMS, hint=_MEASURE)
    answers = [explain_slower(run, each, slower_cases(each), force=force) for each in found]
    if not any(answers):
        say("No case was judged slower, so there is nothing to explain.")
    return answers


def explain_slower(
    run: "Run", compared: "Compared", cases: "Sequence[CaseChange]", *, force: bool
) -> "dict[str, Answer]":
    """The explanation of each case by label; or the reason, if an arm cannot be profiled. The run's folder keeps the
    explanations for its report.

    UsageError if the run has no arms, was measured on another machine, or its code is missing or has changed.
    """
    from gpubench.runner.stored_run import check_files, check_own, place_of

    if compared.candidate.source != "arm":
        raise UsageError(_ONLY_ARMS, hint=_MEASURE)
    if not cases:
        return {}
    check_own(run.info, trust=force, option="--force")
    check_files(run.info, force=force)
    _check_machine(run, force=force)
    from gpubench.cli.run_arms import arms_again

    place = place_of(run.info)
    arms = {arm.name: arm for arm in arms_again(run.info, place.folder)}
    pair = (arms[compared.reference.name], arms[compared.candidate.name])
    answers: dict[str, Answer] = {}
    for number, change in enumerate(cases, start=1):
        said = f"Profiling both arms of {change.label} in turn"
        say(f"{said} ({number} of {len(cases)}) ..." if len(cases) > 1 else f"{said} ...")
        try:
            answers[change.label] = _explain(run, change, pair, place)
        except GpubenchError as error:
            answers[change.label] = str(error)
    _keep(run, {label: found for label, found in answers.items() if not isinstance(found, str)})
    return answers


def _keep(run: "Run", explained: "dict[str, ChangeExplained]") -> None:
    from gpubench.profile.figures.kept_explanations import keep_explanations

    if not explained:
        return
    try:
        keep_explanations(run.folder, explained)
    except GpubenchError as error:  # of a run that is only read; the answer is on the screen
        say(f"note: not kept for the report: {error}")
    else:
        say("Kept with the run: its report (`gpubench report`) shows it, too.")


def _check_machine(run: "Run", *, force: bool) -> None:
    from gpubench.analysis.compare.run_sides import machine_of, other_machine
    from gpubench.machine.environment import collect, comparable

    here = collect(run.info.environment.get("worker") or {})
    devices = {str(planned.case.device) for planned in run.info.cases}
    differ = other_machine(*(machine_of(comparable(env), devices) for env in (run.info.environment, here)))
    if differ and not force:
        raise UsageError(
            f"run {run.info.run} was measured on another machine ({', '.join(sorted(differ))}), and what makes a case "
            "slower there need not do so here.",
            hint="Use --why there; --force profiles here anyway.",
        )


def _explain(run: "Run", change: "CaseChange", pair: "tuple[Arm, Arm]", place: "RunPlace") -> "Answer":
    from gpubench.analysis.compare.compare_sides import step_time_change
    from gpubench.analysis.summary.case_summary import CaseSummary
    from gpubench.profile.capture.capture_arms import MOST_STEPS, explain_arms
    from gpubench.protocol.messages import JobArm
    from gpubench.protocol.profile_job import ProfileJob
    from gpubench.runner.arms.arm import why_not_blocks

    entry = change.candidate
    if not isinstance(entry, CaseSummary):
        raise UsageError("its launches are not stored.")
    planned = entry.case
    if planned.batch_size == "max":
        found = entry.effective.batch_size if entry.effective is not None else None
        if found is None:
            raise UsageError("no batch that fits was found.")
        planned = planned.model_copy(update={"batch_size": found})
    cases = {arm.name: arm.case(planned) for arm in pair}
    fell_back = any(each.code in FELL_BACK for each in entry.findings)
    job = ProfileJob(
        tool="torch",
        case=planned,
        suite=run.info.suite_name,
        label=entry.label,
        steps=MOST_STEPS,
        folder=run.folder,
        working_folder=place.folder,
        search_path=place.search_path,
        seed=run.info.seed,
    )
    return explain_arms(
        job,
        [JobArm(name=name, case=case) for name, case in cases.items()],
        one_process=why_not_blocks(cases) is None and not fell_back,
        timeout_s=TIMEOUT_S,
        judged=step_time_change(change),
        say=say,
    )
