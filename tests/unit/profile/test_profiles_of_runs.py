"""Profiles in the folders of stored runs: what `compare` and a run's report show of them."""

from dataclasses import replace
from pathlib import Path

import pytest
from fakes import traces
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade

from gpubench.analysis.compare.compare_sides import compare_sides, refuse
from gpubench.analysis.compare.run_sides import side_of
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.cli.main import main
from gpubench.core.errors import UsageError
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.figures.summary_model import ProfileSummary, profile_folder, stored_profiles
from gpubench.profile.traces.read_trace import read_trace
from gpubench.report.model.report_model import plain
from gpubench.report.topics import profiles
from gpubench.report.view.run_view import View
from gpubench.store.run_reader import load_run


def a_run(store: Path, name: str, rate: float, *, emitter: str | None = None) -> Path:
    made = HandMade(environment=ENVIRONMENT)
    for batch_size in (64, 128):
        made.measured(rate, STEADY, device="cuda", precision="amp-bf16", batch_size=batch_size)
    if emitter is not None:
        made.records = [
            record.model_copy(update={"effective": record.effective.model_copy(update={"extra": {"nvtx": emitter}})})
            for record in made.records
        ]
    return made.write(store, name)


def profiled(run: Path, scenario: traces.Scenario, index: int = 1) -> ProfileSummary:
    folder = profile_folder(run, index)
    folder.mkdir(parents=True)
    summary = summarize(read_trace(traces.write_sqlite(scenario, run / "t.sqlite")), measured_step_time_s=9e-4)
    (folder / "profile.json").write_text(summary.model_dump_json(by_alias=True))
    return summary


def without_tensor_cores() -> traces.Scenario:
    """More kernels, none of them on tensor cores, and nothing pageable."""
    scenario = traces.two_steps()
    made = []
    for work in scenario.work:
        name = "ampere_sgemm_128x64_tn" if work.name in (traces.GEMM, traces.DGRAD) else work.name
        made.append(replace(work, name=name, pageable=False if work.kind == "copy" else None))
        if work.name == traces.LOSS:
            made.append(replace(work, start=work.end, end=work.end + 5))
    return replace(scenario, work=made)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def compared(store: Path, capsys: pytest.CaptureFixture[str]) -> str:
    assert main(["compare", "before", "after", "--allow-unpaired", "--store", str(store)]) == 0
    return capsys.readouterr().out


def test_profiles_of_both_sides_explain_a_case_that_got_slower(store: Path, capsys: pytest.CaptureFixture[str]):
    profiled(a_run(store, "before", 1000.0), traces.two_steps())
    profiled(a_run(store, "after", 900.0), without_tensor_cores())
    out = compared(store, capsys)
    said = " ".join(out[out.index("What the profiles say") :].split())
    assert "they do not judge" in said
    assert "kernels per step 7.00 -> 8.00" in said
    assert "tensor cores 61.5% -> 0.0% of kernel time" in said
    assert "copied from pageable memory 3.8 MiB -> 0 B" in said
    assert "now among them: ampere_sgemm_128x64_tn" in said
    assert "no longer among the largest kernels: sm" in said


def test_profiles_change_no_verdict(store: Path, capsys: pytest.CaptureFixture[str]):
    before, after = a_run(store, "before", 1000.0), a_run(store, "after", 900.0)
    alone = compared(store, capsys)
    profiled(before, traces.two_steps())
    profiled(after, without_tensor_cores())
    out = compared(store, capsys)
    start = out.index("What the profiles say")
    assert alone.startswith(out[:start].rstrip())
    assert "profile" not in alone


def test_a_profile_that_cannot_be_read_is_one_that_is_missing(store: Path, capsys: pytest.CaptureFixture[str]):
    profiled(a_run(store, "before", 1000.0), traces.two_steps())
    after = a_run(store, "after", 900.0)
    profile_folder(after, 1).mkdir(parents=True)
    (profile_folder(after, 1) / "profile.json").write_text('{"schema": 99}')
    assert "What the profiles say" not in compared(store, capsys)
    assert stored_profiles(after) == {}


