"""The catalogue: one table built from the parts, and the one way to make a `Finding`."""

from typing import Any

from gpubench.core.findings import checks, machine, measuring, profile, run
from gpubench.core.findings.types import Finding, FindingSpec

FINDINGS: dict[str, FindingSpec] = {
    spec.code: spec
    for part in (run.SPECS, measuring.SPECS, checks.SPECS, machine.SPECS, profile.SPECS)
    for spec in part
}


def finding(code: str, message: str, *, hint: str | None = None, **data: Any) -> Finding:
    """An occurrence of `code`. `hint` defaults to the catalogue's remedy; `data` holds the numbers. KeyError if
    unknown.
    """
    spec = FINDINGS[code]
    return Finding(
        code=code,
        severity=spec.severity,
        effect=spec.effect,
        message=message,
        hint=spec.remedy if hint is None else hint,
        data=data,
    )
