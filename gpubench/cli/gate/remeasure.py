"""Measures cases again before they fail a gate."""

import json
from collections.abc import Sequence
from dataclasses import replace

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.analysis.compare.compare_sides import Compared, compare_sides, refuse
from gpubench.analysis.compare.run_sides import side_of
from gpubench.analysis.gate.gate_outcome import Remeasure
from gpubench.cli.run_arms import arms_again
from gpubench.cli.screens.run_progress import open_progress
from gpubench.cli.standing_verdicts import Verdicts
from gpubench.core.records import Record
from gpubench.runner.run import RunRequest, start
from gpubench.runner.run_session import Decisions
from gpubench.runner.stored_run import check_files, check_own, place_of
from gpubench.store.run_info import PlannedCase
from gpubench.store.run_reader import Run, load_run
from gpubench.suite.load import parse_suite


def remeasure(run: Run, compared: Compared, *, allow_unpaired: bool, force: bool = False) -> Remeasure:
    """A function that measures cases of `run` again on this machine, into a run folder inside `run`'s folder.

    With arms, both are measured again, interleaved; any other run is compared with the same reference as before.
    UsageError if this machine or its software is not the run's.
    """

    def again(changes: Sequence[CaseChange], rounds: int) -> Compared:

        request = request_for(run, changes, rounds, force=force)
        names = [arm.name for arm in request.arms]
        verdicts = Verdicts(names, rounds, compared.settings) if names else None

        def told(case: PlannedCase, records: tuple[Record, ...]) -> bool:
            """Shows the verdicts so far, but ends no case: all rounds are measured."""
            if verdicts is not None:
                verdicts(case, records)
            return False

        with open_progress(verdicts=verdicts) as progress:
            outcome = start(request, progress, Decisions(settled=told))
        if outcome.interrupted:
            raise KeyboardInterrupt
        return fresh_comparison(run, load_run(outcome.folder), compared, allow_unpaired=allow_unpaired)

    return again


def request_for(run: Run, changes: Sequence[CaseChange], rounds: int, *, force: bool = False) -> RunRequest:
    """A request for these cases of the run's suite with the run's arms, `rounds` launches each.

    UsageError if its code is missing or, unless `force`, was changed, or if someone else made the run.
    """
    check_own(run.info, trust=force, option="--force")
    check_files(run.info, force=force)
    loaded = parse_suite(json.dumps(run.info.suite))
    wanted = {change.case_id for change in changes if change.measured.kind == "measure"}
    trained = any(change.measured.kind == "quality" for change in changes)
    measure = loaded.suite.measure.model_copy(update={"repeats": rounds})
    suite = loaded.suite.model_copy(
        update={"measure": measure, "quality": loaded.suite.quality if trained else None, "contest": None}
    )
    cases = tuple(case for case in loaded.cases if case.case_id in wanted)
    quality = loaded.quality_cases if trained else ()
    place = place_of(run.info)
    number = 1
    while (free := run.folder / f"confirm-{number}").exists():
        number += 1
    return RunRequest(
        replace(loaded, suite=suite, cases=cases, quality_cases=quality, path=place.suite),
        out=free,
        arms=arms_again(run.info, place.folder),
        folder=place.folder,
        interleave="launch" if run.info.interleave == "launch" else None,
        argv=("gpubench", "check", "--confirm", str(rounds)),
    )


def fresh_comparison(run: Run, fresh: Run, before: Compared, *, allow_unpaired: bool) -> Compared:
    """The same comparison on the fresh rounds. UsageError if they were measured on another machine."""
    arms = before.candidate.source == "arm"
    names = (before.reference.name, before.candidate.name)
    reference = side_of(fresh, names[0], arm=names[0]) if arms else before.reference
    candidate = side_of(fresh, names[1], arm=names[1] if arms else None)
    original = side_of(run, f"run {run.info.run}", arm=names[1] if arms else None)
    # Arms may differ from each other, but not from what they were in the run.
    refuse(compare_sides(replace(original, source="run"), replace(candidate, source="run"), ()))
    return compare_sides(reference, candidate, before.metrics, before.settings, allow_unpaired=allow_unpaired)
