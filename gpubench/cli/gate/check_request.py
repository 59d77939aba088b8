"""The options of `gpubench check`, for every part of the gate."""

from dataclasses import dataclass
from pathlib import Path

from gpubench.core.errors import UsageError


@dataclass(frozen=True)
class CheckRequest:
    """What to check, and how."""

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

    @property
    def one_against(self) -> str | None:
        if len(self.against) > 1:
            raise UsageError("--against may be given once, except with --format pytest-benchmark")
        return self.against[0] if self.against else None
