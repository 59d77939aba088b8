import re
import shlex
from pathlib import Path

import pytest
from fakes.runs import Invented, cpu_run, invented_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report import build
from gpubench.report.build import build_report
from gpubench.report.model.report_model import Cell, Column, Row, Section, Table, line, plain
from gpubench.report.pages.case_page import case_page, repeat_command
from gpubench.report.render.html import render_html
from gpubench.report.render.markdown import render_markdown
from gpubench.report.topics import accuracy
from gpubench.report.view import run_view
from gpubench.report.view.run_view import View
from gpubench.suite.cases.labels import named_cases


def facts_of(section: Section | None) -> dict[str, str]:
    assert section is not None
    return {fact.name: plain(fact.text) for fact in section.facts}


def lines_of(section: Section | None) -> str:
    assert section is not None
    return " ".join(plain(line) for line in section.lines)


def test_counts_and_machine_come_first() -> None:
    model = build_report(View(summarise_run(invented_run())))
    assert plain(model.subtitle) == (
        "13 cases and 4 quality runs: 12 ok, 1 invalid, 1 oom, 1 failed, 1 unsupported, 1 skipped. "
        "NVIDIA Imaginary 80GB, driver 580.95.05, torch 2.13.0, torchvision 0.28.0, CUDA 13.0, cuDNN 9.15.0."
    )


def test_the_machine_without_a_gpu_begins_a_sentence_and_one_thread_is_one() -> None:
    made = Invented()
    made.measured("fp32", 900.0, device="cpu")
    run = made.run(environment={"cpu": {"model": "Imaginary CPU", "num_threads_usable": 1}})
    assert ". No GPU, Imaginary CPU (1 thread)" in plain(build_report(View(summarise_run(run))).subtitle)


def test_a_new_section_is_its_function_and_one_line_in_the_order(monkeypatch: pytest.MonkeyPatch) -> None:
    def toy(view: View) -> Section:
        table = Table("toy", (Column("number", "cases"),), (Row((Cell(str(len(view.everything))),)),))
        return Section("toy", "A toy section", short="Toy", lines=(line(f"of {view.name}"),), tables=(table,))

    monkeypatch.setattr(build, "ORDER", {**build.ORDER, "toy": toy})
    model = build_report(View(summarise_run(cpu_run()), name="one"))
    assert model.sections[-1].key == "toy"
    assert render_markdown(model).endswith("## A toy section\n\nof one\n\n| cases |\n| ---: |\n| 6 |\n")
    page = render_html(model, {})
    assert '<a href="#toy">Toy</a>' in page
    assert '<h2 id="h-toy">A toy section</h2>' in page


def test_every_module_of_a_topic_is_in_the_order() -> None:
    modules = {path.stem for path in Path(accuracy.__file__).parent.glob("*.py")} - {"__init__"} | {"fleet_cards"}
    assert {topic.__module__.rpartition(".")[2] for topic in build.sections()} == modules
    view = View(summarise_run(cpu_run()))
    assert all(made is None or made.key == key for key, topic in build.ORDER.items() for made in [topic(view)])


def test_sections_without_content_are_left_out() -> None:
    keys = [section.key for section in build_report(View(summarise_run(cpu_run()))).sections]
    assert "energy" in keys, "why there is no energy is said once"
    assert "quality" not in keys


def test_energy_without_a_driver_is_one_line_with_the_reason() -> None:
    section = build_report(View(summarise_run(cpu_run()))).section("energy")
    assert section is not None
    assert section.tables == ()
    assert lines_of(section) == "J/sample, W: n/a (no NVIDIA driver)"


def test_the_set_up_names_device_driver_and_software() -> None:
    facts = facts_of(build_report(View(summarise_run(invented_run()))).section("environment"))
    assert facts["GPU 0"] == "NVIDIA Imaginary 80GB, 80.0 GiB, power limit 700 W, SM clock up to 1980 MHz"
    assert facts["Driver"] == "580.95.05, CUDA up to 13.0"
    assert facts["Git"] == "0123456789ab on main"
    assert (
        facts_of(build_report(View(summarise_run(cpu_run()))).section("environment"))["GPU"]
        == "none (no NVIDIA driver)"
    )


def test_the_method_tells_the_settings_of_this_run() -> None:
    said = lines_of(build_report(View(summarise_run(invented_run()))).section("method"))
    assert "launched 3 times, each launch in a separate process, all launches in random order (seed 1234)" in said
    assert "known to ±1.0% (allowing for autocorrelation) and 2.0 s had passed, at the latest after 20.0 s" in said
    assert "CUDA events" in said


def test_one_launch_is_said_to_give_no_interval() -> None:
    said = lines_of(build_report(View(summarise_run(invented_run(repeats=1)))).section("method"))
    assert "One launch per case" in said
    assert "no figure has an interval" in said


