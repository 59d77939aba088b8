"""Checks before more of a stored run is measured: its folder, files, machine and owner.

Continuing a run with other code or on another machine would mix figures that do not belong together, and someone else's
run names programs that would be started here.
"""

import hashlib
import hmac
import json
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gpubench.core.errors import UsageError
from gpubench.core.secrets import hide_secrets
from gpubench.machine import environment, machine_cache
from gpubench.protocol.loaded_files import file_digest, package_digest
from gpubench.store.atomic_files import expand_home
from gpubench.store.run_info import RunInfo
from gpubench.suite.load import beside
from gpubench.suite.model.workload_names import first_on_the_path, is_users, module_names, modules_beside

_SHOWN = 4
_OWN_KEY = "own-runs.key"
_NONE_IS_KNOWN = ("variables.", "system.cpu_quota")
"""Facts of which None means that there is none; of others, that it was not read."""


@dataclass(frozen=True)
class RunPlace:
    """Where a run was started, and its suite file; None if unknown, or if the suite is not a file."""

    folder: Path | None
    suite: Path | None

    @property
    def search_path(self) -> tuple[str, ...]:
        """The folders of the run's workloads."""
        return beside(self.suite)


def place_of(info: RunInfo) -> RunPlace:
    """The run's place. UsageError if a folder or file that it needs no longer exists."""
    folder = None if info.working_folder is None else expand_home(info.working_folder)
    suite = None if info.suite_path is None else ((folder or Path()) / expand_home(info.suite_path)).absolute()
    own = any(is_users(str(case.settings.get("workload", ""))) for case in info.cases)
    missing = next((each for each in (folder, suite) if each is not None and not each.exists()), None)
    if own and missing is not None:
        raise UsageError(
            f"run {info.run} measures workloads next to its suite file, but {missing} does not exist",
            hint="Go to the folder in which the run was started, put the file back, or start a new run.",
        )
    return RunPlace(folder if folder is not None and folder.is_dir() else None, suite)


def check_unchanged(info: RunInfo, here: Mapping[str, Any], interpreter: str, *, force: bool) -> tuple[str, ...]:
    """What has changed since the run began: code, variables, machine, versions. UsageError for these unless `force`.

    A commit that changed none of the files that the run measured is named too, but not refused.
    """
    before, now = environment.comparable(info.environment), environment.comparable(here)
    before |= {"interpreter": info.interpreter}
    now |= {"interpreter": interpreter}
    moved = [
        f"{name}: {before.get(name)} then, {now.get(name)} now"
        for name in sorted(before.keys() | now.keys())
        if before.get(name) != now.get(name)
        and (name.startswith(_NONE_IS_KNOWN) or name.endswith(".name") or None not in (before.get(name), now.get(name)))
    ]
    files, harmless = _files_changed(info), list[str]()
    moved += files
    then, later = ((each.get("git") or {}).get("commit") for each in (info.environment, here))
    if then != later and None not in (then, later):
        said = f"git.commit: {then} then, {later} now"
        if files or not _code_known(info):
            moved.append(said)
        else:
            harmless.append(f"{said}; the measured code is the same")
    if moved and not force:
        more = f"; and {len(moved) - _SHOWN} more" if len(moved) > _SHOWN else ""
        raise UsageError(
            f"run {info.run} was made in a different state ({'; '.join(moved[:_SHOWN])}{more})",
            hint="Start a new run and compare the two; --force continues anyway.",
        )
    return (*moved, *harmless)


def _code_known(info: RunInfo) -> bool:
    """Whether the digests of the run tell all that it measured, and gpubench's own code is what it was."""
    own = any(is_users(str(case.settings.get("workload", ""))) for case in info.cases)
    return info.package_digest == package_digest() and (bool(info.workload_files) or not own)


def check_files(info: RunInfo, *, force: bool) -> None:
    """UsageError if files of its workloads have changed, unless `force`."""
    changed = _files_changed(info)
    if changed and not force:
        raise UsageError(
            f"run {info.run} measured different code: {'; '.join(changed[:_SHOWN])}",
            hint="Start a new run; --force continues anyway.",
        )


