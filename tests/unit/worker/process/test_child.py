"""Jobs in this process, with a list in place of the pipe."""

import errno
import itertools
import signal
import sys
import time
import tracemalloc

import pytest
import torch
from fakes.hosting import FAKES, QUICK, Messages
from fakes.slim import slim_module

from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure, QualitySettings
from gpubench.worker import accelerator, effective_settings
from gpubench.worker.checks import after_steps
from gpubench.worker.job import Stop
from gpubench.worker.process.child import run_job
from gpubench.worker.timing.launch_figures import INPUT_BOUND_SHARE


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run(workload, **settings)` -> its messages; fields of `Case` and of `Job` are told apart by name."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(workload="workloads:Sleeper", stop=None, **asked):
        fields = {name: asked.pop(name) for name in list(asked) if name in Case.model_fields}
        case = Case(workload=workload, **fields)
        asked = {"measure": QUICK, "search_path": (FAKES,), **asked}
        job = Job(job=1, case=case, log=str(tmp_path / "log"), **asked)
        messages = Messages()
        run_job(job, messages, stop=stop)
        return messages

    return run


def _codes(message):
    return {finding.code for finding in message.findings}


READS = """\
from pathlib import Path

class Reads:
    def build(self, case, device):
        width = int(Path(__file__).with_name("width.txt").read_text())
        return lambda: sum(range(width * 1000))
"""


def test_what_a_target_reads_beside_its_file_is_part_of_it(run, tmp_path, monkeypatch):
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "reads.py").write_text(READS)
    (tmp_path / "sub" / "width.txt").write_text("4")
    monkeypatch.chdir(tmp_path)
    result = run("sub/reads.py:Reads", search_path=())[-1]
    assert {*result.data_files} == {str(tmp_path / "sub" / "width.txt")}


def test_a_workload_says_what_a_step_is(run):
    result = run("workloads:Counts")[-1]
    assert result.window.num_samples == 7 * result.window.num_steps
    assert result.metrics["throughput"] == pytest.approx(7 / result.metrics["step_time_s"])
    assert result.metrics["achieved_flops"] == pytest.approx(1000 * result.metrics["throughput"])
    assert "GB308" not in _codes(result)


@pytest.mark.parametrize(
    ("workload", "reason"),
    [
        ("Coroutine", "`build` of workloads:Coroutine returned a function that returns a coroutine"),
        ("Lazy", "A step returned an iterator (map), so it did not do its work."),
        ("NoStep", "`build` of workloads:NoStep returned int, not a function."),
    ],
)
def test_a_step_that_only_promises_its_work_is_a_failed_row(run, workload, reason):
    failed = run(f"workloads:{workload}")[-1]
    assert (failed.type, failed.status) == ("failed", "failed")
    assert failed.reason.startswith(reason)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("begin", "end", "name"),
    [
        (tracemalloc.start, tracemalloc.stop, "tracemalloc"),
        (lambda: sys.setprofile(lambda *_: None), lambda: sys.setprofile(None), "a profile function of"),
        (
            lambda: torch.autograd.set_detect_anomaly(True),
            lambda: torch.autograd.set_detect_anomaly(False),
            "torch's anomaly detection",
        ),
    ],
    ids=["tracemalloc", "profile", "anomaly"],
)
def test_what_watches_the_process_is_found(run, monkeypatch, begin, end, name):
    monkeypatch.syspath_prepend(FAKES)
    import workloads

    monkeypatch.setattr(workloads.Meddler, "meddle", staticmethod(begin))
    try:
        result = run("workloads:Meddler", learning_rate=1)[-1]
    finally:
        end()
    (found,) = (each for each in result.findings if each.code == "GB108")
    assert name in found.message
    assert "GB108" not in _codes(run("workloads:Meddler")[-1])


@pytest.mark.parametrize(
    ("workload", "batch_size", "samples"),
    [("Loads", 4, 3), ("Loads", 3, 3), ("LoadsStream", 4, 3), ("LoadsStream", 3, 3), ("CountsItself", 4, 3)],
)
def test_a_partial_last_batch_counts_as_what_it_holds(run, workload, batch_size, samples):
    """At least ten steps, so that one batch more or less is within the tenth."""
    measure = QUICK.model_copy(update={"max_time": 8.0})
    result = run(f"torch_workloads:{workload}", mode="infer", batch_size=batch_size, measure=measure)[-1]
    assert result.metrics["throughput"] * result.metrics["step_time_s"] == pytest.approx(samples, rel=0.1)
    assert result.window.num_samples / result.window.num_steps == pytest.approx(samples, rel=0.1)
    assert ("GB312" in _codes(result)) is (samples < batch_size and workload != "CountsItself")
    assert not any("samples per step" in each.message for each in result.findings)


@pytest.mark.parametrize(("workload", "batch_size"), [("LoadsStreamOfRows", 4), ("LoadsLess", 3)])
def test_batches_that_do_not_show_the_case_s_samples_are_not_seen(run, workload, batch_size):
    result = run(f"torch_workloads:{workload}", mode="infer", batch_size=batch_size)[-1]
    (found,) = (each for each in result.findings if "samples per step" in each.message)
    assert (found.code, found.data["settings"]) == ("GB311", ["samples per step"])


def test_less_work_than_was_timed_is_found(run):
    result = run("workloads:Miscounts")[-1]
    assert "GB308" in _codes(result)


@pytest.mark.slow
def test_every_metric_that_is_none_has_its_reason(run):
    for asked in ({}, {"mode": "infer", "timing": "latency"}, {"measure": Measure(min_steps=5, max_steps=5)}):
        result = run(**asked)[-1]
        missing = {name for name, value in result.metrics.items() if value is None}
        assert missing == set(result.absent)
        assert all(result.absent.values())


def test_metrics_are_those_of_the_registry(run):
    from gpubench.core.metrics import METRICS

    assert set(run("cnn", image_size=8, batch_size=4, parity=True)[-1].metrics) <= set(METRICS)


def test_phases_and_their_marks_follow_each_other(run):
    messages = run("cnn", image_size=8, batch_size=4, parity=True)
    phases = [message for message in messages if message.type == "phase"]
    assert [phase.name for phase in phases] == ["build", "warmup", "measuring", "checking", "closing", "parity"]
    marks = messages[-1].marks
    edges = [marks[f"phase_{phase.name}_s"] for phase in phases]
    assert all(left[1] == right[0] for left, right in itertools.pairwise(edges))
    assert [edge[0] for edge in edges] == [phase.at_s for phase in phases]
    window = messages[-1].window
    assert marks["phase_warmup_s"][0] <= window.start_s < window.end_s <= marks["phase_measuring_s"][1]


def test_cold_figures_add_up(run):
    result = run()[-1]
    first = result.marks["first_steps_s"]
    assert result.metrics["first_step_s"] == first[0]
    assert result.metrics["warmup_steps"] == result.series.num_warmup
    assert result.metrics["build_s"] >= 0
    assert result.metrics["time_to_steady_s"] >= sum(first[: result.series.num_warmup]) * (1 - 1e-9)


@pytest.mark.slow
def test_a_very_slow_step_still_gives_a_figure(run):
    result = run("workloads:Slow", measure=Measure(min_time=0.1, max_time=0.3))[-1]
    assert (len(result.step_times_s), result.series.num_steady) == (2, 1), "the first step is cold"
    assert result.metrics["throughput"] > 0
    assert "GB208" in _codes(result)


def test_a_stop_while_settings_are_read_back_leaves_no_false_finding(run, monkeypatch):
    """The steps that were counted are those of the series, whenever the request to stop comes."""
    stop, read_back = Stop(), effective_settings.read_back

    def stopping(*arguments):
        stop.requested = True
        return read_back(*arguments)

    monkeypatch.setattr(effective_settings, "read_back", stopping)
    result = run("workloads:Counts", stop=stop)[-1]
    assert (result.interrupted, len(result.step_times_s) >= 5) == (True, True)
    assert "GB308" not in _codes(result)


def test_latency_is_timed_request_by_request_with_its_floor(run):
    result = run(mode="infer", timing="latency")[-1]
    assert (result.series.timing, result.series.group) == ("latency", 1)
    assert result.metrics["latency_s"] >= 0.004
    assert 0 < result.metrics["latency_floor_s"] < result.metrics["latency_s"]


def test_input_wait_is_that_of_the_timed_steps(run):
    result = run("workloads:Waits")[-1]
    assert result.metrics["input_wait_s"] == 0.002
    share = result.metrics["input_wait_share"]
    assert 0.002 / max(result.step_times_s) <= share <= 0.002 / min(result.step_times_s) <= 0.5
    assert result.series.bound == ("input" if share >= INPUT_BOUND_SHARE else "cpu"), (
        "a busy machine makes steps longer"
    )


def test_a_workload_without_a_reference_is_unverified(run):
    result = run(parity=True)[-1]
    assert result.parity is None
    assert "GB306" in _codes(result)
    assert "GB306" not in _codes(run(parity=False)[-1])


def test_a_parity_check_that_fails_to_run_is_reported_and_keeps_the_figures(run, capfd):
    result = run("workloads:ParityRaises", parity=True)[-1]
    assert result.type == "result"
    assert result.metrics["throughput"] > 0
    assert "no reference today" in next(each.message for each in result.findings if each.code == "GB306")
    assert "Traceback" in capfd.readouterr().err


def test_a_workload_that_cannot_be_closed_keeps_its_figures(run, capfd):
    result = run("workloads:CloseRaises")[-1]
    assert result.metrics["throughput"] > 0
    assert "GB102" in _codes(result)
    assert "the loader is stuck" in capfd.readouterr().err


def test_a_close_that_hangs_is_given_up(monkeypatch):
    class Hangs:
        def close(self):
            time.sleep(60)

    monkeypatch.setattr(after_steps, "CLOSE_TIMEOUT_S", 0.05)
    before = signal.getsignal(signal.SIGALRM)
    assert [each.code for each in after_steps.close(Hangs())] == ["GB102"]
    assert signal.getsignal(signal.SIGALRM) is before


def test_an_unknown_workload_is_a_failure_that_says_what_there_is(run, capfd):
    failed = run("workloads:Sleper")[-1]
    assert failed.status == "failed"
    assert "Sleeper" in failed.reason
    assert failed.failure.phase == "build"
    assert "Traceback" in capfd.readouterr().err


def test_a_raise_in_build_is_a_failure_in_build(run, capfd):
    failed = run("workloads:RaisesInBuild")[-1]
    assert (failed.failure.phase, failed.failure.message) == ("build", "no such model")
    assert "no such model" in capfd.readouterr().err


def test_what_the_device_cannot_do_is_unsupported_before_anything_is_built(run):
    messages = run("cnn", precision="tf32")
    assert (messages[-1].status, [each.type for each in messages]) == ("unsupported", ["phase", "failed"])


def test_a_stop_before_the_first_step_is_an_interrupted_result_without_figures(run):
    stop = Stop()
    stop.requested = True
    result = run(stop=stop)[-1]
    assert (result.interrupted, result.series, result.metrics) == (True, None, {})
    assert result.absent == {"step_time_s": "it was stopped before its first step ended"}


def test_the_quality_stage_reports_what_training_came_to(run):
    quality = QualitySettings(epochs=1, data="digits", target_accuracy=1.0)
    messages = run("cnn", kind="quality", quality=quality, image_size=8)
    result = messages[-1]
    assert result.type == "result", result
    assert result.metrics["accuracy"] == result.quality.accuracy
    assert result.metrics["time_to_accuracy_s"] is None
    assert "not reached" in result.absent["time_to_accuracy_s"]
    assert {message.name for message in messages if message.type == "phase"} == {"training", "evaluating"}
    assert result.series is None
    assert (result.effective.precision, result.effective.optimizer) == ("fp32", "adam")


def test_a_setting_that_training_changes_fails_the_quality_stage(run, monkeypatch):

    from gpubench.worker.quality import trainer

    evaluated = trainer.evaluated

    def meddling(*arguments, **more):
        torch.backends.cudnn.deterministic = True
        return evaluated(*arguments, **more)

    monkeypatch.setattr(trainer, "evaluated", meddling)
    failed = run("cnn", kind="quality", quality=QualitySettings(epochs=1, data="digits"), image_size=8)[-1]
    assert (failed.type, failed.status, _codes(failed)) == ("failed", "failed", {"GB301"})
    assert failed.effective.cudnn_deterministic is True


def test_a_stopped_quality_stage_has_no_result(run):
    stop = Stop()
    stop.requested = True
    result = run("cnn", kind="quality", quality=QualitySettings(epochs=1, data="digits"), image_size=8, stop=stop)[-1]
    assert (result.interrupted, result.quality) == (True, None)
    assert result.absent["accuracy"]


def test_parity_comes_when_the_step_and_what_it_holds_are_gone(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "slim", slim_module(num_steps=1))
    result = run("slim:Slim", parity=True)[-1]
    assert result.parity is not None, result.absent
    assert result.parity.passed


def test_a_log_that_takes_no_more_does_not_cost_the_row(run, monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("traceback.print_exception", full)
    failed = run("workloads:Raises")[-1]
    assert (failed.type, failed.status) == ("failed", "failed")
    assert failed.reason.endswith("; its log could not be written: no space left on device")


def test_a_device_that_cannot_be_asked_any_more_does_not_cost_the_row(run, monkeypatch):
    class Broken(accelerator.Accelerator):
        def problem(self):
            raise RuntimeError("CUDA error: an illegal memory access was encountered")

        memory = property(problem)

    monkeypatch.setitem(accelerator.ACCELERATORS, "cpu", Broken)
    failed = run("workloads:Raises")[-1]
    assert (failed.type, failed.failure.allocated_bytes) == ("failed", None)
    assert failed.reason.endswith("an illegal memory access was encountered")


@pytest.mark.parametrize(("settings", "codes"), [({}, {"GB320"}), ({"compile": "default"}, set())])
def test_a_model_that_compiles_itself_is_told_where_the_case_says_that_it_is_not_compiled(
    run, monkeypatch, settings, codes
):
    monkeypatch.setattr(after_steps, "graphs_made", lambda: 2)
    monkeypatch.setitem(sys.modules, "torch._dynamo", torch)
    assert _codes(run("workloads:Sleeper", **settings)[-1]) & {"GB320"} == codes
