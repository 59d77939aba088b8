"""A run as an OpenMetrics text file, which node exporter's textfile collector reads as well.

That collector reads the older Prometheus format, in which `# UNIT` and `# EOF` are comments. So that both understand
the file, every metric is a gauge, and no sample has a time stamp.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.metrics import METRICS, MetricSpec
from gpubench.core.records import Status
from gpubench.report.model.inert_text import inert
from gpubench.report.sinks.exported_run import ExportedRun
from gpubench.store.atomic_files import write_output

Labels = Mapping[str, str]

_PREFIX = "gpubench"
_UNITS = {
    "s": ("_s", "seconds", 1.0),
    "bytes": ("_bytes", "bytes", 1.0),
    "J": ("_j", "joules", 1.0),
    "J/sample": ("_j", "joules", 1.0),
    "W": ("_w", "watts", 1.0),
    "MHz": ("_mhz", "hertz", 1e6),
    "C": ("_c", "celsius", 1.0),
    "samples/s": ("", "samples_per_second", 1.0),
    "tokens/s": ("", "tokens_per_second", 1.0),
    "FLOP/s": ("_flops", "flops_per_second", 1.0),
    "B/s": ("", "bytes_per_second", 1.0),
    "samples/J": ("_per_j", "per_joule", 1.0),
    "s/s": ("", "ratio", 1.0),
}
"""By the registry's unit: the ending of the metric's name, what takes its place, and the factor to the base unit."""


class Family(NamedTuple):
    """A metric of the file. `unit` is empty or the ending of `name`; `factor` turns the registry's unit into it."""

    name: str
    unit: str
    meaning: str
    factor: float = 1.0


def families_of(spec: MetricSpec) -> tuple[Family, Family, Family]:
    """The families of a metric: its value, and the ends of its 95 % interval."""
    ending, unit, factor = _UNITS.get(spec.unit, ("", "", 1.0))
    if spec.unit == "1" and spec.display_unit == "%":
        ending, unit = "_share", "ratio"
    stem = spec.name.removesuffix(ending)

    def family(part: str, meaning: str) -> Family:
        return Family("_".join(filter(None, (_PREFIX, stem, part, unit))), unit, meaning, factor)

    value = family("", spec.meaning)
    ends = [family(part, f"{word} end of the 95 % interval of {value.name}.") for part, word in _ENDS]
    return value, ends[0], ends[1]


_ENDS = (("low", "Lower"), ("high", "Upper"))
_RUN = Family("gpubench_run_info", "", "The run that the figures come from; always 1.")
_CREATED = Family("gpubench_run_created_timestamp_seconds", "seconds", "Unix time at which the run began.")
_CASE = Family("gpubench_case_info", "", "The settings of a case; always 1.")
_STATUS = Family("gpubench_case_status", "", "How a case ended: 1 for its status, 0 for the others.")
_LAUNCHES = Family("gpubench_case_launches", "", "Launches of a case that gave figures.")


def write_open_metrics(run: ExportedRun, path: str) -> str:
    """Writes the file whole or not at all, over an older one, and returns its path. StoreError if it cannot."""
    write_output(Path(path), open_metrics_text(run))
    return path


def open_metrics_text(run: ExportedRun) -> str:
    """Figures carry the labels `suite`, `case` (its id), `label`, `kind`, `validity` and, in an A/B, `arm`.

    A figure that is absent has no sample; an interval that is unknown neither.
    """
    cases = [(_labels(run, arm, case), case) for arm, case in run.cases()]
    suite = {"suite": run.info.suite_name}
    lines = list(_family(_RUN, [(run.facts(), 1.0)]))
    lines += _family(_CREATED, [(suite, datetime.fromisoformat(run.info.created).timestamp())])
    lines += _family(_CASE, [({**_settings(case), **labels}, 1.0) for labels, case in cases])
    lines += _family(
        _STATUS,
        [({**labels, "status": status}, float(case.status is status)) for labels, case in cases for status in Status],
    )
    lines += _family(_LAUNCHES, [(labels, float(len(case.ok_records))) for labels, case in cases])
    mentioned = {name for _, case in cases for name in case.metrics}
    for name in METRICS.known(mentioned):
        value, low, high = families_of(METRICS[name])
        found = [(labels, case.metrics[name], case.validity) for labels, case in cases if name in case.metrics]
        figures = [({**labels, "validity": validity}, each) for labels, each, validity in found]
        lines += _family(value, [(labels, each.value) for labels, each in figures])
        lines += _family(low, [(labels, each.low) for labels, each in figures if each.low is not None])
        lines += _family(high, [(labels, each.high) for labels, each in figures if each.high is not None])
    return "\n".join([*lines, "# EOF", ""])


def _labels(run: ExportedRun, arm: str, case: CaseSummary) -> dict[str, str]:
    labels = {"suite": run.info.suite_name, "case": case.case_id, "label": case.label, "kind": case.kind}
    return {**labels, "arm": arm} if arm else labels


def _settings(case: CaseSummary) -> dict[str, str]:
    """Settings of one value; an empty label is none at all."""
    plain = {name: value for name, value in case.settings.items() if isinstance(value, str | int | float)}
    return {name: str(value).lower() if isinstance(value, bool) else str(value) for name, value in plain.items()}


def _family(family: Family, samples: Iterable[tuple[Labels, float]]) -> Iterator[str]:
    """Nothing without samples."""
    lines = [f"{family.name}{{{_label_text(labels)}}} {value * family.factor!r}" for labels, value in samples]
    if lines:
        meaning = inert(family.meaning).replace("\\", "\\\\").replace('"', "'")  # only one of the formats knows \"
        yield f"# HELP {family.name} {meaning}"
        yield f"# TYPE {family.name} gauge"
        if family.unit:
            yield f"# UNIT {family.name} {family.unit}"
        yield from lines


def _label_text(labels: Labels) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in labels.items() if value)


def _escaped(text: str) -> str:
    return inert(str(text)).replace("\\", "\\\\").replace('"', '\\"')
