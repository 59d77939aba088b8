"""`gpubench tune` on scripted workers: what it finds, prints, stores and refuses. The speeds are made up."""

import math

import pytest
from fakes.runs import a_parity, a_quality, absent, effective, metrics, series
from fakes.scripted_host import fails, measures
from fakes.scripted_workers import VERSIONS, script_the_workers

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.protocol.messages import Result, Turns
from gpubench.store.run_reader import load_run
from gpubench.suite.load import load_suite
from gpubench.suite.model.case import Case

SUITE = """schema: 1
name: mine
defaults: {workload: cnn, device: cpu, batch_size: 16}
matrix:
  precision: [fp32, amp-bf16]
  memory_format: [contiguous, channels_last]
  batch_size: [16, 32, 64]
"""
BEST = {"precision": "amp-bf16", "memory_format": "channels_last", "batch_size": 64}


def rate(case):
    """Samples per second: precision 2x, layout 1.4x, a doubled batch 1.1x."""
    found = 1000.0 * (2.0 if case.precision == "amp-bf16" else 1.0) * (1.4 if case.layout == "NHWC" else 1.0)
    return found * 1.1 ** math.log2(case.batch / 16)


class Workers:
    """`broken` says which cases fail, `wrong` which give a wrong output, `accuracy` what a training run reaches."""

    def __init__(self):
        self.jobs = []
        self.broken = self.wrong = lambda _: False
        self.accuracy = lambda _: 0.95

    def __call__(self, job):
        self.jobs.append(job)
        if job.kind == "quality":
            return measures(1.0, Result(effective=effective(job.case), quality=a_quality(self.accuracy(job.case))))
        if job.kind == "contest":
            speeds = {arm.name: math.log(rate(arm.case)) for arm in job.arms}
            twin = speeds[job.arms[0].name] if job.twin else None
            return measures(1.0, Result(turns=Turns(num_turns=30, log_speeds=speeds, twin=twin, threads=2)))
        if self.broken(job.case):
            return fails("unsupported", "no such units here")
        step_s = job.case.batch / rate(job.case)
        return measures(
            1.0,
            Result(
                effective=effective(job.case).model_copy(update={"versions": dict(VERSIONS)}),
                series=series(job.case, step_s),
                metrics=metrics(job.case, step_s),
                absent=absent(job.case),
                parity=a_parity(job.case, passed=not self.wrong(job.case)),
            ),
        )

    @property
    def launched(self):
        return [job.case for job in self.jobs if job.kind == "measure"]


