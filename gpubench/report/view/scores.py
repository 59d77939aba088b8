"""The score of a task in a report: its name, unit and direction, and what trivial answers score."""

import re
from collections.abc import Iterable, Sequence

from gpubench.analysis.summary.accuracy_verdict import QualitySummary, trained_for
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.core.metrics import MetricSpec
from gpubench.core.records import Estimate
from gpubench.report.model.figure_cells import display_unit
from gpubench.report.model.report_model import Fact, line
from gpubench.report.model.words import count, joined


def by_task(quality: Iterable[QualitySummary]) -> dict[str, list[QualitySummary]]:
    """The quality runs of each workload: scores of two tasks never share a column."""
    found: dict[str, list[QualitySummary]] = {}
    for each in quality:
        found.setdefault(each.summary.case.workload, []).append(each)
    return found


def task_key(key: str, workload: str, *, several: bool) -> str:
    """The key of a task's table or chart."""
    return f"{key}-{re.sub(r'[^A-Za-z0-9]+', '-', workload).strip('-').lower()}" if several else key


def spec_of(task: Sequence[QualitySummary]) -> MetricSpec:
    """Of the score of a task; all of its runs have the same."""
    return next((each for each in task if each.runs), task[0]).spec


def unit_title(spec: MetricSpec) -> str:
    """`accuracy %`, `WER %`, `BLEU points`: the title of a column."""
    return f"{spec.title} {display_unit(spec)}".rstrip()


def capital(title: str) -> str:
    """A score's name at the start of a sentence: `Accuracy`, but `mIoU`."""
    return title.capitalize() if title.islower() else title


def direction(spec: MetricSpec) -> str:
    return f"{'lower' if spec.better == 'lower' else 'higher'} is better"


def value_text(value: float, spec: MetricSpec) -> str:
    """`59.3%`, `24.0 points`."""
    unit = display_unit(spec)
    return f"{value * spec.display_factor:.1f}{'' if unit in ('', '%') else ' '}{unit}"


def score_text(entry: QualitySummary, found: Estimate | None = None) -> str:
    """`59.3%` on the test split, or that of another run of the same task; `unknown` without one."""
    score = found or entry.score
    return "unknown" if score is None else value_text(score.value, entry.spec)


def best_trivial(entry: QualitySummary) -> str:
    """`copying the source 15.5 points`: the best of the trivial answers; empty if the task has none."""
    return next((f"{name} {value_text(value, entry.spec)}" for name, value in entry.trivial.items()), "")


def trained_at(entry: CaseSummary, quality: Sequence[QualitySummary]) -> QualitySummary | None:
    """The quality run whose score is that of the case's model, if it has a score."""
    return next((other for other in trained_for(entry.case, quality) if other.score is not None), None)


def training_facts(entry: CaseSummary) -> tuple[Fact, ...]:
    """What a quality run trained on and came to, for the page of its case; empty for a measured case."""
    trained = QualitySummary(entry, None, "unknown", 0.0)
    if entry.planned.kind != "quality" or not trained.runs:
        return ()
    first, spec = trained.runs[0], trained.spec
    trivial = [f"{name} {value_text(value, spec)}" for name, value in trained.trivial.items()]
    digests = sorted({run.data_digest for run in trained.runs if run.data_digest})
    parts = ((first.num_train, "train on"), (first.num_validation, "validate"), (first.num_test, "test"))
    facts = (
        ("Score", f"test {spec.title} {score_text(trained)}; {direction(spec)}"),
        ("Trivial answers", joined(trivial) or "none were scored"),
        ("Data", f"{entry.case.data}: {', '.join(f'{number} to {what}' for number, what in parts)}"),
        ("Data digest", f"{joined(digests)}; scores compare only where it is equal" if digests else "none recorded"),
        ("Training", f"{count(first.epochs, 'epoch')}, learning rate {first.learning_rate:g}"),
    )
    return tuple(Fact(name, line(text)) for name, text in facts)
