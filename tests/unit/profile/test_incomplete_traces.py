"""Traces that lack something or contradict themselves: what is unknown is absent, and what was not understood is said."""

import json
from pathlib import Path

import pytest
from fakes import traces
from fakes.odd_traces import T0, US, event, kineto, nsys, rank_events, said

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError
from gpubench.report.model.report_model import plain
from gpubench.report.pages.profile_page import profile_page


@pytest.mark.parametrize(
    ("ts", "dur"),
    [(0, 0), (None, 300), (T0, None), ("soon", 1), (float("nan"), 1), (T0, float("inf")), (T0, -5), (T0, "NaN")],
)
def test_a_kernel_without_times_is_left_out_and_counted(ts, dur, tmp_path: Path):
    events = rank_events()
    summary = kineto(tmp_path, [*events, event("kernel", "lost", ts, dur, pid=0, tid=7, device=0, stream=7)])
    device = summary.devices[0]
    assert (device.kernels, device.window_ns, device.idle) == (6, 3000 * US, pytest.approx(0.4))
    assert said(summary)["GB514"] == "Left out: 1 kernel without times."
    assert summary.unread == {"kernels without times": 1}
    assert (device.tensor_core_share, device.absent["tensor_core_share"]) == (None, "some kernels lack their length")


@pytest.mark.parametrize("change", ["start = 0, end = 0", "end = NULL", "end = start - 1"])
def test_rows_of_nsys_without_times_are_left_out_and_counted(change, tmp_path: Path):
    summary = nsys(tmp_path, f"UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET {change} WHERE correlationId = 3")
    assert summary.unread == {"kernels without times": 1}


@pytest.mark.parametrize(("length_us", "apart_us"), [(9e9, 0), (5000, 0), (300, 9e9)])
def test_work_longer_than_the_capture_or_hours_away_did_not_happen(length_us, apart_us, tmp_path: Path):
    events = rank_events()
    events[2] = {**events[2], "ts": events[2]["ts"] - apart_us, "dur": length_us}
    summary = kineto(tmp_path, events)
    assert said(summary)["GB514"] == "Left out: 1 kernel longer than the capture or outside of it."
    assert summary.devices[0].kernel_ns == 1500 * US


def test_the_capture_is_as_long_as_the_tool_says(tmp_path: Path):
    whole = [event("Trace", "PyTorch Profiler (0)", T0, 3000, pid="Spans", tid="PyTorch Profiler")]
    step = event("user_annotation", "ProfilerStep#9", T0, 13_000_000)
    assert said(kineto(tmp_path, [*rank_events(), *whole, step]))["GB514"].startswith("Left out: 1 range longer than")
    details = ["CREATE TABLE ANALYSIS_DETAILS (duration INTEGER)", "INSERT INTO ANALYSIS_DETAILS VALUES (4000000)"]
    longer = "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET end = start + 9000000 WHERE correlationId = 3"
    assert "GB514" in said(nsys(tmp_path, *details, longer))


def test_correlation_0_links_nothing(tmp_path: Path):
    """A tracer gives 0 to communication kernels and to a call from before the steps."""
    events = [event("cuda_runtime", "hipGetDevice", T0 - 5000, 5, correlation=0), *rank_events()]
    for each in events[3::5]:
        each["args"]["correlation"] = 0
    device = kineto(tmp_path, events).devices[0]
    assert (device.kernels, device.unlinked_share) == (6, pytest.approx(0.5))
    zero = "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET correlationId = 0 WHERE correlationId = 3"
    early = "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME (start, end, globalTid, correlationId) VALUES (1, 2, {}, 0)"
    found = nsys(tmp_path, zero, early.format((1 << 48) | (100 << 24) | 100)).devices[0]
    assert found.kernels == 14


