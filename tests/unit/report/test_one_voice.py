"""Every surface of a report against the one decision that it is written from, on stored runs of many kinds."""

import io
import json
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import pytest
from fakes.matrix import matrix_run
from fakes.runs import NO_DRIVER, FakeRun, Invented, cpu_run, in_turns, invented_run
from fakes.screens import writer

from gpubench.analysis.insight.best_settings import SpeedRatio, compared
from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import RecordedRun, summarise_run
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.report.build import build_report
from gpubench.report.headline import headline
from gpubench.report.model.figure_cells import ratio_text, times_text
from gpubench.report.model.report_model import ReportModel, plain
from gpubench.report.render.html import render_html
from gpubench.report.render.json_document import run_document
from gpubench.report.render.markdown import render_markdown
from gpubench.report.render.result_screen import final_screen
from gpubench.report.view.contests import change, contests, name_of, times
from gpubench.report.view.run_view import View
from gpubench.store.run_reader import load_run

PUBLISHED = Path(__file__).parents[3] / "reports" / "20261126-0022-cnn-b208"
CPU = {"mode": "train", "data": "digits", "device": "cpu"}
DRIFT = [finding("GB202", "Step time drifted by +2.1 % over the window.")]


def batches(rates: dict[str, dict[int, float]], *, repeats: int = 3, **changes: object) -> FakeRun:
    """Training on the CPU: precision -> batch -> samples/s."""
    made = Invented(repeats)
    for precision, of_batch in rates.items():
        for batch, rate in of_batch.items():
            made.measured(f"{precision} b{batch}", rate, precision=precision, batch_size=batch, **{**CPU, **changes})
    return made.run()


def latencies() -> FakeRun:
    made = Invented()
    for batch in (1, 8):
        for graph, rate in ((False, 900.0), (True, 2000.0)):
            same = {"mode": "infer", "timing": "latency", "device": "cuda", "data": "digits", "batch_size": batch}
            made.measured(f"b{batch} {graph}", rate * batch, cuda_graph=graph, precision="fp32", **same)
    return made.run()


def two_gpus() -> FakeRun:
    made = Invented()
    for device, factor in (("cuda:0", 1.0), ("cuda:1", 1.01), ("cpu", 0.02)):
        for precision, rate in (("fp32", 1e5), ("amp-bf16", 2.4e5)):
            made.measured(
                f"{device} {precision}",
                rate * factor,
                spread=0.01,
                precision=precision,
                batch_size=64,
                **{**CPU, "device": device},
            )
    return made.run()


def only(end: Callable[[Invented, str], object]) -> FakeRun:
    made = Invented()
    for precision in ("fp32", "amp-bf16"):
        end(made, precision)
    return made.run()


def skipped() -> FakeRun:
    skip = (Status.SKIPPED, f"no CUDA device: {NO_DRIVER}")
    return only(lambda made, name: made.plan(name, skip=skip, precision=name, device="cuda", mode="train"))


def failed() -> FakeRun:
    return only(lambda made, name: made.ended(name, Status.FAILED, "RuntimeError: no", precision=name, **CPU))


LINE = {"fp32": {64: 1000.0, 256: 1400.0}, "amp-bf16": {64: 300.0, 256: 350.0}}
RUNS: dict[str, Callable[[], RecordedRun]] = {
    "published": lambda: load_run(PUBLISHED),
    "everything that can happen": invented_run,
    "the same with contests": lambda: in_turns(invented_run()),
    "no GPU": cpu_run,
    "no GPU, with a contest": lambda: in_turns(cpu_run()),
    "a whole matrix": lambda: matrix_run(batches=(64, 256)),
    "a matrix with contests": lambda: in_turns(matrix_run(batches=(64, 256))),
    "a noisy matrix": lambda: matrix_run(batches=(64, 256), noise=0.3),
    "a noisy matrix with noisy contests": lambda: in_turns(matrix_run(batches=(64, 256), noise=0.3), noise=0.2),
    "noisy launches, a quiet contest": lambda: in_turns(matrix_run(batches=(64, 256), noise=0.3), noise=0.002),
    "out of memory": lambda: matrix_run(batches=(64, 256), oom_from=256),
    "a contest that contradicts launches": lambda: in_turns(batches(LINE), faster={2: 0.5}),
    "equal cases": lambda: in_turns(batches({"fp32": {64: 1000.0, 256: 1000.0}})),
    "nearly equal cases in launches": lambda: batches(
        {"fp32": {64: 1000.0, 256: 1002.0}, "tf32": {64: 1001.0, 256: 1000.0}}
    ),
    "one case": lambda: batches({"fp32": {64: 1000.0}}),
    "one launch each": lambda: batches({"fp32": LINE["fp32"]}, repeats=1),
    "all weakened": lambda: batches(LINE, findings=DRIFT),
    "weakened launches, a sound contest": lambda: in_turns(batches(LINE, findings=DRIFT)),
    "not verified": lambda: batches(LINE, parity=None),
    "latency": lambda: in_turns(latencies()),
    "two GPUs and a CPU": lambda: in_turns(two_gpus()),
    "all skipped": skipped,
    "all failed": failed,
}


