"""The figures of a case, each estimated from its launches on first use, because few of thousands of cases are shown in
full.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from gpubench.analysis.summary.launch_estimates import estimate
from gpubench.core.metrics import METRICS
from gpubench.core.records import Estimate, Record

NO_PEAK = "no peak was measured on this device at this precision (suite roofline measures it)"

_LEAST, _MOST = 1e-100, 1e100
_MAY_BE_NEGATIVE = frozenset({"energy_above_idle_j", "final_loss"})
_TAILS = frozenset(f"{time}_{tail}_s" for time in ("step_time", "latency") for tail in ("p90", "p95", "p99"))
_OF_PARITY = ("parity_logits_rel_error", "parity_loss_rel_error", "parity_gradient_rel_error")
_OF_QUALITY = ("final_loss", "time_to_accuracy_s", "steps_to_accuracy")
_SCORES = frozenset(name for name, spec in METRICS.built_in.items() if spec.group == "quality")
_MAY_BE_IMPLIED = frozenset({*_OF_PARITY, *_SCORES})
_DERIVED = (
    "achieved_flops",
    "achieved_bandwidth",
    "mfu",
    "scaling_efficiency",
    "samples_per_money",
    "money_per_sample",
)
_SECONDS_PER_HOUR = 3600


class CaseFigures(Mapping[str, Estimate]):
    """Figures by metric; `absent` has the reason for those that no launch could measure.

    `launches` are the ok ones; `wanted` limits the metrics. `peak_flops`, the peak measured on the case's device in
    FLOP/s, gives the MFU: 0 if unknown, None if not wanted. `scaling` is the efficiency of a case with several ranks,
    or why there is none. `price_per_hour` is what the machine costs, None if not given. `by_data` as in `estimate`.
    """

    __slots__ = ("_by_data", "_found", "_launches", "_wanted", "peak_flops", "price_per_hour", "scaling")

    def __init__(
        self, launches: Sequence[Record], wanted: Collection[str] | None = None, *, by_data: bool = False
    ) -> None:
        self._launches, self._wanted, self._by_data = launches, wanted, by_data
        self._found: dict[str, Estimate | None] = {}
        self.peak_flops: float | None = None
        self.price_per_hour: float | None = None
        self.scaling: Estimate | str | None = None

    @property
    def absent(self) -> "Reasons":
        return Reasons(self, self._launches)

    def why_absent(self, name: str) -> str | None:
        """Why a metric has no figure; None if it has one, or no reason is known."""
        if name == "mfu" and self.peak_flops is not None and self.peak_flops <= 0 and "achieved_flops" in self:
            return NO_PEAK
        if name == "scaling_efficiency":
            return self.scaling if isinstance(self.scaling, str) else None
        for record in self._launches:
            if name in record.absent:
                return None if name in self else record.absent[name]
        for record in self._launches:
            value = launch_value(record, name)
            if value is not None and not is_figure(name, value):
                return None if name in self else f"not a usable figure ({value:g}) in repeat {record.repeat}"
        return None

    def __getitem__(self, name: str) -> Estimate:
        found = self._figure(name)
        if found is None:
            raise KeyError(name)
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self._figure(name) is not None

    def __iter__(self) -> Iterator[str]:
        recorded = {name for record in self._launches for name in launch_metrics(record)}
        known = [name for name in METRICS if name in recorded]
        return (name for name in dict.fromkeys((*known, *_DERIVED)) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))

    def _figure(self, name: str) -> Estimate | None:
        if name == "scaling_efficiency":
            return self.scaling if isinstance(self.scaling, Estimate) else None
        if name not in self._found:
            self._found[name] = self._derived(name) if name in _DERIVED else self._of_launches(name)
        return self._found[name]

    def _derived(self, name: str) -> Estimate | None:
        if name == "achieved_flops":
            return self._of_launches(name) or _times_rate(self, "flops_per_sample", "FLOP/s")
        if name == "achieved_bandwidth":
            return _times_rate(self, "bytes_per_sample", "B/s") or self._of_launches(name)
        if name in ("samples_per_money", "money_per_sample"):
            return self._for_money(name)
        return mfu(self.get("achieved_flops"), self.peak_flops) or self._of_launches(name)

    def _for_money(self, name: str) -> Estimate | None:
        """The price is exact, so the interval is the throughput's."""
        rate = self.get("throughput")
        if rate is None or rate.value <= 0 or self.price_per_hour is None:
            return None
        samples = scaled(rate, _SECONDS_PER_HOUR / self.price_per_hour, METRICS["samples_per_money"].unit)
        return samples if name == "samples_per_money" else inverse(samples, METRICS[name].unit)

    def _of_launches(self, name: str) -> Estimate | None:
        if name not in METRICS or (self._wanted is not None and name not in self._wanted):
            return None
        if name in _MAY_BE_IMPLIED:
            found = [launch_value(record, name) for record in self._launches]
        else:
            found = [record.metrics.get(name) for record in self._launches]
        values = [value for value in found if value is not None and is_figure(name, value)]
        if not values or (name in _TAILS and len(values) < len(self._launches)):
            return None  # a tail of only some launches does not match a median of all
        return estimate(values, METRICS[name], by_data=self._by_data)


