"""Findings: everything that spoils or explains a number.

A `FindingSpec` says once what a code means and what to do; a `Finding` is one occurrence with its numbers. The
catalogue is ordered by what raises them; codes never change their meaning once released.

    GB1xx run       worker, process and scheduling
    GB2xx measuring timing, warm-up, convergence
    GB3xx checks    settings, parity, accuracy, work done
    GB4xx machine   telemetry, power, clocks, other processes
    GB5xx profile   traces
    GB6xx judging   comparisons and gates
"""

from gpubench.core.findings.catalogue import FINDINGS, finding
from gpubench.core.findings.finding_types import Effect, Finding, FindingSpec, Severity, Validity, validity

__all__ = ["FINDINGS", "Effect", "Finding", "FindingSpec", "Severity", "Validity", "finding", "validity"]
