"""One profile in full: where a step goes, why the GPU waits, which kernels, which copies, and what to do about it."""

from pathlib import Path

from gpubench.core.findings import Severity
from gpubench.core.units import format_number, format_percent
from gpubench.profile.figures.summary_model import DeviceSummary, ProfileSummary
from gpubench.report.model.report_model import Fact, Line, Section, code, line
from gpubench.report.pages.profile_tables import Scale, copies, device_phases, host_phases, kernels

NAME_WIDTH = 60
_TOP = 10
_TOOLS = {"nsys": "Nsight Systems", "ncu": "Nsight Compute", "torch": "torch.profiler"}


def profile_page(
    summary: ProfileSummary,
    *,
    label: str = "",
    trace: Path | None = None,
    top: int = _TOP,
    name_width: int = NAME_WIDTH,
) -> tuple[Section, ...]:
    """Every section of a profile. `label` names the case, `trace` is where the trace was kept (None: it was not)."""
    scale = Scale(summary)
    devices = [_device(device, scale, top, name_width) for device in summary.devices]
    sections = (
        Section("profile", "Profile", facts=_head(summary, label, scale)),
        *(devices or [_host(summary, scale)]),
        Section("profile_findings", "What it says", facts=_findings(summary)),
        Section("trace", "Trace", facts=_trace(summary, trace)),
    )
    return tuple(section for section in sections if not section.empty)


def _head(summary: ProfileSummary, label: str, scale: Scale) -> tuple[Fact, ...]:
    tool = " ".join(part for part in (_TOOLS[summary.tool], summary.tool_version) if part)
    facts = [Fact("Made by", line(tool)), Fact("Read from", line(code(summary.source)))]
    if label:
        facts.append(Fact("Case", line(label)))
    return (*facts, Fact("Steps", line(_steps(summary, scale))))


def _steps(summary: ProfileSummary, scale: Scale) -> str:
    if summary.steps is None:
        return "none marked; the figures cover the whole trace"
    if summary.step_time_ns is None:
        return f"{summary.steps}, kernel by kernel"
    said = f"{summary.steps}, {scale.text(summary.step_time_ns)} {scale.unit} each while profiled"
    found = summary.perturbation
    if found is None:
        return said
    return f"{said}, {found.ratio:.2f} times the measured {format_number(found.measured_step_time_s * 1e3)} ms"


def _device(device: DeviceSummary, scale: Scale, top: int, name_width: int) -> Section:
    name = f"GPU {device.device}" + (f"  {device.name}" if device.name else "")
    said = (
        f"{device.bound_statement[:1].upper()}{device.bound_statement[1:]}",
        _idle(device, scale),
        tensor_core_line(device),
    )
    tables = (device_phases(device, scale), kernels(device, scale, top, name_width), copies(device, scale))
    return Section(
        f"gpu_{device.device}",
        name,
        lines=tuple(line(each) for each in said if each),
        tables=tuple(table.without_empty_columns() for table in tables if table.rows),
    )


def _idle(device: DeviceSummary, scale: Scale) -> str:
    if device.idle is None or device.largest_gap_ns is None:
        return ""
    why = device.idle_reasons
    shares = (
        ()
        if why is None
        else (
            (why.launch, "host late to launch"),
            (why.input, "fetching input"),
            (why.dependency, "waiting for other work"),
        )
    )
    parts = [f"{format_percent(share)} {what}" for share, what in shares if share > 0]
    reasons = f", by reason: {', '.join(parts)}" if parts else ""
    return f"Idle {format_percent(device.idle)}{reasons}. Largest gap {scale.text(device.largest_gap_ns)} {scale.unit}."


def tensor_core_line(device: DeviceSummary) -> str:
    """How much of the kernel time used tensor cores, and how that is known."""
    if device.tensor_core_share is None:
        return f"Tensor cores: unknown, {device.absent.get('tensor_core_share', 'no kernel ran')}."
    unknown = device.tensor_core_unknown_share
    rest = f"; {format_percent(unknown)} in kernels whose names do not tell" if unknown else ""
    return (
        f"Tensor cores: {format_percent(device.tensor_core_share)} of the kernel time, told by "
        f"{device.tensor_core_source}{rest}."
    )


def _host(summary: ProfileSummary, scale: Scale) -> Section:
    table = host_phases(summary, scale)
    if not table.rows:
        return Section("host", "No GPU in this trace", lines=(line("And no steps with phases."),))
    return Section("host", "No GPU in this trace", tables=(table,))


def _findings(summary: ProfileSummary) -> tuple[Fact, ...]:
    """`!` what spoils, `?` what only explains; each with what to do."""
    return tuple(
        Fact(
            f"{'?' if found.severity is Severity.INFO else '!'} {found.code}",
            line(f"{found.message} {found.hint}".strip()),
        )
        for found in summary.warnings
    )


def _trace(summary: ProfileSummary, trace: Path | None) -> tuple[Fact, ...]:
    return () if trace is None else (Fact("File", line(code(str(trace)))), Fact("Open it", opener(summary.tool, trace)))


def opener(tool: str, trace: Path) -> Line:
    """What shows the trace to a person."""
    if trace.suffix == ".sqlite":
        return line("any SQLite browser; nsys-ui opens the .nsys-rep that it was exported from")
    if tool in ("nsys", "ncu"):
        return line(code(f"{tool}-ui {trace}"))
    return line("https://ui.perfetto.dev (the file stays in the browser), or chrome://tracing")
