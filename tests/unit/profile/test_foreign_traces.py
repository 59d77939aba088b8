"""Traces less tidy than those of `gpubench profile`: other programs, several processes and devices, odd rows."""

import json
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest
from fakes import traces

from gpubench.cli.main import main
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError

US = 1000


def x(category: str, name: str, ts: float, dur: float, *, pid: object = 5, tid: object = 5, **args) -> dict:
    return {"ph": "X", "cat": category, "name": name, "ts": ts, "dur": dur, "pid": pid, "tid": tid, "args": args}


def kineto(folder: Path, events: list[dict], **options):
    path = folder / "t.json"
    path.write_text(json.dumps({"traceEvents": events}))
    return summarize(read_trace(path), **options)


def nsys(folder: Path, scenario: traces.Scenario, **options):
    return summarize(read_trace(traces.write_sqlite(scenario, folder / "t.sqlite")), **options)


def one_step(**changes) -> traces.Scenario:
    """A step of 1000 us with a forward of 100 us that launches a kernel of 500 us."""
    scenario = traces.Scenario(spans=[traces.Span("step", 1000, 2000), traces.Span("forward", 1000, 1100)])
    scenario.work.append(replace(traces.Work("kernel", traces.GEMM, 1100, 1600, 1050), **changes))
    return scenario


def test_our_phases_count_within_the_steps_that_torchs_own_profiler_marks(tmp_path: Path):
    events = [
        x("user_annotation", "ProfilerStep#3", 0, 100),
        x("user_annotation", "gpubench/forward", 10, 40),
        x("user_annotation", "gpubench/backward", 50, 30),
        x("user_annotation", "Optimizer.step#Adam.step", 82, 10),
        x("cuda_runtime", "cudaLaunchKernel", 20, 2, correlation=1),
        x("kernel", "k", 30, 20, pid=0, tid=7, device=0, stream=7, correlation=1),
        x("cuda_runtime", "cudaLaunchKernel", 60, 2, tid=99, correlation=2),
        x("kernel", "k", 62, 10, pid=0, tid=7, device=0, stream=7, correlation=2),
    ]
    found = kineto(tmp_path, events)
    assert [(each.name, each.gpu_busy_ns) for each in found.devices[0].phases] == [
        ("forward", 20_000),
        ("backward", 10_000),
    ]


def test_steps_that_overlap_by_a_rounding_are_two_steps(tmp_path: Path):
    events = [x("user_annotation", "ProfilerStep#1", 0, 100.001), x("user_annotation", "ProfilerStep#2", 100, 100)]
    assert kineto(tmp_path, events).steps == 2


def test_a_call_within_a_call_began_with_the_outer_one(tmp_path: Path):
    events = [
        x("user_annotation", "gpubench/step", 0, 100),
        x("user_annotation", "gpubench/forward", 10, 10),
        x("user_annotation", "gpubench/loss", 20, 10),
        x("cuda_driver", "cuLaunchKernel", 21, 1, correlation=1),
        x("cuda_runtime", "cudaLaunchKernel", 19, 5, correlation=1),
        x("kernel", "k", 30, 20, pid=0, tid=7, correlation=1),
    ]
    assert {each.name: each.kernels_per_step for each in kineto(tmp_path, events).devices[0].phases} == {
        "forward": 1,
        "loss": 0,
    }


@pytest.mark.parametrize("ts", ["soon", None, [1]])
def test_an_event_that_makes_no_sense_is_an_error_and_no_crash(ts, tmp_path: Path):
    with pytest.raises(TraceError, match="was understood: it holds 1 kernel without times"):
        kineto(tmp_path, [x("kernel", "k", ts, 1)])