def test_a_torn_line_of_the_store_is_said() -> None:
    said = lines_of(
        build_report(
            View(summarise_run(cpu_run()), notices=("records.jsonl: the last line was torn and left out",))
        ).section("method")
    )
    assert said.endswith("records.jsonl: the last line was torn and left out")


def test_a_page_shows_settings_asked_and_read_back() -> None:
    summary = summarise_run(invented_run())
    section = next(
        section for section in case_page(summary.cases[5], summary.info).sections if section.key == "settings"
    )
    rows = {row.cells[0].text: (row.cells[1].text, row.cells[2].text) for row in section.tables[0].rows}
    assert rows["precision"] == ("tf32", "tf32")
    assert rows["math"] == ("", "cuda.matmul tf32, cudnn.conv tf32")
    assert rows["memory_format"] == ("channels_last", "channels_last")


def test_a_page_of_an_oom_shows_the_sizes() -> None:
    summary = summarise_run(invented_run())
    facts = facts_of(case_page(summary.cases[9], summary.info).sections[0])
    assert facts["Status"] == "OOM: out of memory in warmup: 12.0 GiB requested, 3.1 GiB free"
    assert facts["Memory"].startswith("requested 12.0 GiB, free 3.1 GiB, total 80.0 GiB")
    assert facts["Log"] == "cases/10/1.log"


def test_the_command_repeats_just_this_case() -> None:
    summary = summarise_run(invented_run())
    case = summary.cases[7]
    assert repeat_command(case, summary.info) == f"gpubench run suites/cnn.yaml --case {case.planned.case_id}"
    trained = summary.quality[0].summary
    assert repeat_command(trained, summary.info).endswith(f" --case 'quality {trained.planned.case_id}'")


def test_the_command_of_a_case_selects_that_case_alone() -> None:
    """Cases may differ in a variable that only some of them set, and in paths with blanks in them."""
    made = Invented()
    variables: tuple[dict[str, str], ...] = ({}, {"A": "1"}, {"A": "1", "B": "x y"}, {"B": "not"})
    for number, env in enumerate(variables):
        made.measured(f"{number}", 900.0, device="cpu", env=env)
    made.measured("python", 900.0, device="cpu", python="/opt/my env/bin/python")
    summary = summarise_run(made.run())
    cases = [entry.case for entry in summary.cases]
    for entry in summary.cases:
        *_, name = shlex.split(repeat_command(entry, summary.info))
        assert named_cases([name], cases).measured == {entry.case.case_id}
    assert len({case.case_id for case in cases}) == 5


def test_the_command_of_a_case_keeps_what_the_run_changed_in_its_suite() -> None:
    made = Invented()
    made.measured("cpu fp32", 900.0, device="cpu", workload="torchvision:resnet18")
    typed = (
        "gpubench run cnn -s workload=torchvision:resnet18 --tag a --set=measure.max_time=5s --repeats 5 -k "
        "device=cpu --input 3x8x8 --input=int10 --loss mse -n"
    )
    summary = summarise_run(made.run(argv=tuple(typed.split())))
    assert repeat_command(summary.cases[0], summary.info) == (
        "gpubench run suites/cnn.yaml -s workload=torchvision:resnet18 --set=measure.max_time=5s --repeats 5 "
        f"--input 3x8x8 --input=int10 --loss mse --case {summary.cases[0].planned.case_id}"
    )


@pytest.mark.parametrize("number", [1, 3, 10, 13, 17])
def test_every_kind_of_case_has_a_page(number: int) -> None:
    pages = {page.index: page for page in build_report(View(summarise_run(invented_run()), list_skipped=True)).pages}
    assert pages[number].sections[0].heading.startswith(f"Case {number}: ")


def test_a_hostile_path_is_quoted_in_the_command() -> None:
    made = Invented()
    made.measured("cpu fp32", 900.0, device="cpu", data="digits")
    summary = summarise_run(made.run(suite_path="x; rm -rf ~"))
    assert repeat_command(summary.cases[0], summary.info).startswith("gpubench run 'x; rm -rf ~' --case ")


def test_of_very_many_cases_few_open_in_full_and_the_table_says_which(monkeypatch: pytest.MonkeyPatch) -> None:
    summary = summarise_run(invented_run())
    everything = build_report(View(summary, most_rows=4))
    monkeypatch.setattr(run_view, "MOST_IN_FULL", 5)
    few = build_report(View(summary, most_rows=4))
    assert 0 < len(few.pages) < len(everything.pages) == len(View(summary).everything) - 2, "two could not run"
    section = few.section("cases")
    assert section is not None
    assert f"{len(few.pages)} open in full here" in plain(section.lines[-1])
    page = render_html(few, {})
    opened = set(re.findall(r'href="#full-(\d+)"', page))
    assert opened == {str(each.index) for each in few.pages}
