"""`gpubench check --format pytest-benchmark`: JSON files of pytest-benchmark, from any project."""

from collections.abc import Sequence
from pathlib import Path

from gpubench.analysis.compare.compare_sides import compare_sides, refuse
from gpubench.analysis.compare.pytest_benchmark_side import are_interleaved, side_of_files
from gpubench.analysis.gate.gate_outcome import Checked, check, metrics_of, settings_for
from gpubench.cli.gate.choose_sides import CheckRequest, rules_for_files
from gpubench.core.errors import UsageError
from gpubench.core.metrics import SESOI
from gpubench.store.pytest_benchmark_files import read_pytest_file


def check_files(files: Sequence[str], asked: CheckRequest) -> Checked:
    """Checks files of a project against others. Files that alternate in time are paired as rounds."""
    unfit = {"--confirm": asked.rounds, "--update": asked.update, "--accept": asked.accept, "--arm": asked.arm}
    wrong = [name for name, given in unfit.items() if given]
    if wrong:
        why = "gpubench did not measure these files and keeps none of them"
        raise UsageError(f"{wrong[0]} cannot be combined with --format pytest-benchmark: {why}")
    if not files or not asked.against:
        raise UsageError(
            "--format pytest-benchmark needs files on both sides",
            hint="gpubench check head.json --against base.json --format pytest-benchmark",
        )
    after, before = ([read_pytest_file(path) for path in _paths(given)] for given in (files, asked.against))
    reference, candidate = side_of_files(before, _name(asked.against)), side_of_files(after, _name(files))
    rules, declared = rules_for_files(asked.gates, candidate.cases)
    compared = compare_sides(
        reference,
        candidate,
        metrics_of(rules),
        settings_for(rules, asked.sesoi or SESOI),
        allow_unpaired=asked.allow_unpaired,
        interleaved=are_interleaved(before, after),
    )
    refuse(compared, force=asked.force)
    return check(compared, rules, declared=declared, on_unclear=asked.on_unclear)


def _paths(given: Sequence[str]) -> list[Path]:
    """Files, the JSON files of a folder, or the matches of a pattern (`'base-*.json'`). UsageError if there is none."""
    found: list[Path] = []
    for each in given:
        path = Path(each)
        if path.is_dir():
            matched = sorted(path.rglob("*.json"))
        elif path.exists() or not any(sign in each for sign in "*?["):
            matched = [path]
        elif path.parent.is_dir():  # even if the folder's own name contains pattern characters
            matched = sorted(path.parent.glob(path.name))
        else:
            matched = sorted(Path(path.anchor or ".").glob(str(path.relative_to(path.anchor) if path.anchor else path)))
        if not matched:
            raise UsageError(f"{each} contains no JSON files" if path.is_dir() else f"no file matches {each}")
        found += matched
    return list(dict.fromkeys(found))


def _name(given: Sequence[str]) -> str:
    return given[0] if len(given) == 1 else f"{given[0]} and {len(given) - 1} more"
