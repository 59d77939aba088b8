"""The sides named in `gpubench check` and `gpubench compare`: runs, arms, baselines."""

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path

from gpubench.analysis.compare.baseline_side import baseline_side
from gpubench.analysis.compare.run_sides import Side, arm_sides, arms_of, machine_of, other_machine, side_of
from gpubench.analysis.gate.gate_outcome import DEFAULT_FILE_RULES, DEFAULT_RULES
from gpubench.analysis.gate.gate_rules import GateRule, OnUnclear, limit_rules, parse_gate, rules_of
from gpubench.analysis.history.case_history import past_run
from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.cli.open_run import open_run
from gpubench.cli.print_errors import say
from gpubench.core.errors import StoreError, UsageError
from gpubench.machine.environment import comparable
from gpubench.store.baselines import baseline_path, read_baseline
from gpubench.store.database import Database, KeptRun
from gpubench.store.run_info import understood
from gpubench.store.run_reader import Run, load_run
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Gate
from gpubench.suite.select.expression import parse_selection


@dataclass(frozen=True)
class CheckRequest:
    """The options of `gpubench check` that several parts of the gate need."""

    against: tuple[str, ...]
    gates: tuple[str, ...]
    sesoi: float | None
    rounds: int
    allow_unpaired: bool
    force: bool
    arm: str | None
    update: bool
    accept: str | None
    baselines: Path
    store: Path
    on_unclear: OnUnclear | None = None
    why: bool = False


def sides_to_compare(
    references: Sequence[str], store: Path, arm: str | None
) -> tuple[Side, tuple[Side, ...], Run | None]:
    """Reference and candidates of `gpubench compare`, and the run if they are arms of one.

    One name: the arms of that run, `arm` (or its first) being the reference. Several: the first run is the reference.
    """
    runs = [open_run(reference, store) for reference in references]
    if len(runs) == 1:
        return (*arm_sides(runs[0], arm), runs[0])
    if arm is not None:
        raise UsageError("--reference names an arm of one run, but several runs were given")
    sides = [side_of(run, _name(run)) for run in runs]
    return sides[0], tuple(sides[1:]), None


def kept_sides(references: Sequence[str], database: str) -> tuple[Side, tuple[Side, ...], list[Path]]:
    """Reference and candidates of `gpubench compare`, named as in a database, and their folders.

    A database has the figures of each launch, but no skipped case, crashed launch or profile. So each side is read from
    the folder that the database names; if that is gone, from the database, with a note that says so.
    """
    if len(references) < 2:
        raise UsageError(
            "a database has no A/B runs, so it cannot compare the arms of one",
            hint="Name two runs, or compare the folder of an A/B run without --db.",
        )
    with Database(database) as opened:
        kept = [opened.find(reference) for reference in references]
    sides = [_kept_side(each) for each in kept]
    return sides[0], tuple(sides[1:]), [Path(each.folder) for each in kept]


def _kept_side(kept: KeptRun) -> Side:
    try:
        run = load_run(Path(kept.folder))
        if run.info.created == kept.created:
            return side_of(run, _name(run))
        why = f"{kept.folder} now holds another run"
    except StoreError as error:
        why = str(error) if Path(kept.folder).exists() else f"its folder is gone: {kept.folder}"
    say(
        f"note: {kept.run} is compared as the database has it, without skipped cases, crashed launches and profiles: "
        f"{why}"
    )
    return replace(past_run(kept).side, name=_called(kept.run, kept.tag))


def _name(run: Run) -> str:
    return _called(run.info.run, run.info.tag)


def _called(name: str, tag: str | None) -> str:
    return f"{name} ({tag})" if tag else name