def test_idle_time_before_work_whose_launch_is_not_known_is_unexplained(tmp_path: Path):
    events = [each for each in rank_events() if each["cat"] != "cuda_runtime" or each["args"]["correlation"] == 1]
    summary = kineto(tmp_path, events)
    device = summary.devices[0]
    assert (device.idle_reasons.unknown, device.idle_reasons.launch) == (
        pytest.approx(0.3),  # all but the time before the first kernel and after the last
        pytest.approx(0.1),
    )
    assert (device.bound, device.bound_statement) == (None, "idle 40% of the time; the trace does not tell why.")
    assert said(summary)["GB512"] == "GPU 0: the launches of 83.3% of the GPU time are not in the trace."
    page = [plain(each) for section in profile_page(summary) for each in section.lines]
    assert any("unknown" in each for each in page)


def test_launches_whose_work_was_lost_leave_idle_time_unexplained(tmp_path: Path):
    summary = kineto(tmp_path, [each for each in rank_events() if each["cat"] != "kernel" or each["ts"] > T0 + 1000])
    assert summary.steps == 3
    assert said(summary)["GB515"].startswith("2 of 6 launches have no GPU work in the trace")
    assert summary.devices[0].idle_reasons.unknown == pytest.approx(1100 / 3000)
    assert summary.devices[0].bound is None


def test_calls_that_record_a_graph_lose_no_work(tmp_path: Path):
    events = rank_events()
    calls = [
        (T0 + 2900, "cudaStreamBeginCapture"),
        (T0 + 2910, "cudaLaunchKernel"),
        (T0 + 2920, "cudaStreamEndCapture"),
    ]
    events += [event("cuda_runtime", name, at, 1, correlation=500 + n) for n, (at, name) in enumerate(calls)]
    assert not {"GB515", "GB517"} & said(kineto(tmp_path, events)).keys()


def test_a_step_that_the_capture_cut_off_does_not_count(tmp_path: Path):
    events = rank_events()
    del events[10]["dur"]
    summary = kineto(tmp_path, events)
    assert (summary.steps, said(summary)["GB517"]) == (2, "1 step was cut off by the end of the capture and left out.")
    assert kineto(tmp_path, rank_events()[:-1]).steps == 2  # its last kernel is missing
    open_step = "UPDATE NVTX_EVENTS SET end = NULL WHERE start = 2000000 AND int64Value = 1"
    assert nsys(tmp_path, open_step).steps == 1


def test_sizes_are_absent_if_one_copy_does_not_tell_its_own(tmp_path: Path):
    def copy(number: int, **size) -> list[dict]:
        at = T0 + 100 * number
        name = "Memcpy HtoD (Pageable -> Device)"
        return [
            event("cuda_runtime", "cudaMemcpyAsync", at, 5, correlation=90 + number),
            event("gpu_memcpy", name, at + 10, 50, pid=0, tid=7, device=0, stream=7, correlation=90 + number, **size),
        ]

    summary = kineto(tmp_path, [*rank_events(), *copy(1, bytes=4_000_000), *copy(2)])
    found = summary.devices[0].copies["h2d"]
    assert (found.count, found.bytes, found.bytes_per_step, found.gb_per_s, found.pageable_bytes) == (2, *[None] * 4)
    assert summary.devices[0].absent["copies.h2d.bytes"] == "some copies lack their size"
    (table,) = (table for section in profile_page(summary) for table in section.tables if table.key == "copies")
    assert table.rows[0].cells[1].text == "unknown"


def test_copies_that_take_most_of_the_time_are_the_limit(tmp_path: Path):
    scenario = traces.Scenario(spans=[traces.Span("step", 1000, 2000)])
    scenario.work = [
        traces.Work("copy", "", 1010, 1950, 1005, num_bytes=25_000_000, direction="h2d", pageable=False),
        traces.Work("copy", "", 1950, 1952, 1006, num_bytes=16, direction="h2d", pageable=True),
        traces.Work("kernel", traces.GEMM, 1952, 1990, 1007),
    ]
    summary = nsys(tmp_path, scenario=scenario)
    device = summary.devices[0]
    assert device.bound == "copy"
    assert device.bound_statement == "copy-bound: copies take 94% of the time while no kernel runs, kernels 4%."
    assert said(summary).keys() == {"GB518"}  # and no word about 16 bytes from pageable memory


