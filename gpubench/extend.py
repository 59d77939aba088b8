"""The names that a package needs to add metrics, findings, sections of reports and telemetry (docs/extending.md).

Names are loaded when they are first used.
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

_REPORT, _BASE = "gpubench.report.model.report_model", "gpubench.telemetry.devices.base"

_HOMES = {
    "Activity": _BASE,
    "Backend": _BASE,
    "Cell": _REPORT,
    "Column": _REPORT,
    "Device": _BASE,
    "Effect": "gpubench.core.findings",
    "ExtensionWarning": "gpubench.core.extensions",
    "FastReading": _BASE,
    "Finding": "gpubench.core.findings",
    "FindingSpec": "gpubench.core.findings",
    "Identity": _BASE,
    "MetricSpec": "gpubench.core.metrics",
    "ProcessUse": _BASE,
    "Row": _REPORT,
    "Section": _REPORT,
    "Severity": "gpubench.core.findings",
    "SlowReading": _BASE,
    "Survey": _BASE,
    "Table": _REPORT,
    "TelemetryError": _BASE,
    "View": "gpubench.report.view.run_view",
    "finding": "gpubench.core.findings",
    "line": _REPORT,
}

__all__ = [
    "Activity",
    "Backend",
    "Cell",
    "Column",
    "Device",
    "Effect",
    "ExtensionWarning",
    "FastReading",
    "Finding",
    "FindingSpec",
    "Identity",
    "MetricSpec",
    "ProcessUse",
    "Row",
    "Section",
    "Severity",
    "SlowReading",
    "Survey",
    "Table",
    "TelemetryError",
    "View",
    "finding",
    "line",
]


__getattr__ = lazy_names(__name__, _HOMES)
