"""What profiles of both sides say about a case that got slower: an explanation, never a part of the verdict."""

from collections.abc import Mapping, Sequence

from gpubench.analysis.compare.case_changes import CaseChange
from gpubench.core.units import format_bytes, format_number, format_percent
from gpubench.profile.figures.summary_model import DeviceSummary, ProfileSummary
from gpubench.report.model.inert_text import shorten
from gpubench.report.model.report_model import Fact, Line, Section, line

_NAMES_SHOWN = 3
_NAME_WIDTH = 60
_TOP = 5

Profiles = Mapping[str, tuple[ProfileSummary, ProfileSummary]]
"""Profiles of reference and candidate, by case id."""


def profile_section(slower: Sequence[CaseChange], profiles: Profiles) -> Section:
    """Facts per case that got slower and was profiled on both sides; empty where there is none."""
    facts = tuple(
        Fact(change.label, said)
        for change in slower
        if change.case_id in profiles
        for said in _lines(*profiles[change.case_id])
    )
    lead = (line("Profiles explain, they do not judge: profiled times never enter a verdict."),) if facts else ()
    return Section("profiles", "What the profiles say", lines=lead, facts=facts)


def _lines(reference: ProfileSummary, candidate: ProfileSummary) -> list[Line]:
    if not reference.devices or not candidate.devices:
        return []
    before, after = reference.devices[0], candidate.devices[0]
    parts = [
        _kernels(before, after),
        _idle(before, after),
        _tensor_cores(before, after),
        _pageable(before, after),
        *_names(before, after),
    ]
    found = [line(part) for part in parts if part]
    return found or [line("kernels, idle time, tensor cores and copies are as before")]


def _kernels(before: DeviceSummary, after: DeviceSummary) -> str:
    first, second = before.kernels_per_step, after.kernels_per_step
    if first is None or second is None or first == second:
        return ""
    return f"kernels per step {format_number(first)} -> {format_number(second)}"


def _idle(before: DeviceSummary, after: DeviceSummary) -> str:
    if before.idle is None or after.idle is None or abs(after.idle - before.idle) < 0.01:
        return ""
    bound = f" ({after.bound}-bound)" if after.bound else ""
    return f"GPU idle {format_percent(before.idle)} -> {format_percent(after.idle)}{bound}"


def _tensor_cores(before: DeviceSummary, after: DeviceSummary) -> str:
    first, second = before.tensor_core_share, after.tensor_core_share
    if first is None or second is None or abs(second - first) < 0.01:
        return ""
    return f"tensor cores {format_percent(first)} -> {format_percent(second)} of kernel time"


def _pageable(before: DeviceSummary, after: DeviceSummary) -> str:
    first, second = (_pageable_bytes(device) for device in (before, after))
    if first is None or second is None or first == second:
        return ""
    return f"copied from pageable memory {format_bytes(first)} -> {format_bytes(second)}"


def _pageable_bytes(device: DeviceSummary) -> int | None:
    known = [copy.pageable_bytes for copy in device.copies.values()]
    return None if any(each is None for each in known) else sum(each for each in known if each is not None)


def _names(before: DeviceSummary, after: DeviceSummary) -> list[str]:
    """Kernels that are among the largest on one side alone, as names: another algorithm was chosen."""
    first, second = ({kernel.name for kernel in device.top_kernels[:_TOP]} for device in (before, after))
    gone = [kernel.name for kernel in before.top_kernels[:_TOP] if kernel.name not in second]
    new = [kernel.name for kernel in after.top_kernels[:_TOP] if kernel.name not in first]
    return [
        f"{word}: {', '.join(shorten(name, _NAME_WIDTH) for name in names[:_NAMES_SHOWN])}"
        for word, names in (("no longer among the largest kernels", gone), ("now among them", new))
        if names
    ]
