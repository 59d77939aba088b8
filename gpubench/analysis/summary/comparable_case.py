"""What a comparison needs to know of a case, whether from a stored run, a baseline or another tool's file."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from gpubench.core.findings import Validity
from gpubench.core.records import CRASHED, Effective, Status
from gpubench.suite.model.case import SPECS

Correctness = Literal["pass", "fail", "unverified"]


class ComparableCase(Protocol):
    """One case of one side of a comparison: a `CaseSummary` or a `CaseEntry`.

    `num_crashed` counts launches that crashed or ran out of time, even if others were ok. `interval` is that of a
    single launch, from its own steps. `block_ratios` are log ratios of step time against the other arm, by repeat, of
    launches that ran both arms. `took_effect` has the settings read back, flat; empty if unknown.
    """

    @property
    def case_id(self) -> str: ...
    @property
    def kind(self) -> str: ...
    @property
    def label(self) -> str: ...
    @property
    def settings(self) -> Mapping[str, Any]: ...
    @property
    def status(self) -> Status: ...
    @property
    def reason(self) -> str | None: ...
    @property
    def validity(self) -> Validity: ...
    @property
    def correctness(self) -> Correctness: ...
    @property
    def num_crashed(self) -> int: ...
    def launch_values(self, metric: str) -> dict[int, float]: ...
    def interval(self, metric: str) -> tuple[float, float] | None: ...
    def block_ratios(self) -> dict[int, float]: ...
    def took_effect(self) -> Mapping[str, Any]: ...


Keeps = Callable[[ComparableCase], bool]
"""Whether a case is among those selected."""


class HasCases(Protocol):
    """A side: `RunSummary`, `Side`."""

    @property
    def cases(self) -> Sequence[ComparableCase]: ...


@dataclass(frozen=True)
class CaseEntry:
    """A case without records. `values` has its launches by metric and repeat, in the registry's SI units.

    `limits`: the largest relative regression by metric, if the source declares one for this case.
    """

    case_id: str
    label: str
    settings: Mapping[str, Any]
    values: Mapping[str, Mapping[int, float]]
    kind: str = "measure"
    status: Status = Status.OK
    reason: str | None = None
    validity: Validity = Validity.VALID
    correctness: Correctness = "unverified"
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    limits: Mapping[str, float] = field(default_factory=dict)
    effective: Mapping[str, Any] = field(default_factory=dict)

    @property
    def num_crashed(self) -> int:
        return int(self.status in CRASHED)

    def launch_values(self, metric: str) -> dict[int, float]:
        return dict(self.values.get(metric, {}))

    def interval(self, metric: str) -> tuple[float, float] | None:
        return self.intervals.get(metric)

    def block_ratios(self) -> dict[int, float]:
        return {}

    def took_effect(self) -> Mapping[str, Any]:
        return self.effective


_COMPARED = (
    *(name for name, spec in SPECS.items() if spec.read_back is not None and spec.if_differs != "ignored"),
    *("autocast_dtype", "compute_dtype", "training", "inference_mode", "grad_scaler", "interop_threads"),
)
"""Settings that are read back, and what follows from them."""


def flat_effective(effective: Effective | None) -> dict[str, Any]:
    """The settings that decide whether two sides did the same; mathematics per operation (`math.cudnn.conv`)."""
    if effective is None:
        return {}
    fields = {name: effective.read(name) for name in _COMPARED}
    mathematics = {f"math.{name}": value for name, value in effective.math.items()}
    emitter = {"nvtx": effective.extra.get("nvtx")}  # whether a profiler took the ranges, which cost time then
    return {name: value for name, value in (fields | mathematics | emitter).items() if value is not None}
