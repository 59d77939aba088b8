import gzip
import json
from pathlib import Path

import pytest

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError


def write(path: Path, events: list[dict], **head) -> Path:
    path.write_text(json.dumps({"traceEvents": events, **head}))
    return path


def x(category: str, name: str, ts: float, dur: float, *, pid: object = 5, tid: object = 5, **args) -> dict:
    return {"ph": "X", "cat": category, "name": name, "ts": ts, "dur": dur, "pid": pid, "tid": tid, "args": args}


def test_nanoseconds_of_times_since_1970_are_kept(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text(
        '{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "k", "ts": 1790857026123456.789, "dur": 0.001,'
        ' "pid": 0, "tid": 7, "args": {}}]}'
    )
    (operation,) = read_trace(path).operations
    assert (operation.start, operation.end) == (1790857026123456789, 1790857026123456790)


def test_times_may_be_whole_numbers_or_have_any_number_of_decimals(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text(
        '{"traceEvents": [{"ph":"X","cat":"kernel","name":"k","ts":12,"dur":1.5,"pid":0,"tid":7},'
        '{"ph":"X","cat":"kernel","name":"k","ts":1.2e3,"dur":0.25,"pid":0,"tid":7}]}'
    )
    assert [(each.start, each.end) for each in read_trace(path).operations] == [
        (12_000, 13_500),
        (1_200_000, 1_200_250),
    ]


def test_steps_of_torchs_own_profiler_are_steps_and_what_lies_in_them_are_phases(tmp_path: Path):
    events = [
        x("user_annotation", "ProfilerStep#5", 0, 100),
        x("user_annotation", "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__", 0, 60),
        x("user_annotation", "my_forward", 60, 30),
        x("user_annotation", "inner", 65, 10),
        x("user_annotation", "ProfilerStep#6", 100, 100),
        x("cuda_runtime", "cudaLaunchKernel", 70, 2, correlation=1),
        x("kernel", "some_kernel", 75, 20, pid=0, tid=7, device=0, stream=7, correlation=1),
    ]
    found = summarize(read_trace(write(tmp_path / "t.json", events)))
    assert found.steps == 2
    assert [each.name for each in found.host_phases] == [
        "enumerate(DataLoader)#_SingleProcessDataLoaderIter.__next__",
        "my_forward",
    ]
    device = found.devices[0]
    assert device.phases[1].kernels_per_step == 0.5
    assert device.idle_reasons.input * device.window_ns == pytest.approx(60_000)


def test_the_range_that_is_a_step_may_be_named(tmp_path: Path):
    events = [x("user_annotation", f"train_step {index}", 100 * index, 90) for index in range(3)]
    events += [x("user_annotation", "train_step_inner", 10, 5)]
    found = summarize(read_trace(write(tmp_path / "t.json", events)), step_name="train_step")
    assert found.steps == 3


def test_a_step_name_that_is_not_there_is_said(tmp_path: Path):
    found = summarize(read_trace(write(tmp_path / "t.json", [x("kernel", "k", 0, 5)])), step_name="epoch")
    assert found.steps is None
    assert found.absent["steps"] == "the trace marks no steps"
    assert found.warnings[0].message == "No range named 'epoch' marks a step; the figures cover the whole trace."


def test_without_steps_the_window_is_the_span_of_the_gpus_work(tmp_path: Path):
    events = [x("kernel", "k", 10, 20), x("kernel", "k", 70, 40)]
    device = summarize(read_trace(write(tmp_path / "t.json", events))).devices[0]
    assert (device.window_ns, device.busy_ns, device.kernels_per_step) == (100_000, 60_000, None)
    assert device.absent["kernels_per_step"] == "the trace marks no steps"


def test_launches_of_the_driver_count_as_those_of_the_runtime(tmp_path: Path):
    events = [
        x("user_annotation", "gpubench/step", 0, 100),
        x("user_annotation", "gpubench/forward", 10, 50),
        x("cuda_driver", "cuLaunchKernelEx", 20, 2, correlation=3),
        x("kernel", "triton_poi_fused_relu_0", 30, 10, pid=0, tid=7, correlation=3),
    ]
    device = summarize(read_trace(write(tmp_path / "t.json", events))).devices[0]
    assert device.phases[0].gpu_busy_ns == 10_000
    assert device.tensor_core_unknown_share == 1.0


def test_spans_drawn_on_the_gpus_own_track_are_no_ranges(tmp_path: Path):
    events = [x("gpu_user_annotation", "gpubench/step", 0, 100, pid=0, tid=7)]
    assert read_trace(write(tmp_path / "t.json", events)).ranges == []


@pytest.mark.parametrize(
    ("name", "direction", "pageable"),
    [
        ("Memcpy HtoD (Pageable -> Device)", "h2d", True),
        ("Memcpy HtoD (Pinned -> Device)", "h2d", False),
        ("Memcpy DtoH (Device -> Pageable)", "d2h", True),
        ("Memcpy DtoH (Device -> Pinned)", "d2h", False),
        ("Memcpy DtoD (Device -> Device)", "d2d", None),
        ("Memcpy PtoP (Device -> Device)", "p2p", None),
        ("Memcpy HtoD (Unknown -> Device)", "h2d", None),
        ("Memcpy HtoD", "h2d", None),
        ("something new", "other", None),
    ],
)
def test_copies_are_read_from_their_names(name, direction, pageable, tmp_path: Path):
    (operation,) = read_trace(write(tmp_path / "t.json", [x("gpu_memcpy", name, 0, 1, bytes=8)])).operations
    assert (operation.direction, operation.pageable, operation.bytes) == (direction, pageable, 8)


def test_a_bare_list_of_events_is_a_trace(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text(json.dumps([x("kernel", "k", 0, 1)]))
    assert len(read_trace(path).operations) == 1


def test_events_under_a_name_that_is_there_twice_are_all_read(tmp_path: Path):
    path, kernels = tmp_path / "t.json", [json.dumps([x("kernel", "k", start, 1)]) for start in (0, 5)]
    path.write_text(f'{{"traceEvents": {kernels[0]}, "traceName": "t", "traceEvents": {kernels[1]}}}')
    assert [each.start for each in read_trace(path).operations] == [0, 5_000]


def test_a_trace_that_was_cut_off_is_an_error(tmp_path: Path):
    whole = gzip.compress(json.dumps({"traceEvents": [x("kernel", "k", 0, 1)]}).encode())
    path = tmp_path / "t.json.gz"
    path.write_bytes(whole[:-12])
    with pytest.raises(TraceError, match="damaged gzip"):
        read_trace(path)
    plain = tmp_path / "t.json"
    plain.write_text('{"traceEvents": [{"ph": "X",')
    with pytest.raises(TraceError, match="not JSON"):
        read_trace(plain)


def test_json_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text('{"result": 1}')
    with pytest.raises(TraceError, match="no list `traceEvents`"):
        read_trace(path)


@pytest.mark.parametrize(
    ("name", "content", "message", "hint"),
    [
        ("t.txt", "hello", "is neither an SQLite export", "Reads: .nsys-rep"),
        ("t.qdstrm", "QDSTRM", "is neither an SQLite export", "QdstrmImporter"),
        ("t.ncu-rep", "NVR", "is neither an SQLite export", "ncu --import"),
        ("t.json", "", "is empty", "killed"),
    ],
)
def test_a_file_that_is_no_trace_says_what_was_expected(name, content, message, hint, tmp_path: Path):
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(TraceError, match=message) as error:
        read_trace(path)
    assert hint in error.value.hint


def test_a_missing_file_and_a_folder_are_told_apart(tmp_path: Path):
    with pytest.raises(TraceError, match="There is no file"):
        read_trace(tmp_path / "nothing")
    with pytest.raises(TraceError, match="is a folder"):
        read_trace(tmp_path)
