"""Estimates as cells, in units of the metric registry, with digits that follow the interval."""

from collections.abc import Mapping, Sequence
from statistics import median

from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Estimate
from gpubench.core.units import format_number, format_percent, group_digits
from gpubench.report.model.report_model import EMPTY, Cell

NOT_AVAILABLE = "n/a"
_NOT_AVAILABLE = Cell(NOT_AVAILABLE)
_FINEST = 2e-4
_EXACT = 1e-6
_WIDE = 0.1
"""Half-width, as a share of a ratio, above which its interval is written out, because it is asymmetric."""
_ONE_SIDED = 0.25
"""The same for other figures, whose columns are narrower."""
_OPEN = 100.0
"""Factor above which the ends of an interval are not printed: two launches that differ much give one of 16 digits."""
OPEN_TEXT = f"uncertain by >{_OPEN:.0f}x"


def display_unit(spec: MetricSpec) -> str:
    return spec.display_unit or ("" if spec.unit == "1" else spec.unit)


def metric_cell(name: str, metrics: Mapping[str, Estimate], *, spread: bool = False) -> Cell:
    """The metric's cell; `n/a` without a figure."""
    return measured_cell(name, metrics, spread=spread, otherwise=_NOT_AVAILABLE)


def measured_cell(name: str, metrics: Mapping[str, Estimate], *, spread: bool = False, otherwise: Cell = EMPTY) -> Cell:
    """The metric's cell; empty without a figure."""
    found = metrics.get(name)
    return otherwise if found is None else figure_cell(found, METRICS[name], spread=spread)


def figure_cell(found: Estimate, spec: MetricSpec, *, spread: bool = False) -> Cell:
    """An estimate as a cell: `value`, `low` and `high` in the display unit, digits that follow the interval.

    `spread` adds the half-width of the 95 % interval: relative, or absolute for shares and accuracies.
    """
    factor, low, high = spec.display_factor, found.low, found.high
    value, low, high = found.value * factor, low and low * factor, high and high * factor
    # An interval wider than the figure would leave no digit (a step of 0 ms).
    half = None if low is None or high is None else min((high - low) / 2, abs(value))
    return Cell(number(value, half, spec), spread_text(found, spec) if spread else "", value, low, high)


def number(value: float, half_width: float | None, spec: MetricSpec) -> str:
    """A value in its display unit."""
    if half_width is not None:
        # Launches that agree to the last bit (a constant power, a count) would need endless digits.
        half_width = max(half_width, _FINEST * abs(value))
    whole = spec.unit == "1" and spec.display_unit is None
    if whole and value == round(value):
        return group_digits(f"{value:.0f}")
    if whole and 0 < abs(value) < 1e-3:
        return f"{value:.1e}"
    return format_number(value, half_width)


def spread_text(found: Estimate, spec: MetricSpec) -> str:
    """`±0.4%`, or for a difference of shares `±0.4` in its own unit; empty without an interval. A wide, asymmetric
    interval is written out: `(3 858 to 17 917)`.
    """
    if found.half_width is None:
        return ""
    if found.half_width < _EXACT * max(abs(found.value), _EXACT):
        return ""
    if spec.scale == "difference":
        return f"±{format_number(found.half_width * spec.display_factor, found.half_width * spec.display_factor)}"
    relative = found.rel_half_width
    if relative is None:
        return ""
    return f"±{format_percent(relative)}" if relative <= _ONE_SIDED else f"({interval_text(found, spec)})"


def is_open(value: float, high: float) -> bool:
    """Whether the interval of a rate, a time or a ratio leaves even its magnitude open."""
    return high > _OPEN * value > 0


def interval_text(found: Estimate, spec: MetricSpec) -> str:
    """`2 883 to 2 906`; empty without an interval, or if launches agree to the last digit. Where even the magnitude is
    open: `uncertain by >100x`.
    """
    if found.low is None or found.high is None or found.half_width is None:
        return ""
    if is_open(found.value, found.high):
        return OPEN_TEXT
    if found.half_width < _EXACT * max(abs(found.value), _EXACT):
        return ""
    half = found.half_width * spec.display_factor
    low, high = (number(value * spec.display_factor, half, spec) for value in (found.low, found.high))
    return f"{low} to {high}"


def how_well_known(what: str, widths: Sequence[float]) -> str:
    """`half of the figures are known to ±0.4% or better`, from relative half-widths; empty without any."""
    if not widths:
        return ""
    middle = median(widths)
    known = f"known to ±{format_percent(middle)} or better" if middle <= 1 else "known no better than to ±100%"
    return f"half of the {what} are {known}"


def ratio_text(ratio: Estimate) -> str:
    """`4.98 ±0.02`; `4.9 (3.1 to 7.8)` if the interval is too wide for a ±; without an interval `4.98`."""
    half = ratio.half_width
    if half is None or ratio.low is None or ratio.high is None:
        return f"{ratio.value:.2f}"
    decimals = _ratio_decimals(half)
    if half > _WIDE * ratio.value:
        return f"{ratio.value:.{decimals}f} ({ratio_interval(ratio)})"
    return f"{ratio.value:.{decimals}f} ±{half:.{decimals}f}"


def ratio_cell(ratio: Estimate | None) -> Cell:
    """`4.98x` with its half-width, or its interval if that is too wide for a ±."""
    if ratio is None:
        return Cell("")
    text, _, rest = ratio_text(ratio).partition(" ")
    return Cell(f"{text}x", rest, ratio.value, ratio.low, ratio.high)


def times_text(ratio: Estimate) -> str:
    """The same as text: `4.98x ±0.02`."""
    return ratio_cell(ratio).full


def ratio_interval(ratio: Estimate) -> str:
    """`4.96 to 5.00`; empty without an interval. Where even the magnitude is open: `uncertain by >100x`."""
    if ratio.low is None or ratio.high is None or ratio.half_width is None:
        return ""
    if is_open(ratio.value, ratio.high):
        return OPEN_TEXT
    decimals = _ratio_decimals(ratio.half_width)
    return f"{ratio.low:.{decimals}f} to {ratio.high:.{decimals}f}"


def _ratio_decimals(half: float) -> int:
    return 1 if half >= 0.5 else 2 if half >= 0.005 else 3
