"""A run as one JSON document, printed by `--json`. Its schema is `schemas/run-document-1.json`; fields are only ever
added.

Values are in the registry's SI units; what could not be measured is missing in `metrics`, with its reason in `absent`.
There is no NaN: a number that is not finite is null.
"""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from gpubench.analysis.fleet.judge_run import Fleet, FleetCard
from gpubench.analysis.insight.decision import Advice, Decision
from gpubench.analysis.insight.factor_effects import FactorEffect
from gpubench.analysis.insight.paired_ratios import speed_verdict
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.contest_levels import ContestLevels, paired_estimate
from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.records import Estimate
from gpubench.report.fleet_cards import verdict_lines
from gpubench.report.headline import headline
from gpubench.report.model.inert_text import json_text
from gpubench.report.model.report_model import plain

DOCUMENT_SCHEMA = 1


def run_document(summary: RunSummary, *, folder: str | None = None) -> dict[str, Any]:
    """The document of a run, measured cases and quality entries in the order of the plan."""
    return {**_run_document(summary, folder), "cases": list(_case_documents(summary))}


def _case_documents(summary: RunSummary) -> Iterator[dict[str, Any]]:
    everything = [*summary.cases, *(quality.summary for quality in summary.quality)]
    return (_finite(case_document(entry)) for entry in sorted(everything, key=lambda entry: entry.planned.index))


def _run_document(summary: RunSummary, folder: str | None) -> dict[str, Any]:
    """The document without cases."""
    info = summary.info
    decision, fleet = Decision(summary), summary.fleet
    document: dict[str, Any] = {
        "schema": DOCUMENT_SCHEMA,
        "run": {
            "name": info.run,
            "folder": folder,
            "created": info.created,
            "tag": info.tag,
            "seed": info.seed,
            "repeats": info.repeats,
            "argv": list(info.argv),
            "selection": info.selection,
            "versions": info.versions,
            "counts": {status.value: number for status, number in summary.counts.items()},
        },
        "suite": {
            "name": info.suite_name,
            "path": info.suite_path,
            "digest": info.suite_digest,
            "description": info.suite.get("description", ""),
        },
        "headline": [plain(said) for said in (verdict_lines(fleet) if fleet else headline(decision))],
        "effects": [_effect_document(effect) for effect in decision.effects],
        "advice": [_advice_document(advice) for advice in decision.advice],
        "environment": info.environment,
        **({} if summary.price_per_hour is None else {"price_per_hour": summary.price_per_hour}),
        "contests": [_contest_document(each, decision) for each in summary.contests],
        "cases": [],
    }
    if fleet is not None:
        document["fleet"] = _fleet_document(fleet)
    cleaned: dict[str, Any] = _finite(document)
    return cleaned


def sides_text(sides: Mapping[str, RunSummary], *, folder: str | None = None, case: int | None = None) -> Iterator[str]:
    """The document of a run by the summaries of its arms, in parts, because ten thousand cases take a gigabyte at once.

    Each case, effect and advice names its arm, and each line of the headline begins with it. That of a run without
    arms, under the empty name, is `run_document`. `case` limits the cases to the one with this number.
    """
    document = _sides_document(sides, folder)
    cases = (
        {"arm": arm, **each} if arm else each
        for arm, summary in sides.items()
        for each in _case_documents(summary)
        if case in (None, each["index"])
    )
    for number, (name, part) in enumerate(document.items()):
        yield f"{',' if number else '{'}\n  {json_text(name)}: "
        yield from _listed(cases) if name == "cases" else (_indented(part, "  "),)
    yield "\n}\n"


def _listed(entries: Iterator[Any]) -> Iterator[str]:
    opening = "["
    for each in entries:
        yield f"{opening}\n    {_indented(each, '    ')}"
        opening = ","
    yield "[]" if opening == "[" else "\n  ]"


def _indented(part: Any, margin: str) -> str:
    return json_text(part, indent=2).replace("\n", f"\n{margin}")


def _sides_document(sides: Mapping[str, RunSummary], folder: str | None) -> dict[str, Any]:
    """Without cases."""
    of_arms = {arm: _run_document(summary, folder) for arm, summary in sides.items()}
    document = dict(next(iter(of_arms.values())))
    if "" in of_arms:
        return document
    for part in ("effects", "advice"):
        document[part] = [{"arm": arm, **each} for arm, found in of_arms.items() for each in found[part]]
    document["headline"] = [f"{arm}: {said}" for arm, found in of_arms.items() for said in found["headline"]]
    counts = Counter[str]()
    for found in of_arms.values():
        counts.update(found["run"]["counts"])
    document["run"] = {**document["run"], "counts": dict(counts)}
    return document


