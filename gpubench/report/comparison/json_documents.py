"""A comparison and a gate as JSON documents: `schemas/comparison-1.json`, `schemas/gate-1.json`. Fields are only ever
added.
"""

import math
from collections.abc import Mapping
from typing import Any

from gpubench.analysis.compare.case_changes import CaseChange, MetricChange
from gpubench.analysis.compare.compare_sides import Compared, Overall
from gpubench.analysis.compare.machine_choice import MachineChoice
from gpubench.analysis.gate.gate_outcome import Checked
from gpubench.analysis.gate.gate_rules import GateResult
from gpubench.analysis.summary.case_summary import ComparableCase
from gpubench.core.records import Estimate
from gpubench.core.version import __version__
from gpubench.report.comparison.gate_screen import why_real
from gpubench.report.comparison.why_slower import Answer
from gpubench.report.model.inert_text import json_text
from gpubench.suite.model.case import Case

DOCUMENT_SCHEMA = 1

_DEFAULTS = Case().settings
_NONE = object()


def comparison_document(
    compared: Compared, why: Mapping[str, Answer] | None = None, choice: MachineChoice | None = None
) -> dict[str, Any]:
    """One candidate against its reference, every case and metric; only settings that are not at their default. `why`:
    what makes cases slower, by label; `choice`: what two machines offer; None if not asked.
    """
    return {
        "schema": DOCUMENT_SCHEMA,
        "gpubench": __version__,
        **_sides(compared),
        "overall": None
        if compared.overall is None
        else {"step_time_ratio": _estimate(compared.overall.ratio), "num_cases": compared.overall.num_cases},
        "counts": compared.counts,
        "cases": [_case(change) for change in compared.changes],
        **_why(why),
        **_machines(choice),
    }


def _machines(choice: MachineChoice | None) -> dict[str, Any]:
    if choice is None:
        return {}

    def ratio(found: Overall | None) -> dict[str, Any] | None:
        return None if found is None else {"ratio": _estimate(found.ratio), "num_cases": found.num_cases}

    return {
        "machines": {
            "prices_per_hour": choice.prices and list(choice.prices),
            "samples_per_s": ratio(choice.speed),
            "joules_per_sample": ratio(choice.energy),
            "money_per_sample": ratio(choice.money),
            "cases": [
                {
                    "label": case.change.label,
                    "samples_per_s": _estimate(case.speed),
                    "joules_per_sample": _estimate(case.energy),
                    "money_per_sample": _estimate(case.money),
                    "samples_per_money": list(case.per_money),
                    "samples_per_joule": list(case.per_joule),
                }
                for case in choice.cases
            ],
        }
    }


def _why(answers: Mapping[str, Answer] | None) -> dict[str, Any]:
    if answers is None:
        return {}
    return {
        "why": [
            {"label": label}
            | ({"not_profiled": found} if isinstance(found, str) else {"explained": found.model_dump(mode="json")})
            for label, found in answers.items()
        ]
    }


def gate_document(checked: Checked, why: Mapping[str, Answer] | None = None) -> dict[str, Any]:
    """The outcome of a check: `gate.json`. `status` is the exit status, `passed` whether it is 0."""
    return {
        "schema": DOCUMENT_SCHEMA,
        "gpubench": __version__,
        "passed": checked.status == 0,
        "status": int(checked.status),
        "accepted": checked.accepted,
        "baseline_written": None if checked.written is None else str(checked.written),
        **_sides(checked.compared),
        "gates_declared": checked.declared,
        "gates": [_gate(result) for result in checked.results],
        "counts": checked.compared.counts,
        "cases": [_case(change) for change in checked.compared.changes],
        "fresh_cases": None if checked.fresh is None else [_case(change) for change in checked.fresh.changes],
        **_why(why),
    }


def to_lines(document: dict[str, Any]) -> str:
    """The document as text, a line per key and list entry, because indenting everything is slow with many cases."""
    parts = []
    for name, value in document.items():
        if isinstance(value, list) and value:
            entries = ",\n".join(f"    {json_text(each)}" for each in value)
            parts.append(f"  {json_text(name)}: [\n{entries}\n  ]")
        else:
            parts.append(f"  {json_text(name)}: {json_text(value)}")
    return "{\n" + ",\n".join(parts) + "\n}\n"


def _sides(compared: Compared) -> dict[str, Any]:
    settings = compared.settings
    return {
        "reference": {"name": compared.reference.name, "source": compared.reference.source},
        "candidate": {"name": compared.candidate.name, "source": compared.candidate.source},
        "suite": compared.candidate.suite,
        "level": compared.level,
        "interleaved": compared.interleaved,
        "settings": {
            "sesoi": settings.sesoi,
            "alpha": settings.alpha,
            "looks": list(settings.looks),
            "max_rounds": settings.max_rounds,
        },
        "differences": [
            {"name": each.name, "before": each.before, "after": each.after, "refused": each.refused}
            for each in compared.differences
        ],
    }


def _case(change: CaseChange) -> dict[str, Any]:
    return {
        "id": change.case_id,
        "label": change.label,
        "kind": change.kind,
        "settings": {
            name: value for name, value in change.measured.settings.items() if value != _DEFAULTS.get(name, _NONE)
        },
        "reference": _end(change.reference),
        "candidate": _end(change.candidate),
        "changes": {name: _change(moved) for name, moved in change.changes.items()},
    }


def _end(side: ComparableCase | None) -> dict[str, Any] | None:
    if side is None:
        return None
    status = {"status": side.status.value, "reason": side.reason}
    return status | {"validity": side.validity.value, "correctness": side.correctness}


def _change(moved: MetricChange) -> dict[str, Any]:
    found = moved.comparison
    return {
        "judgement": moved.judgement,
        "change": _estimate(moved.change),
        "reason": moved.reason,
        "comparison": found
        and {
            "rounds": found.rounds,
            "level": found.level,
            "p_value": _finite(found.p_value),
            "rounds_needed": found.rounds_needed,
        },
    }


def _gate(result: GateResult) -> dict[str, Any]:
    rule = result.rule
    return {
        "metric": rule.metric,
        "max_regression": rule.max_regression,
        "no_new": list(rule.no_new),
        "where": dict(rule.where),
        "cases": rule.cases or None,
        "outcome": result.outcome,
        "num_cases": result.num_cases,
        "worst": None if result.worst is None else result.worst.case_id,
        "failures": [
            {"id": change.case_id, "label": change.label, "why": why_real(result, change)} for change in result.failures
        ],
        "unclear": [change.case_id for change in result.unclear],
        "confirmation": None
        if result.confirmation is None
        else {
            "rounds": result.confirmation.rounds,
            "kept": [change.case_id for change in result.confirmation.kept],
            "lost": [change.case_id for change in result.confirmation.lost],
        },
        "no_data": [change.case_id for change in result.no_data],
    }


def _estimate(found: Estimate | None) -> dict[str, Any] | None:
    if found is None:
        return None
    values = {name: _finite(getattr(found, name)) for name in ("value", "low", "high")}
    return values | {"n": found.n, "unit": found.unit}


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