@pytest.fixture
def workers(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine.yaml").write_text(SUITE)
    found = Workers()
    script_the_workers(monkeypatch, found)
    return found


def tune(*options):
    return main(["tune", "mine.yaml", "--seed", "1", "--out", "run", "--no-report", *options])


def test_it_finds_the_fastest_and_prints_the_path_to_it(workers, tmp_path, capsys):
    assert tune() == ExitStatus.OK
    said = capsys.readouterr().out
    assert " 3.39x (" in said
    assert "parity ok" in said
    path = said[: said.index("Ruled out")]
    assert path.index("amp-bf16") < path.index("NHWC", path.index("amp-bf16")) < path.index("b64")
    assert "torch.autocast" in said
    assert len(said.splitlines()) <= 40
    assert max(map(len, said.splitlines())) <= 100


def test_the_record_is_a_run_that_other_commands_read(workers, tmp_path, capsys):
    tune("--tag", "tuned")
    stored = load_run(tmp_path / "run")
    assert {record.case_index for record in stored.records} == {case.index for case in stored.info.cases}
    assert len(stored.contests) >= 3
    capsys.readouterr()
    assert main(["show", "run"]) == ExitStatus.OK
    assert main(["compare", "run", "run"]) == ExitStatus.OK


def test_the_suite_that_it_writes_holds_the_start_and_the_best(workers, tmp_path):
    tune()
    loaded = load_suite(tmp_path / "run" / "tuned.yaml")
    assert [case.settings for case in loaded.cases] == [
        Case(device="cpu", batch_size=16).settings,
        Case(device="cpu", **BEST).settings,
    ]


def test_a_setting_whose_output_is_wrong_never_wins(workers, capsys):
    workers.wrong = lambda case: case.precision == "amp-bf16"
    assert tune() == ExitStatus.OK
    said = capsys.readouterr().out
    assert " 1.69x (" in said
    assert "amp-bf16                 wrong: its output is off by" in said


def test_a_setting_that_cannot_run_is_ruled_out_with_the_reason(workers, capsys):
    workers.broken = lambda case: case.layout == "NHWC"
    tune()
    assert "unsupported: no such units here" in capsys.readouterr().out
    assert len([case for case in workers.launched if case.layout == "NHWC"]) == 1


def test_a_precision_that_loses_accuracy_is_ruled_out(workers, capsys):
    workers.accuracy = lambda case: 0.80 if case.precision == "amp-bf16" else 0.95
    assert tune("--quality") == ExitStatus.OK
    said = capsys.readouterr().out
    assert " 1.69x (" in said
    assert "ruled out by its score" in said


def test_an_accuracy_that_holds_is_printed(workers, capsys):
    tune("--quality")
    assert "score     accuracy 95.0%, against 95.0% at the start" in capsys.readouterr().out


def test_only_the_axes_that_are_named_are_tried(workers):
    tune("--axis", "precision")
    assert {(case.layout, case.batch) for case in workers.launched} == {("NCHW", 16)}
    assert {case.precision for case in workers.launched} == {"fp32", "amp-bf16"}


def test_a_price_is_turned_into_money_per_sample(workers, capsys):
    tune("--objective", "cost", "--price", "3.6/h")
    assert "per million samples" in capsys.readouterr().out


def test_where_every_setting_fails_it_says_why(workers, capsys):
    workers.broken = lambda _: True
    assert tune() == ExitStatus.CASE_FAILED
    assert "No setting gave a valid figure: unsupported: no such units here." in capsys.readouterr().err


def test_energy_without_a_meter_is_an_error_that_names_what_is_missing(workers, capsys):
    assert tune("--objective", "energy") == ExitStatus.USAGE
    said = capsys.readouterr().err
    assert "--objective energy needs energy_per_sample_j, which this machine does not measure" in said


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("-s", "precision=fp32", "-s", "memory_format=NCHW", "-s", "batch_size=16"), "There are no settings to try"),
        (("-s", "mode=train,infer"), "The cases differ in mode (train, infer)"),
        (("--axis", "precison"), "'precison' is not a setting to tune."),
        (("--objective", "cost"), "--objective cost needs --price"),
        (("--price", "2.5"), "expected money per hour"),
        (("-s", "device=cuda"), "Nothing can be measured here: no CUDA device"),
    ],
)
def test_what_cannot_be_tuned_is_refused(workers, capsys, options, said):
    assert tune(*options) == ExitStatus.USAGE
    assert said in " ".join(capsys.readouterr().err.split())
    assert not workers.launched


def stop(_):
    raise KeyboardInterrupt


def test_a_search_that_was_cut_short_goes_on(workers, tmp_path, capsys):
    calls = []
    workers.broken = lambda case: calls.append(case) is None and len(calls) == 6 and stop(case)
    assert tune() == ExitStatus.INTERRUPTED
    num = len(load_run(tmp_path / "run").records)
    workers.broken = lambda _: False
    capsys.readouterr()
    assert main(["tune", "--resume", "run", "--no-report"]) == ExitStatus.OK
    assert " 3.39x (" in capsys.readouterr().out
    first = [record for record in load_run(tmp_path / "run").records if record.repeat == 1]
    assert len(first) == len({record.case_index for record in first}) >= num


def test_a_search_is_not_resumed_as_a_run(workers, capsys):
    tune()
    assert main(["run", "--resume", "run"]) == ExitStatus.USAGE
    assert "gpubench tune --resume run" in capsys.readouterr().err


def test_a_budget_that_is_too_small_is_said(workers, capsys):
    assert tune("--budget", "0.001s") == ExitStatus.CASE_FAILED
    out, err = capsys.readouterr()
    assert "budget was used up" in err
    assert "More    gpubench tune --resume run --budget 10m\n" in out


@pytest.mark.parametrize(
    ("launched", "said"), [(1, "before a second setting was measured."), (3, "nothing is faster than the start so far")]
)
def test_a_search_that_is_not_over_says_so_and_how_to_go_on(workers, capsys, launched, said):
    calls = []
    workers.broken = lambda case: (
        calls.append(case) is None and ((len(calls) > launched and stop(case)) or len(calls) > 1)
    )
    tune()
    capsys.readouterr()
    workers.broken = lambda _: True
    main(["tune", "--resume", "run", "--no-report", "--budget", "0.001s"])
    out, err = capsys.readouterr()
    assert said in out + err
    assert "More    gpubench tune --resume run --budget 10m\n" in out