def test_a_busy_gpu_with_bare_copies_is_told_so(tmp_path: Path):
    scenario = traces.Scenario(spans=[traces.Span("step", 1000, 2000)])
    scenario.work = [
        traces.Work("copy", "", 1000, 1300, 999, num_bytes=25_000_000, direction="h2d", pageable=False),
        traces.Work("kernel", traces.GEMM, 1300, 2000, 1007),
    ]
    statement = nsys(tmp_path, scenario=scenario).devices[0].bound_statement
    assert statement.endswith("only if its GPU work does; copies take 30% while no kernel runs.")


def test_traces_of_torch_1_8_have_other_categories(tmp_path: Path):
    old = {"user_annotation": "Operator", "cuda_runtime": "Runtime", "kernel": "Kernel"}
    events = [{**each, "cat": old[each["cat"]]} for each in rank_events()]
    events += [event("Operator", "aten::mm", T0, 900), event("Operator", "MmBackward0", T0, 900)]
    device = kineto(tmp_path, events).devices[0]
    assert (device.steps, device.kernels, device.bound, device.phases) == (3, 6, "launch", ())


def test_rows_that_are_not_understood_are_counted_by_category(tmp_path: Path):
    events = [*rank_events(), event(None, "x", 1, 1), event("mtia_ccp", "y", T0, 5), {"ph": ["X"]}, 7]
    events += [{"ph": "b", "cat": "P2P_API", "name": "Send", "ts": T0}, {"ph": "s", "cat": "ac2g", "name": "flow"}]
    summary = kineto(tmp_path, events)
    assert summary.unread == {
        "events without a category": 1,
        "events of category `mtia_ccp`": 1,
        "entries that are no trace events": 2,
        "asynchronous events of category `P2P_API`": 1,
    }
    odd = "INSERT INTO NVTX_EVENTS (start, end, eventType, globalTid) VALUES (1, 2, 123, 5)"
    table = "CREATE TABLE CUPTI_ACTIVITY_KIND_JIT AS SELECT 1 AS a UNION SELECT 2"
    assert nsys(tmp_path, odd, table).unread == {"events of NVTX type 123": 1, "rows of CUPTI_ACTIVITY_KIND_JIT": 2}


def test_a_file_of_which_nothing_is_understood_is_refused(tmp_path: Path):
    with pytest.raises(TraceError, match="was understood: it holds 2 events without a category") as error:
        kineto(tmp_path, [event(None, "aten::mm", 1, 2), event(None, "volta_sgemm", 1, 2)])
    assert "torch.profiler" in error.value.hint


@pytest.mark.parametrize("events", [[], [{"ph": "M", "name": "process_name", "pid": 1}]])
def test_an_empty_capture_is_called_empty(events, tmp_path: Path):
    assert said(kineto(tmp_path, events)).keys() == {"GB519"}
    empty = traces.write_sqlite(traces.Scenario(), tmp_path / "t.sqlite", lacking=["NVTX_EVENTS"])
    assert said(summarize(read_trace(empty))).keys() == {"GB519"}


def test_what_nsys_itself_warns_of_is_shown_worst_first(tmp_path: Path):
    summary = nsys(
        tmp_path,
        "CREATE TABLE DIAGNOSTIC_EVENT (timestamp INTEGER, severity INTEGER, text TEXT)",
        "INSERT INTO DIAGNOSTIC_EVENT VALUES (1, 1, 'Profiling has started.'), (2, 2, 'Not all events were collected'), "
        "(3, 3, '8 kernel records were dropped.')",
    )
    assert said(summary)["GB516"] == "8 kernel records were dropped. Not all events were collected."


def test_what_kineto_logged_as_a_warning_is_shown(tmp_path: Path):
    summary = kineto(tmp_path, rank_events(), WARNING=["CUPTI buffers were dropped"], INFO=["Enabling GPU tracing"])
    assert said(summary)["GB516"] == "CUPTI buffers were dropped."