class Told:
    """A run, its decision, and all that is said of it."""

    def __init__(self, run: RecordedRun) -> None:
        self.summary = summarise_run(run)
        self.decision = Decision(self.summary)
        self.model: ReportModel = build_report(View(self.summary, name="run", charts=True), pages=False)
        file = io.StringIO()
        final_screen(writer(file, 100), self.model)
        self.screen = file.getvalue()
        self.html = re.sub(r"<[^>]+>", " ", render_html(self.model, {}))
        self.markdown = render_markdown(self.model, charts="charts").replace("**", "").replace("\\", "")
        self.document = json.loads(json.dumps(run_document(summarise_run(run))))
        self.titles = [chart.title for chart in self.model.charts]

    @property
    def texts(self) -> dict[str, str]:
        flat = {"screen": self.screen, "html": self.html, "markdown": self.markdown, "titles": "\n".join(self.titles)}
        flat["json"] = "\n".join(self.document["headline"])
        return {name: re.sub(r"[ \n]+", " ", text) for name, text in flat.items()}

    def ratios(self) -> Iterator[SpeedRatio]:
        """Of every two cases of a place, and of the effects."""
        for ranking in self.decision.rankings:
            pairs = ((one, other) for one in ranking.cases for other in ranking.cases if one is not other)
            yield from (found for one, other in pairs if (found := compared(one, other)) is not None)
        for effect in self.decision.effects:
            yield SpeedRatio(effect.ratio, effect.verdict)


@cache
def told(name: str) -> Told:
    return Told(RUNS[name]())


every_run = pytest.mark.parametrize("name", RUNS)


@pytest.mark.slow
def test_runs_of_every_kind_are_held_against_their_decision() -> None:
    assert len(RUNS) >= 20
    decisions = [told(name).decision for name in RUNS]
    assert {decision.certain for decision in decisions} == {True, False}
    assert {advice.action for decision in decisions for advice in decision.advice} >= {"switch", "keep", "undecided"}
    verdicts = {effect.verdict for decision in decisions for effect in decision.effects}
    assert verdicts == {"faster", "slower", "same", "unclear", "weakened"}


@every_run
def test_the_first_lines_are_the_same_everywhere(name: str) -> None:
    run = told(name)
    said = [plain(line) for line in headline(run.decision)]
    assert run.document["headline"] == said
    assert [plain(line) for line in run.model.headline] == said
    assert {plain(answer.said) for answer in run.model.answers} <= set(said)
    for place, text in run.texts.items():
        if place in ("screen", "markdown"):
            for answer in run.model.answers:
                assert plain(answer.said) in text, place


@every_run
def test_the_card_shows_the_case_that_the_sentence_names(name: str) -> None:
    run = told(name)
    of_subject = {contest.subject: contest for contest in contests(run.decision)}
    for answer in run.model.answers:
        contest = of_subject[answer.subject]
        first = contest.ranking.first
        assert first is not None
        assert answer.case_index == first.summary.planned.index
        assert f"{answer.precision} {answer.setting}".strip() == name_of(first.summary, contest)
        assert bool(answer.why_not) is not first.won
        assert bool(answer.level) is bool(contest.ranking.level and first.won)


@every_run
def test_the_table_marks_as_fastest_whom_the_sentence_calls_fastest(name: str) -> None:
    run = told(name)
    certain = {r.leaders[0].planned.index for r in run.decision.rankings if r.certain}
    section = run.model.section("best")
    rows = [row for table in section.tables for row in table.rows] if section else []
    assert {row.case_index for row in rows if row.cells[0].text == "+"} == certain
    for contest in contests(run.decision):
        fastest = (
            f"{contest.subject}: {name_of(contest.ranking.leaders[0], contest)}" if contest.ranking.leaders else ""
        )
        for place, text in run.texts.items():
            claims = re.findall(
                rf"{re.escape(contest.subject)}: (?:(?!but )\S+ ){{1,8}}?(?:was fastest|had the lowest latency)", text
            )
            assert contest.ranking.certain or not claims, place
            assert all(claim.startswith(fastest) for claim in claims), place


