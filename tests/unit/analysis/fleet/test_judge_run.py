"""Cards of an invented run of six, one of which is slow, from its records to the report."""

import json
import random
from pathlib import Path

from fakes.runs import Invented
from jsonschema import Draft202012Validator

from gpubench.analysis.fleet.judge_run import judge_fleet, suspects_of
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import RankRecord
from gpubench.report import fleet_cards
from gpubench.report.build import build_report
from gpubench.report.model.report_model import plain
from gpubench.report.render.json_document import run_document
from gpubench.report.view.run_view import View

LAUNCHES = 8
SCHEMA = json.loads((Path(__file__).parents[4] / "schemas" / "run-document-1.json").read_text())


def card(number, step_s, **telemetry):
    reason = {} if step_s else {"absent": {"step_time_s": "uncorrectable ECC error"}}
    return RankRecord(
        rank=number,
        node=number // 2,
        host=f"n{number // 2}",
        device=f"cuda:{number % 2}",
        device_uuid=f"GPU-{number}",
        device_name="Imaginary",
        step_time_s=step_s,
        telemetry={"sm_clock_mhz": 1980.0, **telemetry},
        **reason,
    )


def fleet_run(slow=1.05, *, number=8, retests=LAUNCHES, retested=None, broken=(), clock=1850.0, fleet=None):
    """Card 3 takes `slow` times as long, when measured again `retested` times."""
    made, noise = Invented(repeats=LAUNCHES), random.Random(7)
    planned = made.plan("matmul", workload="operators:matmul", device="cuda", mode="infer")
    usual = [0.01 * noise.gauss(1, 0.001) for _ in range(number)]

    def step(each, factor):
        return None if each in broken else usual[each] * noise.gauss(1, 0.0005) * (factor if each == 3 else 1)

    def cards(which, factor):
        odd = {"sm_clock_mhz": clock}
        return tuple(card(each, step(each, factor), **(odd if each == 3 else {})) for each in which)

    for repeat in range(1, LAUNCHES + 1):
        made.add(planned, repeat, metrics={"step_time_s": 0.01}, ranks=cards(range(number), slow))
    run = made.run()
    info = run.info.model_copy(update={"suite": {**run.info.suite, "fleet": fleet or {}}})
    found = suspects_of(info, run.records).get(1)
    if found is not None:
        for repeat in range(LAUNCHES + 1, LAUNCHES + 1 + retests):
            ranks = cards((found[0], *found[1]), retested or slow)
            again = made.add(planned, repeat, metrics={"step_time_s": 0.01}, ranks=ranks)
            made.records[-1] = again.model_copy(update={"kind": "retest"})
    run = made.run()
    return type(run)(info.model_copy(update={"cases": run.info.cases}), run.records)


def report_of(run):
    return build_report(View(summarise_run(run), charts=True))


def test_a_slow_card_is_named_with_its_cause():
    (slow,) = judge_fleet(*of(fleet_run())).slow
    assert slow.card.name == "node 1 (n1) cuda:1"
    assert slow.retest.low < 0.0488 < slow.retest.high
    assert slow.why.cause == "clock"
    assert slow.why.evidence == "its core clock is 1850 MHz, that of the others 1980 MHz"


def of(run):
    return run.info, run.records


def test_a_suspect_is_measured_again_with_a_healthy_card():
    info, records = of(fleet_run(retests=0))
    reference, suspects = suspects_of(info, records)[1]
    assert suspects == (3,)
    assert reference != 3
    assert judge_fleet(info, records).slow == ()


def test_a_card_that_is_fast_when_measured_again_is_not_named():
    run = fleet_run(retested=1.0)
    assert judge_fleet(*of(run)).slow == ()
    row = fleet_cards.cards_table(judge_fleet(*of(run))).rows[0]
    assert "healthy when measured again" in [cell.text for cell in row.cells]


def test_a_healthy_fleet_names_no_card():
    model = report_of(fleet_run(slow=1.0))
    assert [plain(each) for each in model.headline] == ["None of 8 cards is known to be 1.0% slower than the others."]


def test_a_broken_card_is_named_and_judges_nothing():
    fleet = judge_fleet(*of(fleet_run(broken=(5,))))
    assert [(each.name, each.failed) for each in fleet.cards if each.failed] == [
        ("node 2 (n2) cuda:1", "uncorrectable ECC error")
    ]
    assert [each.card.number for each in fleet.slow] == [3]


def test_four_cards_are_measured_and_not_judged():
    model = report_of(fleet_run(number=4))
    assert "4 cards are too few to tell which is the odd one" in plain(model.headline[0])


def test_the_limit_is_that_of_the_suite():
    assert judge_fleet(*of(fleet_run(fleet={"slower_than": "10%"}))).slow == ()


def test_a_run_without_a_fleet_has_none():
    run = fleet_run()
    assert judge_fleet(run.info.model_copy(update={"suite": {}}), run.records) is None


def test_retests_are_no_launches_of_the_case():
    assert len(summarise_run(fleet_run()).cases[0].records) == LAUNCHES


def test_the_report_has_the_card_in_its_answer_its_table_and_its_chart():
    model = report_of(fleet_run())
    assert plain(model.headline[0]).startswith("node 1 (n1) cuda:1 is 5.0% slower (4.9% to 5.1%) in matmul; clock: ")
    assert model.sections[0].key == "fleet"
    table, (chart,) = model.section("fleet").tables[0], model.section("fleet").charts
    first = dict(
        zip([column.key for column in table.columns], [cell.text for cell in table.rows[0].cells], strict=True)
    )
    assert (first["mark"], first["uuid"], first["verdict"], first["cause"]) == ("!", "GPU-3", "slow", "clock")
    assert chart.title == "matmul: node 1 (n1) cuda:1 is slow"
    assert [row[4] for row in chart.rows[:3]] == ["first launches", "measured again", "first launches"]


def test_the_json_document_has_the_fleet():
    document = run_document(summarise_run(fleet_run()))
    Draft202012Validator(SCHEMA).validate(document)
    odd = document["fleet"]["cards"][3]
    assert (odd["verdict"], odd["slow"]["cause"], odd["slow"]["case"]) == ("slow", "clock", 1)
    assert odd["slow"]["low"] < 0.05 < odd["slow"]["high"]
    assert {each["verdict"] for each in document["fleet"]["cards"] if each is not odd} == {"healthy"}
