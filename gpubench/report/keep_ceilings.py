"""Stores the ceilings that a run measured: the MFU of later runs on the same device is a share of them."""

from pathlib import Path

from gpubench.analysis.summary.measured_ceilings import Ceiling, measured_ceilings, to_facts
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.machine import stored_ceilings


def keep_ceilings(summary: RunSummary, where: Path | None = None) -> tuple[Path, ...]:
    """The files written, one per device; none for a run without operators, or if the cache is not writable."""
    by_device: dict[str, list[Ceiling]] = {}
    for ceiling in measured_ceilings(summary.info, summary.cases):
        by_device.setdefault(ceiling.device.key, []).append(ceiling)
    written = [
        stored_ceilings.remember(key, [to_facts(each) for each in found], where) for key, found in by_device.items()
    ]
    return tuple(path for path in written if path is not None)