def test_names_may_hold_what_json_forbids(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_bytes(
        b'{"traceEvents": [{"ph":"X","cat":"kernel","name":"a\x01b\xffc","ts":1,"dur":1,"pid":0,"tid":7}]}'
    )
    (operation,) = read_trace(path).operations
    assert operation.name == "a\x01b\ufffdc"


def test_every_device_has_a_block_of_its_own(tmp_path: Path):
    scenario = one_step()
    scenario.work.append(traces.Work("kernel", traces.LOSS, 1200, 1300, 1060, device=1))
    first, second = nsys(tmp_path, scenario).devices
    assert [(each.device, each.steps, each.busy_ns, each.kernels) for each in (first, second)] == [
        (0, 1, 500 * US, 1),
        (1, 1, 100 * US, 1),
    ]
    assert (first.name, second.name) == ("NVIDIA H100 80GB HBM3", None)


def test_work_that_ends_before_it_begins_is_left_out(tmp_path: Path):
    scenario = one_step()
    scenario.work.append(traces.Work("kernel", traces.LOSS, 1700, 1690, 1650))
    device = nsys(tmp_path, scenario).devices[0]
    assert (device.busy_ns, device.kernel_ns, device.kernels) == (500 * US, 500 * US, 1)


def test_a_gap_that_ends_with_work_launched_before_the_first_step_is_no_fault_of_the_host(tmp_path: Path):
    scenario = one_step(start=1200, end=1600)
    scenario.work.append(traces.Work("kernel", traces.STRAY, 1100, 1200, 900))
    why = nsys(tmp_path, scenario).devices[0].idle_reasons
    assert (why.dependency, why.launch) == (pytest.approx(0.1), pytest.approx(0.4))


def test_a_domain_that_no_thread_registered_is_a_domain_all_the_same(tmp_path: Path):
    path = traces.write_sqlite(one_step(), tmp_path / "t.sqlite")
    connection = sqlite3.connect(path)
    connection.execute("UPDATE NVTX_EVENTS SET globalTid = NULL WHERE eventType = 75")
    connection.commit()
    connection.close()
    assert summarize(read_trace(path)).steps == 1


def test_start_and_end_ranges_are_steps_where_they_are_named(tmp_path: Path):
    spans = [traces.Span("iteration", 1000 * at, 1000 * at + 900, nested=False, ours=False) for at in range(3)]
    scenario = traces.Scenario(spans=[*spans, traces.Span("fwd", 100, 200, ours=False)])
    found = nsys(tmp_path, scenario, step_name="iteration")
    assert (found.steps, [each.name for each in found.host_phases]) == (3, ["fwd"])
    (tmp_path / "again").mkdir()
    assert nsys(tmp_path / "again", scenario).steps is None


def two_processes(path: Path) -> Path:
    """The second has two steps, the first one; both use GPU 0, one after the other."""
    traces.write_sqlite(one_step(), path)
    connection = sqlite3.connect(path)
    shift, new = 10_000_000, (1 << 48) | (200 << 24)
    connection.execute("INSERT INTO StringIds VALUES (900, 'case:another')")
    for step in range(2):
        base = shift + step * 1_000_000
        for table, columns in (
            ("NVTX_EVENTS", "start, end, eventType, text, textId, domainId"),
            ("CUPTI_ACTIVITY_KIND_RUNTIME", "start, end, correlationId, nameId"),
            ("CUPTI_ACTIVITY_KIND_KERNEL", "start, end, deviceId, streamId, correlationId, demangledName, shortName"),
        ):
            owner = "globalPid" if table.endswith("KERNEL") else "globalTid"
            moved = columns.replace("start, end", f"start + {base}, end + {base}")
            connection.execute(
                f"INSERT INTO {table} ({columns}, {owner}) SELECT {moved}, {new + (0 if owner == 'globalPid' else 200)}"
                f" FROM {table} WHERE start < 5000000 AND {owner} & 0xFF000000 = {100 << 24}"
            )
    connection.execute(
        "INSERT INTO NVTX_EVENTS (start, end, eventType, textId, globalTid, domainId) VALUES (?, ?, 59, 900, ?, 1)",
        (0, 9_000_000, (1 << 48) | (100 << 24) | 100),
    )
    connection.commit()
    connection.close()
    return path


def test_of_several_processes_the_one_with_most_steps_counts_and_the_rest_is_named(tmp_path: Path):
    trace = read_trace(two_processes(tmp_path / "t.sqlite"))
    found = summarize(trace)
    assert (found.process, found.steps, found.devices[0].steps, found.devices[0].kernels) == (200, 2, 2, 2)
    remark = next(each for each in found.warnings if each.code == "GB513")
    assert remark.message == "Another process has steps, in no figure here: 100 case:another."
    other = summarize(trace, process=100)
    assert (other.process, other.steps, other.devices[0].kernels) == (100, 1, 1)
    with pytest.raises(TraceError, match="Process 7 has no steps") as error:
        summarize(trace, process=7)
    assert error.value.hint == "With steps: 100, 200."


def test_the_process_may_be_chosen_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    path = two_processes(tmp_path / "t.sqlite")
    assert main(["profile", "read", str(path), "--process", "100", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["process"] == 100


def test_work_of_another_process_on_the_same_device_belongs_to_no_phase(tmp_path: Path):
    path = traces.write_sqlite(one_step(), tmp_path / "t.sqlite")
    connection = sqlite3.connect(path)
    other = (1 << 48) | (200 << 24)
    connection.execute(
        "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME (start, end, globalTid, correlationId) "
        "VALUES (1060000, 1065000, ?, 1)",
        (other | 200,),
    )
    connection.execute(
        "INSERT INTO CUPTI_ACTIVITY_KIND_KERNEL "
        "(start, end, deviceId, streamId, correlationId, globalPid, demangledName)"
        " SELECT 1700000, 1800000, 0, 9, 1, ?, demangledName FROM CUPTI_ACTIVITY_KIND_KERNEL",
        (other,),
    )
    connection.commit()
    connection.close()
    device = summarize(read_trace(path)).devices[0]
    assert device.phases[0].kernels_per_step == 1
    assert (device.unattributed_ns, device.busy_ns, device.others_ns) == (0, 600 * US, 100 * US)
