"""The sides of an A/B: what each changes about a case, and how they take turns.

Alternating blocks of steps in one process are the stronger form. They need arms that differ only in what one process
can hold twice and switch between. Anything that cannot be switched back, or keeps working while the other arm is
measured, needs a launch per arm.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

from gpubench.core.errors import UsageError
from gpubench.core.secrets import hide_secrets
from gpubench.runner.arms.install_revision import install
from gpubench.runner.arms.interpreters import find_python
from gpubench.runner.arms.revision import find_revision
from gpubench.store.run_info import ArmInfo, PlannedCase
from gpubench.suite.model.case import SPECS, Case
from gpubench.suite.read.arm_text import ArmText, arm_from_items

SAFE_PATH = "PYTHONSAFEPATH"
"""Keeps the current folder off the path of an arm's interpreter, so that its installed packages are the ones used."""

COMMIT = "commit"

PARAMS = "params."
"""Begins the names of free settings among those of an arm."""

Say = Callable[[str], None]
Level = Literal["block", "launch"]


@dataclass(frozen=True)
class Arm:
    """One side: the interpreter, environment variables and settings that it changes of a case.

    `given` holds the items as written, and for `git` the commit it resolved to.
    """

    name: str
    python: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    given: Mapping[str, str] = field(default_factory=dict)

    def case(self, case: Case) -> Case:
        """`case` as this arm measures it. ValueError (pydantic's) for an unknown setting."""
        changes = {name: value for name, value in self.settings.items() if not name.startswith(PARAMS)}
        if len(changes) < len(self.settings):
            changes["params"] = {**case.params, **self.params}
        if self.python is not None:
            changes["python"] = self.python
        if self.env:
            changes["env"] = {**case.env, **self.env}
        return Case.model_validate({**case.settings, **changes}) if changes else case

    @property
    def params(self) -> dict[str, Any]:
        """The free settings that it changes."""
        return {name.removeprefix(PARAMS): value for name, value in self.settings.items() if name.startswith(PARAMS)}

    @property
    def info(self) -> ArmInfo:
        """The arm as stored in a run's head: enough to make it again, except for secrets."""
        return ArmInfo(name=self.name, given=hide_secrets(self.given))


def make_arm(text: ArmText, say: Say = lambda _: None, folder: Path | None = None) -> Arm:
    """The arm, with its interpreter found and its revision installed; `say` gets progress messages.

    Relative paths and the git repository are those of `folder` (None: the current one).

    UsageError if there is no such interpreter or revision, or it cannot be installed.
    """
    try:
        python = None if text.python is None else find_python(text.python, folder)
        given = dict(text.given)
        if text.git is not None:
            revision = find_revision(given.get(COMMIT, text.git), shown=text.git, folder=folder)
            python = install(revision, python, say)
            given[COMMIT] = revision.commit
    except UsageError as error:
        raise UsageError(f"arm {text.name}: {error}", hint=error.hint) from error
    env = dict(text.env) if python is None else {SAFE_PATH: "1", **text.env}
    return Arm(text.name, python, env, dict(text.settings), given)


def restored(info: ArmInfo, say: Say = lambda _: None, folder: Path | None = None) -> Arm:
    """The arm of a stored run that was started in `folder`. UsageError if it cannot be made again here."""
    items = {name: value for name, value in info.given.items() if name != COMMIT}
    text = arm_from_items(info.name, items)
    return make_arm(replace(text, given=dict(info.given)), say, folder)


def check_cases(arms: Sequence[Arm], planned: Sequence[PlannedCase]) -> None:
    """UsageError if an arm sets the setting that tells two cases apart: both would then measure the same."""
    for arm in arms:
        seen: dict[tuple[str, str], PlannedCase] = {}
        for entry in planned:
            if entry.skip_status is not None:
                continue
            key = (entry.kind, str(arm.case(entry.case).case_id))
            before = seen.setdefault(key, entry)
            if before is not entry and before.kind == "measure":
                both = ", ".join(name for name in arm.settings if _value(before, name) != _value(entry, name))
                raise UsageError(
                    f"arm {arm.name} sets {both}, which is an axis of the suite: "
                    f"cases {before.label!r} and {entry.label!r} would be measured as the same",
                    hint=f"Keep one of its values: -s {both.partition(',')[0]}=VALUE.",
                )


def _value(planned: PlannedCase, name: str) -> Any:
    if name.startswith(PARAMS):
        return planned.settings["params"].get(name.removeprefix(PARAMS))
    return planned.settings[name]


def levels_of(arms: Sequence[Arm], planned: Sequence[PlannedCase], asked: Level | None = None) -> dict[int, Level]:
    """How the arms of each measured case take turns, by index. UsageError if blocks are requested but impossible."""
    levels: dict[int, Level] = {}
    for entry in planned:
        if entry.skip_status is not None or entry.kind != "measure":
            continue
        reason = why_not_blocks({arm.name: arm.case(entry.case) for arm in arms})
        if asked == "block" and reason is not None:
            raise UsageError(
                f"case {entry.label!r} cannot alternate in one process: {reason}",
                hint="Without --interleave the arms take turns in separate launches.",
            )
        levels[entry.index] = "launch" if asked == "launch" or reason is not None else "block"
    return levels


def why_not_blocks(cases: Mapping[str, Case]) -> str | None:
    """Why these arms of one case cannot share a process; None if they can. The first arm is the reference."""
    first, *others = cases.values()
    differ = [name for name in SPECS if any(getattr(other, name) != getattr(first, name) for other in others)]
    apart = [name for name in differ if not SPECS[name].in_process]
    if apart:
        said = {"python": "the interpreter", "env": "the environment"}
        names = ", ".join(said.get(name, name) for name in apart)
        return f"{names} belong{'s' if len(apart) == 1 else ''} to a process as a whole"
    if "cudnn_benchmark" in differ and any(case.device_type == "cuda" for case in cases.values()):
        return "torch keeps the algorithms that it chose for the whole process, with cudnn_benchmark and without"
    if any(case.data_path == "loader" for case in cases.values()):
        return "a loader's workers go on fetching while the other arm is measured"
    if any(case.world_size > 1 for case in cases.values()):
        return "several ranks are processes of their own, which cannot alternate with others"
    if any(case.batch_size == "max" for case in cases.values()):
        return "the largest batch is searched for in a process that has the device to itself"
    return None


def level_of_run(levels: Mapping[int, Level]) -> Level:
    """The strongest level of any case, for the run's head."""
    return "block" if "block" in levels.values() else "launch"
