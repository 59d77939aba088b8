"""The exit status of `gpubench run`, of hand-made runs that are over."""

from pathlib import Path

import pytest
from fakes.gate_runs import HandMade, two_arms

from gpubench.cli.run_arms import AskedArms
from gpubench.cli.run_ending import RunEnding
from gpubench.core.findings import finding
from gpubench.core.records import Status
from gpubench.runner.run import RunOutcome
from gpubench.store.run_reader import load_run


def ending(made: HandMade, store: Path, *, allow_empty: bool = False) -> int:
    folder = made.write(store, "over")
    end = RunEnding(False, False, True, False, AskedArms(), None, allow_empty=allow_empty)
    return end.after(RunOutcome(folder, load_run(folder).info, interrupted=False), store)


@pytest.mark.parametrize("status", [None, Status.SKIPPED, Status.UNSUPPORTED, Status.OOM])
def test_a_run_without_any_figure_is_3_unless_it_may_be_empty(tmp_path, capsys, status):
    made = HandMade()
    for batch_size in (1, 2):
        planned = made.plan(batch_size=batch_size)
        if status is not None:
            made.ended(planned, status, "the reason")
    assert ending(made, tmp_path) == 3
    assert "No case gave a valid figure" in capsys.readouterr().err
    assert ending(made, tmp_path / "again", allow_empty=True) == 0


def test_a_run_of_invalid_figures_is_3(tmp_path, capsys):
    made = HandMade()
    made.launches(made.plan(batch_size=1), 1000.0, findings=[finding("GB301", "tf32 was asked for, fp32 was used")])
    assert ending(made, tmp_path) == 3
    assert "No case gave a valid figure" in capsys.readouterr().err


def test_one_case_with_a_figure_is_enough(tmp_path):
    made = HandMade()
    made.measured(1000.0, batch_size=1)
    made.ended(made.plan(batch_size=2), Status.OOM, "out of memory")
    assert ending(made, tmp_path) == 0


def test_a_crash_is_3_whatever_may_be_empty(tmp_path):
    made = HandMade()
    made.ended(made.plan(batch_size=1), Status.FAILED, "segmentation fault")
    assert ending(made, tmp_path, allow_empty=True) == 3


def test_an_arm_without_any_figure_is_3(tmp_path, capsys):
    made = two_arms()
    planned = made.plan(batch_size=64)
    made.launches(planned, 1000.0, arm="base")
    made.ended(planned, Status.OOM, "out of memory", arm="head")
    assert ending(made, tmp_path) == 3
    assert "No case of arm head gave a valid figure" in capsys.readouterr().err


def test_a_price_is_on_the_screen_and_in_the_report_of_the_run(tmp_path, capsys):
    made = HandMade()
    made.measured(1000.0, batch_size=1)
    folder = made.write(tmp_path, "over")
    stored = load_run(folder)
    head = folder / "run.json"
    head.write_text(stored.info.model_copy(update={"price_per_hour": 3.6}).model_dump_json(by_alias=True))
    end = RunEnding(False, True, False, True, AskedArms(), None)
    assert end.after(RunOutcome(folder, stored.info, interrupted=False), tmp_path) == 0
    assert "M per money" in capsys.readouterr().out
    assert "Money: the price of the machine's time, 3.60 an hour" in (folder / "report.md").read_text()
