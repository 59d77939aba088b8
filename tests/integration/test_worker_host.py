"""Real hosts and real children, on the CPU."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.hosting import HostUnderTest, is_alive
from fakes.workloads import SLEEP_S

from gpubench.core.findings import validity
from gpubench.protocol.messages import PROTOCOL_VERSION
from gpubench.suite.model.suite import Measure

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the host forks on Linux only")

LONG = Measure(min_time=60, max_time=100, min_steps=10_000)


@pytest.fixture(scope="module")
def host(tmp_path_factory):
    host = HostUnderTest(tmp_path_factory.mktemp("host"))
    yield host
    host.close()


def _gone(pid, seconds=20):
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline and is_alive(pid):
        time.sleep(0.02)
    return not is_alive(pid)


def _codes(message):
    return {finding.code for finding in message.findings}


def test_hello_tells_versions_and_why_there_is_no_cuda(host):
    hello = host.hello
    assert (hello.role, hello.version, hello.pid, hello.can_fork) == ("host", PROTOCOL_VERSION, host.process.pid, True)
    assert hello.python == sys.executable
    assert {"gpubench", "python", "torch", "torchvision", "cuda", "cudnn"} <= set(hello.versions)
    assert bool(hello.devices) != bool(hello.cuda_unavailable)


def test_a_job_starts_with_hello_and_ends_with_one_result(host):
    messages, exited = host.run()
    kinds = [message.type for message in messages]
    assert kinds[0] == "hello"
    assert kinds[-1] == "result"
    assert kinds.count("result") == 1
    assert set(kinds[1:-1]) <= {"phase", "progress"}
    assert exited.exit_code == 0
    names = [message.name for message in messages if message.type == "phase"]
    assert names == ["build", "warmup", "measuring", "checking", "closing"]


def test_steps_times_batch_over_time_is_the_throughput(host):
    messages, _ = host.run(batch_size=32)
    result = messages[-1]
    steady = result.step_times_s[result.series.num_warmup :]
    assert result.window.num_steps == len(steady)
    assert result.window.num_samples == 32 * len(steady)
    assert result.metrics["sustained_throughput"] == pytest.approx(32 * len(steady) / sum(steady), rel=1e-12)
    assert result.metrics["throughput"] == pytest.approx(32 / result.metrics["step_time_s"], rel=1e-12)
    # A sleep is never shorter than asked, and steps are no longer than their window: this holds sign, unit and count.
    assert result.metrics["throughput"] <= 32 / SLEEP_S
    assert 32 * len(steady) / result.window.duration_s <= result.metrics["sustained_throughput"]
    assert result.window.duration_s >= len(steady) * SLEEP_S


def test_the_child_is_leader_of_its_own_group(host):
    running = host.send(measure=LONG)
    pid = running.started().pid
    running.until("phase", name="measuring")
    assert os.getpgid(pid) == pid != os.getpgid(host.process.pid)
    os.killpg(pid, signal.SIGKILL)
    running.messages()
    assert running.exited().exit_code == -signal.SIGKILL


def test_the_host_stays_single_threaded_and_idle_while_a_child_runs(host):
    running = host.send(measure=LONG)
    pid = running.started().pid
    running.until("phase", name="measuring")
    assert len(list(Path(f"/proc/{host.process.pid}/task").iterdir())) == 1
    state = Path(f"/proc/{host.process.pid}/stat").read_text().rpartition(")")[2].split()[0]
    assert state == "S"
    os.killpg(pid, signal.SIGKILL)
    running.messages()
    running.exited()


def test_a_raising_workload_is_a_failed_row_with_its_traceback_in_the_log(host):
    messages, exited = host.run("workloads:Raises")
    failed = messages[-1]
    assert (failed.type, failed.status) == ("failed", "failed")
    assert failed.reason == "ZeroDivisionError: the third layer has no inputs"
    assert (failed.failure.phase, failed.failure.error) == ("warmup", "ZeroDivisionError")
    log = host.log_of(exited.job)
    assert "Traceback" in log
    assert "in _step" in log
    assert exited.exit_code == 0


def test_an_unsupported_case_is_no_failure(host):
    messages, _ = host.run("workloads:Cannot")
    assert (messages[-1].type, messages[-1].status) == ("failed", "unsupported")
    assert messages[-1].reason == "this workload needs a device with wheels"
    assert messages[-1].failure is None


def test_sys_exit_in_a_workload_is_a_failure_that_says_so(host):
    messages, exited = host.run("workloads:Exits")
    assert messages[-1].status == "failed"
    assert "sys.exit(3)" in messages[-1].reason
    assert exited.exit_code == 0


def test_a_hard_exit_leaves_no_result_and_its_status(host):
    messages, exited = host.run("workloads:ExitsHard")
    assert messages[-1].type == "phase"
    assert exited.exit_code == 5


def test_what_a_workload_prints_never_reaches_the_messages(host):
    messages, exited = host.run("workloads:Prints")
    assert messages[-1].type == "result"
    assert "GB103" in _codes(messages[-1])
    assert host.log_of(exited.job) == '{"type": "result"}\nfrom below\n'


@pytest.mark.parametrize("workload", ["torch_workloads:Grows", "workloads:GrowsInPython"])
def test_allocating_without_end_is_an_oom_row(host, workload):
    messages, exited = host.run(workload, measure=LONG)
    failed = messages[-1]
    assert (failed.type, failed.status) == ("failed", "oom"), failed
    assert failed.failure.phase in ("warmup", "measuring")
    assert exited.exit_code == 0
    if workload == "torch_workloads:Grows":
        assert failed.failure.requested_bytes == 512 * 2**20
        assert failed.reason == f"out of memory in {failed.failure.phase} (asked for 512 MiB)"


def test_a_segfault_ends_the_child_and_not_the_host(host):
    messages, exited = host.run("workloads:Segfaults")
    assert messages[-1].type == "phase"
    assert exited.exit_code == -signal.SIGSEGV
    assert host.run()[0][-1].type == "result"


def test_not_finite_is_invalid(host):
    result = host.run("workloads:NotFinite")[0][-1]
    assert {"GB302", "GB303", "GB304"} <= _codes(result)
    assert validity(result.findings) == "invalid"


def test_sigterm_ends_the_step_and_keeps_what_was_measured(host):
    running = host.send(measure=LONG)
    pid = running.started().pid
    running.until("phase", name="measuring")
    running.until("progress")
    os.kill(pid, signal.SIGTERM)
    result = running.messages()[-1]
    assert result.type == "result"
    assert result.interrupted
    assert result.series.num_total == len(result.step_times_s) > 0
    assert result.metrics["throughput"] > 0
    assert running.exited().exit_code == 0


def test_sigterm_before_the_first_step_is_an_interrupted_result_without_figures(host):
    running = host.send("workloads:Slow", measure=LONG)
    pid = running.started().pid
    running.until("phase", name="build")
    os.kill(pid, signal.SIGTERM)
    result = running.messages()[-1]
    assert result.interrupted
    running.exited()
    assert (result.series is None) == (result.metrics.get("step_time_s") is None)


def test_a_changed_setting_fails_the_case(host):
    failed = host.run("torch_workloads:TurnsOffCudnn")[0][-1]
    assert (failed.status, _codes(failed)) == ("failed", {"GB301"})
    assert "cudnn_enabled was off" in failed.reason
    assert failed.effective.cudnn_enabled is False


def test_what_a_child_leaves_running_is_ended_with_it(host):
    running = host.send("workloads:LeavesProcess")
    running.started()
    running.messages()
    exited = running.exited()
    left = int(host.log_of(exited.job).split()[1])
    assert _gone(left)


def test_a_daemon_that_a_child_leaves_running_is_ended_with_it(host):
    running = host.send("workloads:LeavesDaemon")
    running.started()
    running.messages()
    exited = running.exited()
    for left in map(int, host.log_of(exited.job).split()[1:]):
        assert not is_alive(left)


def test_the_reference_cnn_on_real_digits_runs_through_a_host(host):
    messages, exited = host.run("cnn", data="digits", batch_size=16, parity=True, suite="t", label="cnn b16")
    result = messages[-1]
    assert result.type == "result", result
    assert exited.exit_code == 0
    assert result.parity.passed
    assert result.effective.precision == "fp32"
    assert result.metrics["flops_per_sample"] > 0
    assert result.metrics["peak_rss_bytes"] > 0
    absent = {name for name, value in result.metrics.items() if value is None}
    assert absent <= set(result.absent)
    assert set(result.metrics) == set(result.metrics) | set(result.absent)


WITH_WHAT_A_HOST_LOADED = """
import sys
from gpubench.protocol.host_modules import ALWAYS, host_modules
from gpubench.protocol.messages import Job
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure, Suite
from gpubench.worker.process import child, host

