"""Makes the arms of `gpubench run --arm`, and chooses their rounds."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import rich_click as click

from gpubench.cli.print_errors import say
from gpubench.cli.standing_verdicts import CONFIRM_ROUNDS, MANY_CASES, SCREEN_ROUNDS, SEQUENTIAL_ROUNDS, Verdicts
from gpubench.core.metrics import SESOI

if TYPE_CHECKING:
    from gpubench.runner.arms.arm import Arm
    from gpubench.store.run_info import RunInfo
    from gpubench.suite.load import LoadedSuite

LEAST_ROUNDS = 5
LEAST_SCREENED = 16


@dataclass(frozen=True)
class AskedArms:
    """The options as given: `rounds` None for the default, `sesoi` None for the run's or else the default."""

    texts: tuple[str, ...] = ()
    interleave: str | None = None
    rounds: int | None = None
    sesoi: float | None = None

    def check_use(self, *, repeats: str | None, resumed: bool) -> None:
        """click.UsageError for options that do not go together."""
        if self.texts and repeats is not None:
            raise click.UsageError(
                "--repeats cannot be combined with --arm: cases are measured until they are decided, at most --rounds."
            )
        if self.texts and resumed:
            raise click.UsageError("--resume continues the arms of the run: it cannot be combined with --arm.")
        if not self.texts and (self.interleave is not None or self.rounds is not None):
            option = "--interleave" if self.interleave is not None else "--rounds"
            raise click.UsageError(
                f"{option} applies only to arms: give two with --arm NAME=... (--repeats sets the launches of a case)."
            )

    def fields(self, loaded: "LoadedSuite", num_cases: int, made: "tuple[Arm, ...]" = ()) -> dict[str, Any]:
        """The fields of a `RunRequest` for these arms or those `made` already. UsageError if one cannot be made."""
        from gpubench.runner.arms.arm import make_arm
        from gpubench.runner.arms.install_revision import check_not_shadowed
        from gpubench.suite.read.arm_text import parse_arms

        if not self.texts and not made:
            return {}
        rounds, screen_rounds = self._rounds(num_cases)
        arms = made or tuple(make_arm(text, _say) for text in parse_arms(self.texts))
        for arm in arms:
            if arm.python is not None:
                check_not_shadowed(arm.python, loaded.beside)
        return {
            "arms": arms,
            "rounds": rounds,
            "screen_rounds": screen_rounds,
            "interleave": self.interleave,
            "sesoi": self.sesoi or SESOI,
        }

    def _rounds(self, num_cases: int) -> tuple[int, int | None]:
        many = num_cases > MANY_CASES
        least = LEAST_SCREENED if many else LEAST_ROUNDS
        rounds = self.rounds or (SCREEN_ROUNDS + CONFIRM_ROUNDS if many else SEQUENTIAL_ROUNDS)
        if rounds < least:
            raise click.BadParameter(
                f"{num_cases} {'case needs' if num_cases == 1 else 'cases need'} at least {least} rounds"
                + (f": {SCREEN_ROUNDS} to screen them, the rest to confirm what looks changed" if many else ""),
                param_hint="--rounds",
            )
        return rounds, SCREEN_ROUNDS if many else None

    def verdicts(
        self, names: Sequence[str], rounds: int, screen_rounds: int | None, sesoi: float | None = None
    ) -> Verdicts | None:
        """The judge of the arms between rounds; None without arms. `sesoi`: of a resumed run."""
        if not names:
            return None
        from gpubench.analysis.verdict.judge_settings import CompareSettings

        settings = CompareSettings(sesoi=self.sesoi or sesoi or SESOI, max_rounds=max(SEQUENTIAL_ROUNDS, rounds))
        return Verdicts(names, rounds, settings, screen_rounds)


def arms_again(info: "RunInfo", folder: Path | None = None) -> "tuple[Arm, ...]":
    """The arms of a stored run that was started in `folder`. UsageError if they cannot be made again."""
    from gpubench.runner.arms.arm import restored

    return tuple(restored(arm, _say, folder) for arm in info.arms)


def _say(text: str) -> None:
    say(f"{text} ...")
