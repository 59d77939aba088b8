"""How much the steps of a case differ, and what the device did meanwhile."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.units import format_percent
from gpubench.report.model.report_model import Chart, Datum
from gpubench.report.model.words import count
from gpubench.report.topics.charts.phrases import name_of
from gpubench.report.topics.contests import Contest
from gpubench.report.topics.samples import Samples, fastest_of_each

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BINS = 48
_LEAST_STEPS = 20
_FAR = 2.0


def spread_chart(contest: Contest, samples: Samples) -> Chart | None:
    """The distribution of step times of each precision's fastest case; None without stored steps."""
    entries = [entry for entry in fastest_of_each(contest) if entry.planned.index in samples]
    return _spread(contest, [(entry, _relative(entry, samples)) for entry in entries])


def _relative(entry: CaseSummary, samples: Samples) -> "NDArray[np.float64]":
    """Steady step times over the median of their launch, less 1, of every launch."""
    import numpy as np

    parts = [np.asarray(launch.step_times_s, dtype=float) for launch in samples[entry.planned.index]]
    return np.concatenate([part / np.median(part) - 1 for part in parts if part.size >= _LEAST_STEPS] or [np.empty(0)])


def _spread(contest: Contest, series: Sequence[tuple[CaseSummary, "NDArray[np.float64]"]]) -> Chart | None:
    import numpy as np

    known = [(entry, values) for entry, values in series if values.size]
    if not known:
        return None
    edges = np.linspace(*_range([values for _, values in known]), _BINS + 1)
    rows: list[tuple[Datum, ...]] = []
    for entry, values in known:
        counts, _ = np.histogram(values, edges)
        for at, number in enumerate(counts):
            if number:
                share = float(number) / values.size * 100
                ends_pct = (round(float(edges[at]) * 100, 5), round(float(edges[at + 1]) * 100, 5))
                rows.append((entry.case.precision, *ends_pct, round(share, 4), name_of(entry, contest)))
    finding = _finding(known, contest)
    what = "request" if contest.timing == "latency" else "step"
    return Chart(
        key=f"steps-{contest.key}",
        form="spread",
        title=f"{contest.subject}: {finding}",
        reading=(
            f"Each row is one case: how often a {what} took so much less or more than the median of its launch. A narrow peak is "
            "steady; two peaks are two ways of running. Steps beyond the axis are not drawn, and are counted in every figure."
        ),
        alt=f"Histograms of {what} time by precision. {contest.subject}: {finding}.",
        columns=("precision", "from %", "to %", "share of steps %", "case"),
        rows=tuple(rows),
        options={"x_title": f"{what} time over its median, %"},
    )


def _range(series: Sequence["NDArray[np.float64]"]) -> tuple[float, float]:
    """What is drawn: eight times the half-width of the middle half about the median, no further than there are steps."""
    import numpy as np

    halves = [np.subtract(*np.quantile(values, (0.75, 0.25))) / 2 for values in series]
    reach = max(1e-4, 8 * float(max(halves)))
    low, high = min(float(values.min()) for values in series), max(float(values.max()) for values in series)
    return max(low, -reach), max(min(high, reach), -reach + 1e-4)


def _finding(known: Sequence[tuple[CaseSummary, "NDArray[np.float64]"]], contest: Contest) -> str:
    import numpy as np

    halves = {id(entry): float(np.subtract(*np.quantile(values, (0.75, 0.25)))) / 2 for entry, values in known}
    widest = max((entry for entry, _ in known), key=lambda entry: halves[id(entry)])
    what = "requests" if contest.timing == "latency" else "steps"
    name = "" if len(known) == 1 else f", {name_of(widest, contest)} being the least steady"
    said = f"half of the {what} lie within ±{format_percent(halves[id(widest)])} of the median{name}"
    far = {entry.case.precision: int((values > _FAR - 1).sum()) for entry, values in known}
    worst = max(far, key=lambda precision: far[precision])
    if not far[worst]:
        return said
    total = next(values.size for entry, values in known if entry.case.precision == worst)
    return f"{said}; {count(far[worst], 'step')} of {total} took over twice as long ({worst})"