def test_work_before_its_launch_shows_that_the_clocks_differ(tmp_path: Path):
    events = rank_events()
    events[2]["ts"] -= 60
    assert said(kineto(tmp_path, events))["GB516"].startswith(
        "GPU work begins up to 10 us before its launch (1 of 6 pieces)"
    )


def test_work_that_begins_long_after_its_launch_was_not_held_up_by_the_host(tmp_path: Path):
    """As in a trace whose clocks of host and GPU are five seconds apart."""
    late = [{**each, "ts": each["ts"] + 5e6} if each["cat"] == "kernel" else each for each in rank_events()]
    device = kineto(tmp_path, late).devices[0]
    assert device.idle_reasons.unknown > 0.99
    assert device.idle_reasons.launch < 0.01
    assert device.bound is None


def test_tables_of_a_second_version_are_read(tmp_path: Path):
    tables = ("NVTX_EVENTS", "CUPTI_ACTIVITY_KIND_KERNEL", "CUPTI_ACTIVITY_KIND_RUNTIME")
    expected = nsys(tmp_path)
    summary = nsys(tmp_path, *(f"ALTER TABLE {table} RENAME TO {table}_V2" for table in tables))
    assert (summary.devices, summary.unread) == (expected.devices, {})


@pytest.mark.parametrize("kind", [60, 70, 71])
def test_ranges_that_do_not_nest_or_were_imported_are_phases(kind, tmp_path: Path):
    expected = nsys(tmp_path)
    which = "int64Value IS NULL" if kind != 70 else "eventType = 59"
    assert nsys(tmp_path, f"UPDATE NVTX_EVENTS SET eventType = {kind} WHERE eventType = 59 AND {which}").devices == (
        expected.devices
    )


def test_names_that_are_not_utf_8_are_read(tmp_path: Path):
    renamed = (
        "UPDATE StringIds SET value = CAST(X'B2BDD6E8' AS TEXT) WHERE value = 'ncclDevK' OR value LIKE 'ncclDevKernel%'"
    )
    assert any("\ufffd" in each.name for each in nsys(tmp_path, renamed).devices[0].top_kernels)


@pytest.mark.parametrize(
    ("before", "after", "hint"),
    [
        ('"k"', '"C:\\Users\\me"', "The backslash in line 1 is not escaped"),
        ("40", "N/A", "The word N/A in line 1 is no value"),
        ("40", "-inf", "The word -inf in line 1 is no value"),
        ("}]}", '}]}\n"tid": 40}]}', "several processes write this file"),
        ("}]}", "", "cut off while it was written"),
    ],
    ids=["windows path", "n/a", "inf", "two writers", "cut off"],
)
def test_each_way_of_not_being_json_has_its_own_way_out(before, after, hint, tmp_path: Path):
    path = tmp_path / "t.json"
    good = '{"traceEvents": [{"ph": "X", "cat": "kernel", "name": "k", "ts": 1, "dur": 1, "pid": 0, "tid": 40}]}'
    assert before in good
    path.write_text(good.replace(before, after))
    with pytest.raises(TraceError, match="is not JSON") as error:
        read_trace(path)
    assert hint in error.value.hint


@pytest.mark.parametrize(
    "content",
    [
        '{"data": ["python3"]}\n{"Type": 59, "NvtxEvent": {}}\n',
        '{"Type": 59, "NvtxEvent": {}}',
        '[{"Type": 48, "CudaEvent": {}}]',
    ],
)
def test_an_export_of_nsys_to_json_says_which_to_make(content, tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text(content)
    with pytest.raises(TraceError) as error:
        read_trace(path)
    assert "nsys export --type sqlite" in error.value.hint


def test_a_list_without_its_last_bracket_is_read(tmp_path: Path):
    path = tmp_path / "t.json"
    path.write_text("[\n" + ",\n".join(map(json.dumps, rank_events())) + ",\n")
    assert summarize(read_trace(path)).devices[0].kernels == 6