class Sender:
    def send(self, message):
        self.last = message

    offer = send

case = Case(data="digits", batch_size=16, precision="amp-bf16")
host.preload((*ALWAYS, *host_modules(Suite(schema=1, name="s"), [case])))
loaded, sender = set(sys.modules), Sender()
measure = Measure(min_time=0.05, max_time=0.2, min_steps=10, target_rel_ci=0.5)
child.run_job(Job(job=1, case=case, measure=measure, parity=True, log="/dev/null"), sender)
print(sender.last.type, *sorted({name.partition(".")[0] for name in set(sys.modules) - loaded}))
"""


def test_a_job_imports_no_library_of_its_own():
    printed = subprocess.run(
        [sys.executable, "-c", WITH_WHAT_A_HOST_LOADED], capture_output=True, text=True, check=True, timeout=120
    )
    outcome, *imported = printed.stdout.split()
    assert outcome == "result", printed.stderr
    # Files of data beside modules that were loaded, and what Python needs to read them.
    assert set(imported) <= {"importlib", "sklearn", "gpubench"}


def test_killing_the_host_ends_its_child(tmp_path):
    host = HostUnderTest(tmp_path)
    running = host.send(measure=LONG)
    pid = running.started().pid
    running.until("phase", name="measuring")
    host.process.kill()
    host.process.wait()
    assert _gone(pid)
    running.messages()
    host.hang_up()


def test_a_host_whose_parent_is_gone_ends_its_child_and_itself(tmp_path):
    host = HostUnderTest(tmp_path)
    running = host.send(measure=LONG)
    pid = running.started().pid
    running.until("phase", name="measuring")
    host.hang_up()
    assert host.process.wait(20) == 0
    assert _gone(pid)
    running.messages()
    assert host.log.read_text() == ""


def test_without_fork_each_job_gets_a_fresh_process_and_says_so(tmp_path):
    host = HostUnderTest(tmp_path, NVTX_INJECTION64_PATH="/nonexistent/libprofiler.so")
    assert not host.hello.can_fork
    running = host.send()
    assert running.started().isolation == "fresh"
    messages = running.messages()
    assert messages[0].type == "hello"
    assert messages[-1].type == "result"
    assert "GB101" in _codes(messages[-1])
    assert running.exited().exit_code == 0
    assert host.end() == 0
    host.hang_up()