def _files_changed(info: RunInfo) -> list[str]:
    changed = [f"{path} {how}" for path, digest in info.workload_files.items() if (how := _file_changed(path, digest))]
    return [*changed, *_modules_added(info)]


def _modules_added(info: RunInfo) -> list[str]:
    """New modules on the path that would now be imported in place of what the run used."""
    there = modules_beside(first_on_the_path(place_of(info).search_path))
    files = {expand_home(path).resolve() for path in info.workload_files}
    names = {*info.imported, *module_names(files)}
    added = {name: file for name, file in there.items() if name in names and file.resolve() not in files}
    return [f"{file} is new, and hides the {name} that the run used" for name, file in added.items()]


def _file_changed(path: str, digest: str) -> str | None:
    try:
        now = file_digest(expand_home(path))
    except OSError:
        return "no longer exists"
    return None if now == digest else "was changed"


def check_own(info: RunInfo, *, trust: bool, option: str = "--trust") -> None:
    """UsageError for a run that names programs or files and was not made by this user on this machine, unless
    `trust`.
    """
    if trust or (info.origin is not None and info.origin == origin_of(info)):
        return
    starts = {f"the interpreter {case.settings['python']}" for case in info.cases if case.settings.get("python")}
    starts |= {f"the variable {name}" for case in info.cases for name in case.settings.get("env") or ()}
    given = [(arm.name, name) for arm in info.arms for name in arm.given if not name.startswith("set.")]
    starts |= {f"the arm {arm} with {name}" for arm, name in given}
    starts |= {
        f"the workload {case.settings['workload']}"
        for case in info.cases
        if is_users(str(case.settings.get("workload", "")))
    }
    if starts:
        more = f" and {len(starts) - _SHOWN} more" if len(starts) > _SHOWN else ""
        shown = ", ".join(sorted(starts)[:_SHOWN]) + more
        raise UsageError(
            f"run {info.run} was not made by you on this machine, and would start {shown}",
            hint=f"If you trust it, add {option}.",
        )


def origin_of(info: RunInfo) -> str | None:
    """A signature of what the run would start, with a key of this user on this machine; None without a cache folder."""
    path = machine_cache.folder(part="own") / _OWN_KEY
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:  # noqa: PTH123
                file.write(os.urandom(32))
        except FileExistsError:
            pass
        key = path.read_bytes()
    except OSError:
        return None
    named = info.model_dump(mode="json", include={"run", "suite_path", "working_folder", "cases", "arms"})
    started = hide_secrets(named)  # as they are stored
    return hmac.new(key, json.dumps(started, sort_keys=True).encode(), "sha256").hexdigest()[:32]


def check_arms(info: RunInfo, names: Sequence[str]) -> None:
    """UsageError unless they are the arms of the run."""
    before, now = (", ".join(each) or "none" for each in ([arm.name for arm in info.arms], names))
    if before != now:
        raise UsageError(f"run {info.run} has the arms {before}, so it cannot continue with {now}")


def check_planned(info: RunInfo, folder: Path) -> None:
    """UsageError for a run that was killed before its plan was stored: there is nothing to continue."""
    if not info.environment and not info.cases:
        source = info.source
        raise UsageError(
            f"run {info.run} was stopped before it was planned, so there is nothing to resume",
            hint=f"Remove {folder} and start again: gpubench run {source}",
        )


def recorded_suite_path(path: Path | None, folder: Path | None, *, hidden: bool) -> str | None:
    """The path of the suite file. With `hidden`, relative to the run's folder, or else only the file's name."""
    if path is None or not hidden:
        return None if path is None else str(path)
    return str(path.relative_to(folder)) if folder is not None and path.is_relative_to(folder) else path.name


def recorded_interpreter(*, hidden: bool) -> str:
    """The prefix of this Python; with `hidden`, a digest by which another one is still noticed."""
    return hashlib.sha256(sys.prefix.encode()).hexdigest()[:12] if hidden else sys.prefix
