"""A comparison that is judged while it is measured."""

from typing import TYPE_CHECKING

from gpubench.analysis.verdict.judge import Comparison, Verdict, judge, round_log_ratio, too_few
from gpubench.analysis.verdict.judge_settings import CompareSettings

if TYPE_CHECKING:
    from numpy.typing import ArrayLike


class SequentialComparison:
    """Add rounds until `verdict` is no longer None; then the case may leave the schedule.

    Looks only at the rounds that `settings` names, so asking for `verdict` after every round costs no false alarms
    (looking at every round at 1 % raises 5 to 7 % of them). Rounds added after the verdict are not used.
    """

    def __init__(self, settings: CompareSettings | None = None) -> None:
        self.settings = settings or CompareSettings()
        self._looks = {look.rounds: look for look in self.settings.schedule()}
        self._logs: list[float] = []
        self._settled: Comparison | None = None

    def add_round(self, reference_steps: "ArrayLike", candidate_steps: "ArrayLike") -> Verdict | None:
        """One more round: the steady step times, in seconds, of both arms. Returns `verdict`. ValueError for bad times."""
        value = round_log_ratio(reference_steps, candidate_steps)
        if self._settled is not None:
            return self.verdict
        self._logs.append(value)
        look = self._looks.get(len(self._logs))
        if look is not None:
            found = judge(self._logs, self.settings, look)
            if found.verdict != "unclear" or len(self._logs) == self.settings.max_rounds:
                self._settled = found
        return self.verdict

    @property
    def verdict(self) -> Verdict | None:
        """None while undecided; `unclear` only once `max_rounds` are used up."""
        return None if self._settled is None else self._settled.verdict

    @property
    def rounds(self) -> int:
        """Rounds used so far."""
        return len(self._logs)

    @property
    def result(self) -> Comparison:
        """The settled comparison; before that, what the rounds so far would say if measuring ended now (never final)."""
        if self._settled is not None:
            return self._settled
        schedule = self.settings.schedule(len(self._logs))
        return judge(self._logs, self.settings, schedule[-1]) if schedule else too_few(self._logs, self.settings)
