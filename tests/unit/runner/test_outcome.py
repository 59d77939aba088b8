import pytest

from gpubench.core.records import Failure, Series, Status
from gpubench.protocol.messages import Failed, Result
from gpubench.runner.launch.outcome import LaunchOutcome, last_error

SERIES = Series(
    clock="perf_counter",
    timing="throughput",
    num_total=60,
    num_warmup=10,
    num_steady=50,
    tau=1.0,
    n_effective=50.0,
    median_s=0.01,
)
DONE = Result(series=SERIES, metrics={"step_time_s": 0.01})


def judged(**fields):
    return LaunchOutcome(pid=7, phase="measuring", timeout_s=300.0, log="cases/1/1.log", **fields).judge()


def codes(found):
    return [entry.code for entry in found.findings]


def test_a_result_and_a_clean_end_is_ok():
    found = judged(answer=DONE, exit_code=0)
    assert (found.status, found.reason, found.failure, found.findings) == (Status.OK, None, None, ())


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exit_code": -11}, "SIGSEGV"),
        ({"exit_code": 3}, "exit status 3"),
        ({"exit_code": -9, "killed": "teardown"}, "did not end by itself"),
        ({"exit_code": 0, "garbage": "Invalid JSON"}, "cannot be a message (Invalid JSON)"),
    ],
)
def test_trouble_after_the_result_is_a_finding_and_the_figures_stand(fields, said):
    found = judged(answer=DONE, **fields)
    assert found.status is Status.OK
    assert codes(found) == ["GB102"]
    assert said in found.findings[0].message


def test_a_hang_is_explained_by_the_last_error_in_the_log(tmp_path):
    log = tmp_path / "log"
    log.write_text(
        "one\nRuntimeError: unable to allocate shared memory(shm) for file </torch_1>: No space left\n  end\n"
    )
    found = judged(exit_code=-9, killed="timeout", log_error=last_error(log))
    assert found.status is Status.TIMEOUT
    assert "/dev/shm is too small for the batches" in found.reason
    assert "RuntimeError: unable to allocate shared memory(shm)" in found.reason
    log.write_text("a line\nvalue: torch.distributed.DistError: a peer is gone\ntorch.distributed.DistError: gone\n")
    found = judged(exit_code=-9, killed="timeout", log_error=last_error(log))
    assert found.reason.endswith("; the last error in its log: torch.distributed.DistError: gone")
    assert "/dev/shm" not in found.reason


def test_a_log_without_an_error_explains_nothing(tmp_path):
    (tmp_path / "log").write_text("epoch 1\nErrors: 0\n")
    assert last_error(tmp_path / "log") is None
    assert last_error(tmp_path / "none") is None


def test_a_measurement_ended_early_says_so():
    early = DONE.model_copy(update={"interrupted": True})
    assert codes(judged(answer=early, exit_code=0, asked_to_stop="stop")) == ["GB104"]
    assert "time budget" in judged(answer=early, exit_code=0, asked_to_stop="budget").findings[0].message


def test_a_launch_stopped_before_its_first_step_has_nothing_to_store():
    nothing = Result(absent={"step_time_s": "it was ended before its first step was done"}, interrupted=True)
    assert judged(answer=nothing, exit_code=0, asked_to_stop="stop").status is None
    assert judged(answer=nothing, exit_code=0, asked_to_stop="budget").status is None
    assert judged(exit_code=-15, asked_to_stop="stop").status is None
    assert judged(exit_code=-9, killed="stop").status is None


def test_a_launch_that_another_program_stopped_failed():
    found = judged(answer=Result(interrupted=True), exit_code=0)
    assert found.status is Status.FAILED
    assert found.reason == "a signal from outside (SIGTERM) ended the process in measuring, before it had a figure"
    early = judged(answer=DONE.model_copy(update={"interrupted": True}), exit_code=0)
    assert (early.status, codes(early)) == (Status.OK, ["GB104"])
    assert "a signal from outside" in early.findings[0].message


def test_what_the_worker_says_of_its_failure_is_kept_and_its_log_is_named_inside_the_run_folder():
    failure = Failure(
        phase="warmup", error="OutOfMemoryError", message="CUDA out of memory", requested_bytes=2**30, log="/x/1.log"
    )
    found = judged(answer=Failed(status="oom", reason="out of memory in warmup", failure=failure), exit_code=0)
    assert (found.status, found.reason) == (Status.OOM, "out of memory in warmup")
    assert found.failure == failure.model_copy(update={"log": "cases/1/1.log"})


def test_a_time_out_names_the_limit_and_the_phase():
    found = judged(exit_code=-9, killed="timeout")
    assert found.status is Status.TIMEOUT
    assert found.reason == "no result within 5m 00s (it was in measuring)"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"exit_code": -11}, "SIGSEGV: a crash in native code"),
        ({"exit_code": -9}, "SIGKILL: killed from outside, as the kernel does when memory runs out"),
        ({"exit_code": 5}, "exit status 5"),
        ({"exit_code": -11, "torn": True}, "its last message is torn"),
        ({"exit_code": -9, "killed": "garbage", "garbage": "Invalid JSON"}, "what cannot be a message: Invalid JSON"),
        (
            {"host_lost": "worker host 12 ended (SIGKILL)"},
            "worker host 12 ended (SIGKILL) while the case was in measuring",
        ),
    ],
)
def test_a_process_that_dies_without_a_word_failed_and_the_reason_says_how(fields, said):
    found = judged(**fields)
    assert found.status is Status.FAILED
    assert said in found.reason
    assert found.failure.phase == "measuring"
    assert found.failure.log == "cases/1/1.log"
