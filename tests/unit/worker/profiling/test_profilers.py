"""What a profiled worker does and in which order, with a listener that takes notes and an allocator that is none."""

from contextlib import contextmanager, nullcontext

import pytest
import torch

from gpubench.protocol.profile_job import ProfileJob
from gpubench.suite.model.case import Case
from gpubench.worker.profiling import profiled_steps


class Notes:
    """Listener, step, device and allocator in one: `calls` is what happened, in order."""

    state, trace = "on", None

    def __init__(self):
        self.calls = []

    def step(self):
        self.calls.append("step")

    def wait(self):
        self.calls.append("wait")

    def phase(self, name):
        return nullcontext()

    def marked(self, step):
        def run():
            self.calls.append("marked")
            step()

        return run

    @contextmanager
    def capturing(self, step, wait):
        self.calls.append("open")
        yield
        self.calls.append("close")

    def _record_memory_history(self, enabled="all", **_):
        self.calls.append("record" if enabled else "stop recording")

    def _dump_snapshot(self, path):
        self.calls.append(f"dump {path}")


def job(folder, **fields):
    given = {"tool": "nsys", "case": Case(), "steps": 2, "warmup_steps": 3, "warmup_s": 0, "folder": folder, **fields}
    return ProfileJob(**given)


def test_warm_up_and_a_timed_run_come_before_exactly_the_steps_that_are_captured(tmp_path):
    notes = Notes()
    result = profiled_steps._capture(job(tmp_path), notes, notes.step, notes.wait)
    steps = ["step"] * 3 + ["wait"] + ["step"] * 2 + ["wait"]
    assert notes.calls == [*steps, "open", "marked", "step", "marked", "step", "wait", "close"]
    assert (result.steps, result.num_warmup, result.emitter, result.memory) == (2, 3, "on", None)
    assert result.step_time_s > 0
    assert result.step_time_before_s > 0


def test_allocations_are_recorded_around_the_capture_and_written(tmp_path, monkeypatch: pytest.MonkeyPatch):
    notes = Notes()
    monkeypatch.setattr(torch.cuda, "memory", notes)
    wanted = job(tmp_path, memory=True, case=Case(device="cuda"))
    result = profiled_steps._capture(wanted, notes, notes.step, notes.wait)
    inside = notes.calls[notes.calls.index("record") :]
    assert (inside[1], inside[-3:]) == ("open", ["close", f"dump {tmp_path / 'memory.pickle'}", "stop recording"])
    assert result.memory == str(tmp_path / "memory.pickle")


def test_no_allocations_are_recorded_on_the_cpu(tmp_path, monkeypatch: pytest.MonkeyPatch):
    notes = Notes()
    monkeypatch.setattr(torch.cuda, "memory", notes)
    assert profiled_steps._capture(job(tmp_path, memory=True), notes, notes.step, notes.wait).memory is None
    assert "record" not in notes.calls


def test_a_wrong_command_line_is_said(capsys):
    assert profiled_steps.main([]) == 2
    assert "usage: python -m gpubench.worker.profiling.profiled_steps JOB.json" in capsys.readouterr().err


def test_a_failing_case_is_a_result_with_its_reason(tmp_path):
    broken = job(tmp_path, case=Case(workload="no_such_module:Thing"))
    (tmp_path / "job.json").write_text(broken.model_dump_json())
    assert profiled_steps.main([str(tmp_path / "job.json")]) == 1
    text = (tmp_path / "worker.json").read_text()
    assert '"failed"' in text
    assert "no_such_module" in text


def test_memory_that_ran_out_in_a_capture_is_told_as_such(tmp_path, monkeypatch: pytest.MonkeyPatch):
    def build(*_):
        try:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nMore.")
        finally:
            raise RuntimeError("CUDA error: operation failed due to a previous error during capture")

    monkeypatch.setattr(profiled_steps, "_run", build)
    result = profiled_steps.run(job(tmp_path))
    assert (result.status, result.reason) == ("oom", "CUDA out of memory. Tried to allocate 2.00 GiB.")


def test_a_reason_is_one_line(tmp_path):
    def build(*_):
        raise ValueError("too wide\nwith a picture\nof it")

    assert profiled_steps.run(job(tmp_path), build).reason == "ValueError: too wide"
