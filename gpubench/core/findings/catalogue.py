"""The catalogue: one table built from the parts, and the one way to make a `Finding`."""

import re
from typing import Any

from gpubench.core.extensions import FINDINGS_GROUP, Registry
from gpubench.core.findings import checks, machine, profile, run, timing
from gpubench.core.findings.finding_types import Finding, FindingSpec

_BUILT_IN = {
    spec.code: spec for part in (run.SPECS, timing.SPECS, checks.SPECS, machine.SPECS, profile.SPECS) for spec in part
}


def _problem(spec: FindingSpec) -> str | None:
    if spec.code.startswith("GB"):
        return f"{spec.code}: codes that begin with GB are gpubench's own"
    return (
        None
        if re.fullmatch(r"[A-Z]{2,8}\d{3}", spec.code)
        else f"{spec.code!r} is no code: two to eight capitals, three digits"
    )


FINDINGS = Registry(FINDINGS_GROUP, FindingSpec, _BUILT_IN, lambda spec: spec.code, _problem)
"""Every finding by code, those of other packages last."""


def finding(code: str, message: str, *, hint: str | None = None, **data: Any) -> Finding:
    """An occurrence of `code`, with its numbers in `data`. KeyError for an unknown code."""
    spec = FINDINGS[code]
    return Finding(
        code=code,
        severity=spec.severity,
        effect=spec.effect,
        message=message,
        hint=spec.remedy if hint is None else hint,
        data=data,
    )