@every_run
def test_what_to_switch_on_is_certain_and_not_against_the_fastest_case(name: str) -> None:
    run = told(name)
    leaders = {(r.case.workload, r.case.mode, r.case.timing, r.case.device): r.leaders for r in run.decision.rankings}
    for advice in run.decision.advice:
        place = tuple(advice.context[key] for key in ("workload", "mode", "timing", "device"))
        if advice.action == "switch":
            assert advice.effect.verdict == "faster"
            used = [getattr(entry.case, advice.factor) for entry in leaders[place]]
            assert not used or advice.effect.value in used
    section = run.model.section("switches")
    none = section is not None and bool(section.lines)
    assert none is bool(run.decision.effects and not run.decision.certain)
    for place in ("html", "markdown", "screen"):
        assert run.texts[place].lower().count("no advice:") == none
    said = [(each["where"], each["setting"], each["action"]) for each in run.document["advice"]]
    assert said == [(dict(each.context), each.factor, each.action) for each in run.decision.advice]


@every_run
def test_effects_have_one_verdict_in_table_chart_and_document(name: str) -> None:
    run = told(name)
    verdicts = [effect.verdict for effect in run.decision.effects]
    assert [each["verdict"] for each in run.document["effects"]] == verdicts
    section = run.model.section("effects")
    table = section.tables[0] if section and section.tables else None
    marks = {"faster": "+", "slower": "-", "same": "=", "unclear": "?", "weakened": "!"}
    assert [row.cells[0].text for row in table.rows] if table else [marks[verdict] for verdict in verdicts] == []
    forest = [row for chart in run.model.charts if chart.form == "forest" for row in chart.rows]
    known = {(effect.ratio.value, effect.verdict) for effect in run.decision.effects}
    assert {(row[1], row[5]) for row in forest} <= known


@every_run
def test_a_title_gives_no_ratio_of_speed_that_is_not_certain(name: str) -> None:
    run = told(name)
    certain, unsure = set[str](), set[str]()
    for found in run.ratios():
        value = found.ratio.value
        (certain if found.certain else unsure).update(
            {
                times(value),
                times(1 / value),
                change(value).lstrip("+-"),
                times_text(found.ratio),
                ratio_text(found.ratio),
            }
        )
    for title in (chart.title for chart in run.model.charts if chart.key.startswith(("batch", "heat", "effects"))):
        if "no setting has a clear effect" in title:
            assert not any(effect.verdict in ("faster", "slower") for effect in _of_place(run, title))
            continue
        for ratio in re.findall(
            r"(?<![\w.])\d+(?:\.\d+)?x(?= as)|(?<=buys most, )\S+x|(?<=gains )\S+%|(?<=loses )\S+%", title
        ):
            assert ratio in certain, title


def _of_place(run: Told, title: str) -> list[object]:
    subjects = {contest.subject: contest.ranking.case for contest in contests(run.decision)}
    case = next((case for subject, case in subjects.items() if title.startswith(f"{subject}: ")), None)
    if case is None:
        return []
    wanted = (case.workload, case.mode, case.device, case.timing)
    return [
        effect
        for effect in run.decision.effects
        if effect.factor != "device"
        and (effect.case.workload, effect.case.mode, effect.case.device, effect.case.timing) == wanted
    ]


@every_run
def test_a_title_denies_no_change_that_is_certain(name: str) -> None:
    run = told(name)
    for contest in contests(run.decision):
        for chart in run.model.charts:
            match = re.search(r"(\S+) shows no certain change from batch (\d+) to (\d+)", chart.title)
            if match is None or chart.key != f"batch-{contest.key}":
                continue
            precision, *ends = match.groups()
            ours = [
                [e for e in contest.cases if e.case.precision == precision and str(e.case.batch_size) == end]
                for end in ends
            ]
            found = [compared(large, small) for small in ours[0] for large in ours[1] if _otherwise_equal(small, large)]
            assert not all(each is not None and each.certain for each in found), chart.title


def _otherwise_equal(one: object, other: object) -> bool:
    ours, theirs = ({**each.case.settings, "batch_size": 0} for each in (one, other))  # type: ignore[attr-defined]
    return bool(ours == theirs)


def test_a_contest_overrules_the_launches_in_every_title() -> None:
    """Case 2 (fp32 b256) is 1.4 times as fast as case 1 in launches, and 0.7 times as fast taking turns."""
    run = told("a contest that contradicts launches")
    (title,) = [chart.title for chart in run.model.charts if chart.key == "batch-train-cpu"]
    assert "loses" in title
    assert "fp32 b64 was fastest" in run.texts["screen"]
    (effect,) = [each for each in run.document["effects"] if each["setting"] == "batch_size"]
    assert effect["verdict"] in ("slower", "unclear")
