"""What `gpubench run suites/cnn.yaml` ends with: forty lines at 100 columns, with and without a GPU."""

import re
from types import SimpleNamespace

import pytest
from fakes.matrix import throughput
from fakes.runs import ENVIRONMENT, NO_DRIVER, NO_GPU_ENVIRONMENT, FakeRun, Invented, in_turns
from fakes.stored import stored
from fakes.terminal import WIDTHS, broken_lines

from gpubench.cli.run_arms import AskedArms
from gpubench.cli.run_ending import RunEnding
from gpubench.core.findings import Finding, finding
from gpubench.core.records import Status
from gpubench.report.model.report_model import Remark, plain
from gpubench.report.render import result_screen
from gpubench.runner.run import RunOutcome
from gpubench.store.run_reader import Run
from gpubench.suite.load import load_suite

NOISY = (
    finding("GB203", "Measuring stopped with the median at ±7.2%.", rel_half_width=0.072, target_rel_ci=0.01),
    finding("GB202", "Step time drifted by +12.3% over the window.", drift=0.123),
    finding("GB205", "The process waited for a CPU 30% of the time it wanted one.", ratio=1.43),
    finding("GB208", "390 steady steps are worth 4 independent ones."),
    finding("GB204", "12 of 424 steps took longer.", excess_share=0.01),
)
BUSY = {"share": 0.71, "programs": [{"pid": 4242, "name": "python3", "share": 0.67}]}


def cnn_run(*, gpu: bool, spread: float = 0.004, findings: tuple[Finding, ...] = (), busy: bool = False) -> FakeRun:
    """Every case of the suite with invented figures; without a GPU its cases are skipped."""
    made = Invented()
    for case in load_suite("cnn").cases:
        settings = case.settings
        label = f"{case.mode} {case.device} {case.precision} b{case.batch_size} {case.cudnn_benchmark}"
        if settings["device"] == "cuda" and not gpu:
            made.plan(label, skip=(Status.SKIPPED, f"no CUDA device: {NO_DRIVER}"), **settings)
        else:
            made.measured(label, throughput(case), spread=spread, findings=findings, **settings)
    for device in ("cpu", "cuda"):
        for precision in ("fp32", "amp-bf16"):
            same = {"device": device, "precision": precision}
            if device == "cuda" and not gpu:
                skip = (Status.SKIPPED, f"no CUDA device: {NO_DRIVER}")
                made.plan(f"quality {device} {precision}", kind="quality", mode="train", skip=skip, **same)
            else:
                made.trained(f"quality {device} {precision}", 0.97, **same)
    environment = {**(ENVIRONMENT if gpu else NO_GPU_ENVIRONMENT), "others": BUSY if busy else None}
    return made.run(environment=environment)


RUNS = {
    "a GPU": lambda: in_turns(cnn_run(gpu=True)),
    "a GPU, noisy": lambda: in_turns(cnn_run(gpu=True, spread=0.2, findings=NOISY, busy=True), noise=0.2),
    "no GPU": lambda: in_turns(cnn_run(gpu=False)),
    "no GPU, noisy": lambda: cnn_run(gpu=False, spread=0.2, findings=NOISY, busy=True),
}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    folder = tmp_path_factory.mktemp("work")
    return {
        name: stored(make(), folder / f"runs{number}" / "20261123-1602-cnn-7f3a")
        for number, (name, make) in enumerate(RUNS.items())
    }


def screen(run: Run, width: int, capsys: pytest.CaptureFixture[str], patch: pytest.MonkeyPatch) -> str:
    patch.setenv("COLUMNS", str(width))
    patch.setenv("GPUBENCH_STORE", str(run.folder.parent))
    capsys.readouterr()
    ending = RunEnding(False, False, False, False, AskedArms(), None)
    ending.after(RunOutcome(run.folder, run.info, interrupted=False), run.folder.parent)
    return capsys.readouterr().out.replace(str(run.folder.parent), "reports")


@pytest.mark.parametrize("name", RUNS)
def test_the_screen_of_the_main_suite_has_forty_lines(runs, name, capsys, monkeypatch):
    said = screen(runs[name], 100, capsys, monkeypatch)
    assert len(said.splitlines()) <= 40
    order = ["Result: ", "Training on the ", "samples/s  ", "What to switch on", "Next    gpubench show"]
    assert [said.index(each) for each in order] == sorted(said.index(each) for each in order)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("name", RUNS)
def test_the_screen_breaks_no_word(runs, name, width, capsys, monkeypatch):
    said = screen(runs[name], width, capsys, monkeypatch)
    assert broken_lines(said, width) == []


def test_a_busy_machine_is_named_first_and_findings_by_what_they_explain(runs, capsys, monkeypatch):
    said = re.sub(r"\s+", " ", screen(runs["no GPU, noisy"], 100, capsys, monkeypatch))
    assert "Busy machine: other programs took 71% of the CPUs (python3, pid 4242: 67%) as the run began." in said
    assert said.index("Busy machine") < said.index("Training on the CPU: ")
    shares = [int(share) for share in re.findall(r"(\d+)% of the interval", said)]
    assert len(shares) >= 2
    assert shares == sorted(shares, reverse=True)
    assert "no advice: " in said
    assert said.count("no advice") == 1


def test_what_is_skipped_is_one_line(runs, capsys, monkeypatch):
    said = screen(runs["no GPU"], 140, capsys, monkeypatch)
    (line,) = [line for line in said.splitlines() if "skipped:" in line]
    assert line == "  48 cases and 2 quality runs skipped: no CUDA device: no NVIDIA driver; show --all lists them."
    assert "cuda" not in said
    assert re.search(r"^ +mode +precision +best setting", said, re.MULTILINE), "no column of devices: there is but one"


def test_a_finding_that_explains_a_contradiction_comes_before_wide_intervals():
    explained = {"GB203": 0.6, "GB601": 0.0}
    remarks = [
        Remark("!", code, "name", "warning", "", "meaning", (), (f"remedy of {code}",), 2, explains=share)
        for code, share in explained.items()
    ]
    model = SimpleNamespace(section=lambda _: SimpleNamespace(remarks=remarks))
    said = [plain(each) for each in result_screen._what_to_do(model, lambda _: 1, 10)]
    assert ["GB601" in said[0], "GB203" in said[1]] == [True, True]