def sides_to_check(run: Run, asked: CheckRequest) -> tuple[Side, Side]:
    """Reference and candidate of `gpubench check`.

    `--against` names an arm for a run with arms (default: its first), else a stored run or a baseline file (default:
    this machine's baseline).
    """
    if len(asked.against) > 1:
        raise UsageError("--against may be given once, except with --format pytest-benchmark")
    against, arm = asked.against[0] if asked.against else None, asked.arm
    arms = arms_of(run)
    if arms:
        return _arms_to_check(run, arms, against, arm)
    if arm is not None:
        raise UsageError(f"run {run.info.run} has no arms, so no arm {arm!r}")
    candidate = side_of(run, _name(run))
    if against is None:
        path = baseline_file(run, asked.baselines)
        shared = baseline_path(asked.baselines, run.info.environment, run.info.suite_name)
        # If only another machine of that name has one, the comparison shows the differences.
        return baseline_side(read_baseline(path if path.exists() else shared)), candidate
    return stored_side(against, asked.store), candidate


def baseline_file(run: Run, folder: Path) -> Path:
    """The file of the baseline of the run's suite on its machine.

    Machines of the same name may differ in facts that decide on kernels (processor flags, family, quota; driver). The
    first to keep a baseline gets the folder of that name, others a folder whose name ends with a digest of their facts.
    """
    info = run.info
    path = baseline_path(folder, info.environment, info.suite_name)
    devices = {str(planned.case.device) for planned in info.cases}
    here = machine_of(comparable(info.environment), devices)
    if not path.exists() or not other_machine(machine_of(read_baseline(path).environment, devices), here):
        return path
    digest = hashlib.sha256(json.dumps(here, sort_keys=True, default=str).encode()).hexdigest()[:6]
    return path.parent.with_name(f"{path.parent.name}-{digest}") / path.name


def stored_side(reference: str, store: Path) -> Side:
    """A stored run or a baseline file as a side. UsageError for a run with arms, and for any other name."""
    path = Path(reference)
    if path.is_file() and path.suffix == ".json" and not (path.parent / "run.json").exists():
        return baseline_side(read_baseline(path))
    run = open_run(reference, store)
    return side_of(run, _name(run))


def _arms_to_check(run: Run, arms: Sequence[str], against: str | None, arm: str | None) -> tuple[Side, Side]:
    if arm is not None and arm not in arms:
        raise UsageError(f"run {run.info.run} has no arm {arm!r}", hint=f"Its arms: {', '.join(arms)}.")
    if against is not None and against not in arms:
        raise UsageError(
            f"{against!r} is not an arm of run {run.info.run}",
            hint=f"--against names one of {', '.join(arms)}: only the launches of one run were interleaved.",
        )
    reference, candidates = arm_sides(run, against)
    chosen = [side for side in candidates if arm is None or side.name == arm]
    if len(chosen) != 1:
        names = ", ".join(side.name for side in candidates)
        raise UsageError(f"run {run.info.run} has several arms to check: {names}", hint="--arm NAME chooses one.")
    return reference, chosen[0]


def rules_for_run(run: Run, given: Sequence[str]) -> tuple[tuple[GateRule, ...], bool]:
    """Gates of the suite, then of the command line, which take precedence; and whether there are any.

    Without any, the default gates.
    """
    declared = rules_of(
        understood(Gate, gate, "the run's suite has a gate") for gate in run.info.suite.get("gates") or ()
    )
    rules = (*declared, *(parse_gate(text, by_settings) for text in given))
    return (rules, True) if rules else (DEFAULT_RULES, False)


def rules_for_files(given: Sequence[str], cases: Sequence[ComparableCase]) -> tuple[tuple[GateRule, ...], bool]:
    """Gates of the command line (or the default ones), then limits that tests declare for themselves."""
    rules = tuple(parse_gate(text, by_name) for text in given)
    own = limit_rules(cases)
    return (*(rules or DEFAULT_FILE_RULES), *own), bool(rules or own)


def by_settings(text: str) -> Callable[[ComparableCase], bool]:
    """Selects cases of a suite by a `-k` expression."""
    selection = parse_selection(text)
    return lambda entry: selection.matches(Case.model_validate(entry.settings))


def by_name(text: str) -> Callable[[ComparableCase], bool]:
    """Selects tests by name or pattern (`test_sort*`, `tests/test_a.py::*`). Brackets are part of a name."""
    pattern = text.replace("[", "[[]")
    return lambda entry: any(name == text or fnmatchcase(name, pattern) for name in (entry.label, entry.case_id))