def recorded_metrics(launches: Iterable[Record]) -> set[str]:
    """Metrics that may have a figure; no other has one."""
    return {*_DERIVED, *_MAY_BE_IMPLIED}.union(*(record.metrics for record in launches))


class Reasons(Mapping[str, str]):
    """Why there is no figure, by metric."""

    __slots__ = ("_figures", "_launches")

    def __init__(self, figures: CaseFigures, launches: Sequence[Record]) -> None:
        self._figures, self._launches = figures, launches

    def __getitem__(self, name: str) -> str:
        why = self._figures.why_absent(name)
        if why is None:
            raise KeyError(name)
        return why

    def __iter__(self) -> Iterator[str]:
        given = (name for record in reversed(self._launches) for name in record.absent)
        recorded = (name for record in self._launches for name in launch_metrics(record))
        return (name for name in dict.fromkeys((*given, *recorded, "mfu", "scaling_efficiency")) if name in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def __repr__(self) -> str:
        return repr(dict(self))


def is_figure(metric: str, value: float) -> bool:
    """Whether a stored value can be a measurement: finite, not absurdly large, and not negative if that is impossible.
    A record may come from anywhere.
    """
    if _LEAST <= value <= _MOST or value == 0:
        return True
    spec = METRICS.get(metric)
    signed = spec is None or spec.scale == "difference" or metric in _MAY_BE_NEGATIVE
    return signed and -_MOST <= value <= -_LEAST


def launch_value(record: Record, name: str) -> float | None:
    """A record's value of one metric, stored or implied by its parity check or training run."""
    metrics = record.metrics
    return metrics[name] if name in metrics else _implied(record).get(name) if name in _MAY_BE_IMPLIED else None


def launch_metrics(record: Record) -> Mapping[str, float | None]:
    """All metrics of a record, stored or implied."""
    implied = _implied(record)
    return {**implied, **record.metrics} if implied else record.metrics


def _implied(record: Record) -> dict[str, float | None]:
    parity, quality = record.parity, record.quality
    implied = {} if parity is None else {name: getattr(parity, name.removeprefix("parity_")) for name in _OF_PARITY}
    if quality is not None:
        implied |= {**quality.all_scores, **{name: getattr(quality, name) for name in _OF_QUALITY}}
        if quality.time_to_accuracy_s is not None:
            energy_j = record.metrics.get("energy_j")
            implied["energy_to_accuracy_j"] = None if energy_j is None else energy_j / quality.trainings_in_window
    return implied


def _times_rate(figures: Mapping[str, Estimate], per_sample: str, unit: str) -> Estimate | None:
    """FLOP/s or bytes/s: the amount per sample times samples/s; None if either is unknown.

    FLOPs are as FlopCounterMode counts them (a multiply-add is two): matrix and convolution work, not element-wise
    work. The count is exact, so the interval is the throughput's.
    """
    count, rate = figures.get(per_sample), figures.get("throughput")
    return scaled(rate, count.value, unit) if count and rate and count.value > 0 else None


def mfu(achieved: Estimate | None, measured_peak_flops: float | None) -> Estimate | None:
    """Model FLOPs utilisation: achieved over the peak *measured* on this device at this precision, in [0, 1].

    None without a measured peak. A peak looked up by the device's name is never used: boost clocks, power caps and
    parts sold under one name differ by more than the share that people compare.
    """
    if achieved is None or measured_peak_flops is None or measured_peak_flops <= 0:
        return None
    return scaled(achieved, 1 / measured_peak_flops, "1")


def inverse(estimate: Estimate, unit: str) -> Estimate:
    """1 over a positive estimate: its ends change places."""
    low, high = (1 / end if end else None for end in (estimate.high, estimate.low))
    return replace(estimate, value=1 / estimate.value, low=low, high=high, unit=unit)


def scaled(estimate: Estimate, factor: float, unit: str) -> Estimate:
    """The estimate in another unit, by an exact positive factor."""
    low, high = (None if end is None else end * factor for end in (estimate.low, estimate.high))
    return replace(estimate, value=estimate.value * factor, low=low, high=high, unit=unit)
