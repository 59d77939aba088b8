"""The names that a package needs to add metrics, findings, sections of reports and telemetry (docs/extending.md).

Each name is imported when it is first used.
"""

from typing import TYPE_CHECKING

from gpubench.core import lazy_names

if TYPE_CHECKING:
    from gpubench.core.extensions import ExtensionWarning
    from gpubench.core.findings import Effect, Finding, FindingSpec, Severity, finding
    from gpubench.core.metrics import MetricSpec
    from gpubench.report.model.report_model import Cell, Column, Row, Section, Table, line
    from gpubench.report.view.run_view import View
    from gpubench.telemetry.devices.base import (
        Activity,
        Backend,
        Device,
        FastReading,
        Identity,
        ProcessUse,
        SlowReading,
        Survey,
        TelemetryError,
    )

_NAMES = {
    "gpubench.core.extensions": ("ExtensionWarning",),
    "gpubench.core.findings": ("Effect", "Finding", "FindingSpec", "Severity", "finding"),
    "gpubench.core.metrics": ("MetricSpec",),
    "gpubench.report.model.report_model": ("Cell", "Column", "Row", "Section", "Table", "line"),
    "gpubench.report.view.run_view": ("View",),
    "gpubench.telemetry.devices.base": (
        *("Activity", "Backend", "Device", "FastReading", "Identity"),
        *("ProcessUse", "SlowReading", "Survey", "TelemetryError"),
    ),
}
_HOMES = {name: home for home, names in _NAMES.items() for name in names}

__all__ = ["Activity", "Backend", "Cell", "Column", "Device", "Effect", "ExtensionWarning", "FastReading"]
__all__ += ["Finding", "FindingSpec", "Identity", "MetricSpec", "ProcessUse", "Row", "Section", "Severity"]
__all__ += ["SlowReading", "Survey", "Table", "TelemetryError", "View", "finding", "line"]


__getattr__ = lazy_names(__name__, _HOMES)


def __dir__() -> list[str]:
    return sorted(__all__)
