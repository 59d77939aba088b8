"""Explains a case that got slower by its profiles on both sides, which are never part of the verdict."""

from collections.abc import Callable, Mapping, Sequence

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.core.units import format_bytes, format_number, format_percent
from gpubench.profile.figures.summary_model import DeviceSummary, ProfileSummary
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Fact, Line, Section, lines

_NAMES_SHOWN = 3
_NAME_WIDTH = 60
_TOP = 5
_LEAST_SHARE = 0.01

Profiles = Mapping[str, tuple[ProfileSummary, ProfileSummary]]
"""Profiles of reference and candidate, by case id."""


def profile_section(slower: Sequence[CaseChange], profiles: Profiles) -> Section:
    """Facts for each case that got slower and was profiled on both sides; empty without any."""
    facts = tuple(
        Fact(change.label, said)
        for change in slower
        if change.case_id in profiles
        for said in _lines(*profiles[change.case_id])
    )
    lead = lines("Profiles explain, they do not judge: profiled times never enter a verdict." if facts else "")
    return Section("profiles", "What the profiles say", lines=lead, facts=facts)


def _lines(reference: ProfileSummary, candidate: ProfileSummary) -> tuple[Line, ...]:
    if not reference.devices or not candidate.devices:
        return ()
    before, after = reference.devices[0], candidate.devices[0]

    def moved(first: float | None, second: float | None, least: float, text: Callable[[float], str]) -> str:
        """`3% -> 12%`; empty if a side is unknown, or both are nearly equal."""
        known = first is not None and second is not None and first != second and abs(second - first) >= least
        return f"{text(first)} -> {text(second)}" if known and first is not None and second is not None else ""

    kernels = moved(before.kernels_per_step, after.kernels_per_step, 0.0, format_number)
    idle = moved(before.idle, after.idle, _LEAST_SHARE, format_percent)
    tensor_cores = moved(before.tensor_core_share, after.tensor_core_share, _LEAST_SHARE, format_percent)
    pageable = moved(_pageable_bytes(before), _pageable_bytes(after), 0.0, format_bytes)
    # Kernels among the largest on one side only show that another algorithm was chosen.
    first, second = ([kernel.name for kernel in device.top_kernels[:_TOP]] for device in (before, after))
    gone, new = (
        ", ".join([shorten(name, _NAME_WIDTH) for name in ours if name not in theirs][:_NAMES_SHOWN])
        for ours, theirs in ((first, second), (second, first))
    )
    found = lines(
        f"kernels per step {kernels}" if kernels else "",
        f"GPU idle {idle}{f' ({after.bound}-bound)' if after.bound else ''}" if idle else "",
        f"tensor cores {tensor_cores} of kernel time" if tensor_cores else "",
        f"copied from pageable memory {pageable}" if pageable else "",
        f"no longer among the largest kernels: {gone}" if gone else "",
        f"now among them: {new}" if new else "",
    )
    return found or lines("kernels, idle time, tensor cores and copies are as before")


def _pageable_bytes(device: DeviceSummary) -> int | None:
    known = [copy.pageable_bytes for copy in device.copies.values()]
    return None if any(each is None for each in known) else sum(each for each in known if each is not None)