def test_runs_whose_ranges_a_profiler_took_are_not_compared_with_others(store: Path):
    sides = [
        side_of(load_run(a_run(store, name, 1000.0, emitter=state)), name)
        for name, state in (("watched", "forced"), ("alone", "off"))
    ]
    with pytest.raises(UsageError, match="cannot be compared: nvtx in 2 cases: forced and off"):
        refuse(compare_sides(*sides))
    older = side_of(load_run(a_run(store, "older", 1000.0)), "older")
    refuse(compare_sides(older, sides[1]))


def test_a_profiled_case_has_a_row_with_its_measured_step_time(store: Path):
    folder = a_run(store, "one", 1000.0)
    summary = profiled(folder, traces.two_steps(), index=2)
    run = summarise_run(load_run(folder))
    assert stored_profiles(folder) == {2: summary}
    section = profiles.section(View(run, name="one", profiles=stored_profiles(folder)))
    assert section is not None
    (table,) = section.tables
    (row,) = table.rows
    cells = {column.title: cell for column, cell in zip(table.columns, row.cells, strict=True)}
    assert row.case_index == 2
    assert cells["step ms"].text == "128.0"
    assert cells["profiled"].text == "x1.12"
    assert cells["GPU idle"].value == pytest.approx(540 / 2010)
    assert (cells["bound by"].text, cells["kernels a step"].text, cells["pageable"].text) == ("launch", "7", "3.8 MiB")
    assert cells["tensor cores"].text == "61.5%"
    assert cells["longest phase"].text == "forward 38.2%"
    assert cells["top kernel"].text.startswith("30.8% sm80_xmma_dgrad")
    assert [fact.name for fact in section.facts] == ["2 GB504", "2 GB503", "2 GB505"]
    assert plain(section.lines[1]) == "One in full: gpubench show one:2"


def test_a_run_without_profiles_has_no_section(store: Path):
    folder = a_run(store, "one", 1000.0)
    assert profiles.section(View(summarise_run(load_run(folder)), profiles=stored_profiles(folder))) is None


def test_a_profile_of_the_cpu_has_the_phases_of_the_host(store: Path):
    folder = a_run(store, "one", 1000.0)
    profiled(folder, traces.Scenario(spans=traces.two_steps().spans))
    section = profiles.section(View(summarise_run(load_run(folder)), profiles=stored_profiles(folder)))
    assert section is not None
    (table,) = section.tables
    assert "GPU idle" not in {column.title for column in table.columns}
    assert table.rows[0].cells[-1].text == "backward 35.0%"


def test_a_profiled_case_is_shown_with_its_profile(store: Path, capsys: pytest.CaptureFixture[str]):
    folder = a_run(store, "one", 1000.0)
    profiled(folder, traces.two_steps(), index=2)
    (profile_folder(folder, 2) / "trace.json.gz").write_bytes(b"")
    assert main(["show", "one:2", "--store", str(store)]) == 0
    shown = capsys.readouterr().out
    assert "Where a step goes" in shown
    assert str(profile_folder(folder, 2) / "trace.json.gz") in shown
    assert main(["show", "one:1", "--store", str(store)]) == 0
    assert "Where a step goes" not in capsys.readouterr().out


@pytest.mark.slow
def test_the_report_of_a_run_holds_its_profiles(store: Path):
    folder = a_run(store, "one", 1000.0)
    profiled(folder, traces.two_steps())
    assert main(["report", "one", "--store", str(store)]) == 0
    for name in ("report.md", "report.html"):
        assert "Profiles: where a step goes" in (folder / name).read_text()


def test_every_section_of_a_run_on_the_screen_includes_its_profiles(store: Path, capsys: pytest.CaptureFixture[str]):
    profiled(a_run(store, "one", 1000.0), traces.two_steps())
    assert main(["show", "one", "--store", str(store)]) == 0
    assert "Profiles: where a step goes" not in capsys.readouterr().out
    assert main(["show", "one", "--all", "--store", str(store)]) == 0
    assert "Profiles: where a step goes" in capsys.readouterr().out