def case_document(entry: CaseSummary) -> dict[str, Any]:
    """One case: requested and effective settings, status, figures and findings."""
    failure = next((record.failure for record in entry.records if record.failure is not None), None)
    return {
        "id": entry.planned.case_id,
        "index": entry.planned.index,
        "kind": entry.planned.kind,
        "label": entry.planned.label,
        "settings": entry.planned.settings,
        "effective": None if entry.effective is None else entry.effective.model_dump(mode="json"),
        "status": entry.status.value,
        "reason": entry.reason,
        "validity": entry.validity.value,
        "correctness": entry.correctness,
        "launches": len(entry.records),
        "metrics": {name: _estimate(found) for name, found in entry.metrics.items()},
        "absent": dict(entry.absent),
        "quality": _quality_document(entry),
        "findings": [found.model_dump(mode="json") for found in entry.findings],
        "failure": None if failure is None else failure.model_dump(mode="json"),
    }


def _quality_document(entry: CaseSummary) -> dict[str, Any] | None:
    """What judges a quality run, and on which data; None for a case that was not trained."""
    runs = [record.quality for record in entry.ok_records if record.quality is not None]
    if not runs:
        return None
    first = runs[0]
    return {
        "score": first.score_name,
        "better": first.score_better,
        "trivial": dict(first.baselines),
        "data": entry.case.data,
        "data_digests": sorted({run.data_digest for run in runs if run.data_digest}),
        **{name: getattr(first, name) for name in ("num_train", "num_validation", "num_test", "epochs")},
    }


def _fleet_document(fleet: Fleet) -> dict[str, Any]:
    """Every card; of a slow one by which share it is slower, with the interval of its fresh launches, and why."""
    slow = {each.card.number: each for each in fleet.slow}

    def card_document(card: FleetCard) -> dict[str, Any]:
        found = slow.get(card.number)
        excess = {str(probe.case_index): probe.excess(card.number) for probe in fleet.probes}
        document = {
            **{name: getattr(card, name) for name in ("number", "node", "host", "device", "product", "uuid", "failed")},
            "verdict": fleet.verdict(card),
            "slower": {case: value for case, value in excess.items() if value is not None},
        }
        if found is not None:
            low, middle, high = (
                math.expm1(each) for each in (found.retest.low, found.retest.excess, found.retest.high)
            )
            document["slow"] = {
                "case": found.probe.case_index,
                "value": middle,
                "low": low,
                "high": high,
                "cause": found.why.cause,
                "evidence": found.why.evidence,
            }
        return document

    return {"slower_than": fleet.slower_than, "cards": [card_document(card) for card in fleet.cards]}


def _contest_document(contest: ContestLevels, decision: Decision) -> dict[str, Any]:
    """Cases that took turns: each over the first one, and the first one's twin over it (the machine's own error)."""
    return {
        "label": contest.label,
        "first": contest.first,
        "rounds": len(contest.rounds),
        "processes": contest.num_processes,
        "seconds": contest.seconds,
        "threads": contest.threads,
        "itself": None if not contest.twins else _ratio(list(contest.twins)),
        "ratios": [
            {"case": index, **_ratio(list(contest.log_ratios(index, contest.first).values()), contest.twins)}
            for index in contest.cases
            if index != contest.first
        ],
        "effects": [
            _effect_document(effect)
            for effect in decision.effects
            if effect.taken_in_turns and all(pair.base.contest is contest for pair in effect.pairs)
        ],
    }


def _effect_document(effect: FactorEffect) -> dict[str, Any]:
    """`value` of `setting` over its `from`, all others equal, in the workload, mode, timing and device of `where`."""
    return {
        "where": dict(effect.context),
        "setting": effect.factor,
        "from": effect.base,
        "to": effect.value,
        "ratio": _estimate(effect.ratio),
        "verdict": effect.verdict,
        "pairs": effect.num_pairs,
        "in_turns": effect.taken_in_turns,
    }


def _advice_document(advice: Advice) -> dict[str, Any]:
    effect = _effect_document(advice.effect)
    return {
        **{name: effect[name] for name in ("where", "setting")},
        "action": advice.action,
        "value": {"switch": effect["to"], "keep": effect["from"]}.get(advice.action),
        "effect": effect,
    }


def _ratio(log_ratios: list[float], twins: Sequence[float] = ()) -> dict[str, Any]:
    ratio = paired_estimate(log_ratios)
    return {**_estimate(ratio), "verdict": speed_verdict(log_ratios, ratio, twins)}


def _estimate(found: Estimate) -> dict[str, Any]:
    return {"value": found.value, "low": found.low, "high": found.high, "n": found.n, "unit": found.unit}


def to_json(document: Any) -> str:
    """JSON with two-space indentation and a trailing newline."""
    return json_text(document, indent=2) + "\n"


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(key): _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return value
