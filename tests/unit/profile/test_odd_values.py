"""Values that are not what their place in a trace asks for: unknown, and never a number made of them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from fakes import traces
from fakes.odd_traces import T0, US, event, kineto, nsys, rank_events, said

from gpubench.cli.main import main
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import TraceError

EXACT = "CREATE TABLE new AS SELECT * FROM CUPTI_ACTIVITY_KIND_KERNEL"  # without types, as any program may write it
RENAME = ("DROP TABLE CUPTI_ACTIVITY_KIND_KERNEL", "ALTER TABLE new RENAME TO CUPTI_ACTIVITY_KIND_KERNEL")


def written(folder: Path, text: str) -> Path:
    path = folder / "t.json"
    path.write_text(text)
    return path


@pytest.mark.parametrize(
    "value", ["1e400", "1e5000", "-1e400", "1e999999999", "123456789012345678901234567890", "true"]
)
@pytest.mark.parametrize("field", ["ts", "dur"])
def test_a_time_beyond_all_measure_is_no_time(field, value, tmp_path: Path):
    lost = json.dumps(event("kernel", "lost", "TS", "DUR", pid=0, tid=7, device=0)).replace(f'"{field.upper()}"', value)
    lost = lost.replace('"TS"', str(T0)).replace('"DUR"', "5")
    events = ",".join([*map(json.dumps, rank_events()), lost])
    summary = summarize(read_trace(written(tmp_path, f'{{"traceEvents": [{events}]}}')))
    assert summary.unread == {"kernels without times": 1}
    assert summary.devices[0].kernels == 6


@pytest.mark.parametrize("device", ["1e5000", "-1", '"first"', "null", "0.5", "[0]", "4294967296"])
def test_work_on_a_device_that_the_file_does_not_tell_is_left_out_and_counted(device, tmp_path: Path, capsys):
    lost = json.dumps(event("kernel", "lost", T0 + 900, 5, pid=0, tid=7, device="DEVICE")).replace('"DEVICE"', device)
    events = ",".join([*map(json.dumps, rank_events()), lost])
    path = written(tmp_path, f'{{"traceEvents": [{events}]}}')
    assert main(["profile", "read", str(path), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [each["device"] for each in found["devices"]] == [0]
    assert found["unread"] == {"kernels without a device": 1}


def test_the_id_of_the_process_is_no_number_of_a_gpu(tmp_path: Path):
    """Some programs draw kernels in the process that launched them."""
    events = rank_events(gpu_pid=40)
    for each in events:
        each["args"].pop("device", None)
    assert [each.label for each in kineto(tmp_path, events).devices] == ["GPU"]


def test_gpus_have_the_names_that_old_traces_give_them(tmp_path: Path):
    for key in ("deviceProperties", "computeProperties"):
        assert (
            kineto(tmp_path, rank_events(), **{key: [{"id": 0, "name": "Tesla V100"}]}).devices[0].name == "Tesla V100"
        )


def test_a_file_that_numbers_no_device_has_one_without_a_number(tmp_path: Path):
    events = rank_events(gpu_pid=None)
    for each in events:
        each["args"].pop("device", None)
    device = kineto(tmp_path, events).devices[0]
    assert (device.device, device.label, device.kernels) == (None, "GPU", 6)
    lacking = [f"CUPTI_ACTIVITY_KIND_{kind}.deviceId" for kind in ("KERNEL", "MEMCPY", "MEMSET")]
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "u.sqlite", lacking=lacking)
    assert [each.label for each in summarize(read_trace(path)).devices] == ["GPU"]


@pytest.mark.parametrize("number", [70_000, 65_536, 1])
def test_a_device_keeps_the_number_that_the_file_gives_it(number, tmp_path: Path):
    moved = f"UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET deviceId = {number} WHERE correlationId = 3"
    assert [each.label for each in nsys(tmp_path, moved).devices] == ["GPU 0", f"GPU {number}"]
    events = rank_events()
    events[2]["args"]["device"] = number
    assert [each.label for each in kineto(tmp_path, events).devices] == ["GPU 0", f"GPU {number}"]


@pytest.mark.parametrize("value", ["-1", "NULL", "'first'", "1.5", "x'00'", "9e300"])
def test_a_row_of_nsys_whose_device_is_no_number_is_left_out_and_counted(value, tmp_path: Path):
    odd = f"UPDATE new SET deviceId = {value} WHERE correlationId = 3"
    summary = nsys(tmp_path, EXACT, odd, *RENAME)
    assert summary.unread == {"kernels without a device": 1}
    assert [each.kernels for each in summary.devices] == [13]


@pytest.mark.parametrize("form", ["CAST({} AS TEXT)", "{} + 0.0"])
def test_whole_numbers_stored_as_text_or_with_a_point_are_read(form, tmp_path: Path):
    expected = nsys(tmp_path).devices
    columns = ("start", "end", "deviceId", "streamId", "correlationId", "globalPid", "demangledName")
    values = ", ".join(f"{each} = {form.format(each)}" for each in columns)
    assert nsys(tmp_path, EXACT, f"UPDATE new SET {values}", *RENAME).devices == expected


@pytest.mark.parametrize("value", ["'soon'", "x'01'", "9e300", "0.5"])
def test_a_time_of_nsys_that_is_no_number_is_unknown(value, tmp_path: Path):
    odd = f"UPDATE new SET end = {value} WHERE correlationId = 3"
    assert nsys(tmp_path, EXACT, odd, *RENAME).unread == {"kernels without times": 1}


def test_a_call_that_does_not_tell_its_thread_launched_nothing_and_is_counted(tmp_path: Path):
    for value in ("NULL", "-7"):
        summary = nsys(tmp_path, f"UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET globalTid = {value} WHERE correlationId = 3")
        assert (summary.unread, summary.devices[0].unlinked_share > 0) == ({"calls without a thread": 1}, True)


def test_a_negative_size_is_unknown(tmp_path: Path):
    copies = nsys(tmp_path, "UPDATE CUPTI_ACTIVITY_KIND_MEMCPY SET bytes = -4 WHERE copyKind = 2").devices[0].copies
    assert (copies["d2h"].bytes, copies["h2d"].bytes) == (None, 8_000_000)


def test_an_export_that_was_cut_off_is_refused(tmp_path: Path):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")
    path.write_bytes(path.read_bytes()[:-4096])
    with pytest.raises(TraceError, match=r"is cut off: it has \d+ of \d+ bytes") as error:
        read_trace(path)
    assert "nsys export" in error.value.hint


def test_an_export_that_is_still_written_is_refused(tmp_path: Path):
    path = traces.write_sqlite(traces.two_steps(), tmp_path / "t.sqlite")
    (tmp_path / "t.sqlite-wal").write_bytes(b"rows")
    with pytest.raises(TraceError, match=r"is unfinished: t\.sqlite-wal next to it"):
        read_trace(path)


def test_of_two_versions_of_a_table_the_one_with_rows_is_read(tmp_path: Path):
    expected = nsys(tmp_path)
    table = "CUPTI_ACTIVITY_KIND_KERNEL"
    empty = (f"ALTER TABLE {table} RENAME TO {table}_V2", f"CREATE TABLE {table} AS SELECT * FROM {table}_V2 WHERE 0")
    found = nsys(tmp_path, *empty)
    assert (found.devices, found.unread) == (expected.devices, {})
    both = nsys(tmp_path, f"CREATE TABLE {table}_V2 AS SELECT * FROM {table} LIMIT 2")
    assert (both.devices, both.unread) == (expected.devices, {f"rows of {table}_V2": 2})


def test_rows_that_are_in_the_file_twice_count_once(tmp_path: Path):
    expected = nsys(tmp_path)
    again = [f"INSERT INTO {each} SELECT * FROM {each}" for each in ("CUPTI_ACTIVITY_KIND_KERNEL", "NVTX_EVENTS")]
    found = nsys(tmp_path, *again, "INSERT INTO CUPTI_ACTIVITY_KIND_RUNTIME SELECT * FROM CUPTI_ACTIVITY_KIND_RUNTIME")
    assert (found.steps, found.devices) == (expected.steps, expected.devices)
    assert found.unread == {"kernels that are in the file twice": 15}
    events = rank_events()
    assert kineto(tmp_path, events + events).devices == kineto(tmp_path, events).devices


def test_a_range_of_nsys_that_ends_before_it_begins_is_left_out(tmp_path: Path):
    odd = "UPDATE NVTX_EVENTS SET end = start - 1 WHERE int64Value = 1"
    summary = nsys(tmp_path, odd)
    assert (summary.steps, summary.unread) == (1, {"ranges that end before they begin": 1})


@pytest.mark.parametrize("start", [0, -(1 << 62), 1 << 62])
def test_a_call_hours_away_from_the_rest_launched_nothing(start, tmp_path: Path):
    """A kernel of the steps stays one, as one whose launch is not known."""
    odd = f"UPDATE CUPTI_ACTIVITY_KIND_RUNTIME SET start = {start} WHERE correlationId = 3"
    late = f"UPDATE {{}} SET start = start + {T0}, end = end + {T0} WHERE start > 0"
    tables = [f"CUPTI_ACTIVITY_KIND_{kind}" for kind in ("RUNTIME", "KERNEL", "MEMCPY", "MEMSET")]
    summary = nsys(tmp_path, *(late.format(each) for each in (*tables, "NVTX_EVENTS")), odd)
    assert summary.unread == {"calls longer than the capture or outside of it": 1}
    assert (summary.devices[0].kernels, summary.devices[0].unlinked_share > 0) == (14, True)


def test_ranges_and_kernels_without_a_name_are_unknown(tmp_path: Path):
    nameless = "UPDATE NVTX_EVENTS SET textId = 9999 WHERE int64Value = 1"
    summary = nsys(tmp_path, nameless)
    assert (summary.steps, summary.unread) == (1, {"ranges without a name": 1})
    assert kineto(tmp_path, [*rank_events(), event("user_annotation", "", T0, 5)]).unread == {
        "ranges without a name": 1
    }
    blank = "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET demangledName = NULL, shortName = NULL"
    assert nsys(tmp_path, blank).devices[0].tensor_core_unknown_share == 1.0


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_a_trace_in_another_encoding_of_unicode_is_read(encoding, tmp_path: Path):
    """PowerShell writes UTF-16 where it redirects output."""
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"traceEvents": rank_events()}), encoding=encoding)
    assert summarize(read_trace(path)).devices[0].kernels == 6


def halves(events: list[dict]) -> list[dict]:
    """As pairs of a beginning and an end, in order of time."""
    found = []
    for each in events:
        first = {**each, "ph": "B"}
        del first["dur"]
        found += [first, {"ph": "E", "pid": each["pid"], "tid": each["tid"], "ts": each["ts"] + each["dur"]}]
    return sorted(found, key=lambda each: (each["ts"], each["ph"] == "B"))


def test_events_in_two_halves_are_those_of_the_whole(tmp_path: Path):
    expected = kineto(tmp_path, rank_events())
    assert kineto(tmp_path, halves(rank_events())).devices == expected.devices


def test_an_end_belongs_to_the_latest_beginning_of_its_thread(tmp_path: Path):
    nested = [event("user_annotation", name, T0 + at, 1000 - 2 * at) for name, at in (("ProfilerStep#1", 0), ("a", 9))]
    other = [event("user_annotation", "elsewhere", T0 + 5, 2000, tid=41)]
    summary = kineto(tmp_path, halves([*nested, *other]))
    assert [(each.name, each.cpu_ns) for each in summary.host_phases] == [("a", 982 * US)]


def test_halves_without_their_other_half_are_said(tmp_path: Path):
    events = halves([event("user_annotation", f"ProfilerStep#{n}", T0 + 1000 * n, 1000) for n in range(3)])
    cut = kineto(tmp_path, events[:-1])
    assert (cut.steps, said(cut)["GB517"][:10]) == (2, "1 step was")
    headless = kineto(tmp_path, events[1:])
    assert (headless.steps, headless.unread) == (2, {"ends of events without a beginning": 1})


def test_a_work_without_a_stream_leaves_their_number_unknown(tmp_path: Path):
    device = nsys(tmp_path, "UPDATE CUPTI_ACTIVITY_KIND_KERNEL SET streamId = NULL WHERE correlationId = 3").devices[0]
    assert (device.streams, device.absent["streams"]) == (None, "some work does not tell its stream")


def test_a_database_whose_tables_hold_nonsense_is_no_crash(tmp_path: Path):
    path = tmp_path / "t.sqlite"
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE NVTX_EVENTS (start, end, eventType, text, textId, globalTid, domainId)")
        connection.execute("INSERT INTO NVTX_EVENTS VALUES ('a', x'00', 'b', 1.5, 'c', -7, 'd')")
        connection.commit()
    with pytest.raises(TraceError, match="was understood: it holds 1 event of NVTX type None"):
        read_trace(path)


def test_kernels_that_overlap_on_one_stream_are_counted(tmp_path: Path):
    events = rank_events()
    late = event("kernel", "late", T0 + 250, 200, pid=0, tid=7, device=0, stream=7, correlation=90)
    assert "GB516" not in said(kineto(tmp_path, events))
    assert "1 of 7 kernels begin before the one before them" in said(kineto(tmp_path, [*events, late]))["GB516"]
    late["args"]["stream"] = 8
    assert "GB516" not in said(kineto(tmp_path, [*events, late]))


def test_kernels_of_a_graph_may_overlap_on_the_stream_it_was_launched_on(tmp_path: Path):
    launch = event("cuda_runtime", "cudaGraphLaunch", T0 + 60, 5, correlation=90)
    both = [
        event("kernel", name, at, 300, pid=0, tid=7, device=0, stream=7, correlation=90)
        for name, at in (("a", T0 + 720), ("b", T0 + 730))
    ]
    assert "GB516" not in said(kineto(tmp_path, [*rank_events()[:4], launch, *both]))


@pytest.mark.parametrize(("size", "known"), [(30_000_000, 30_000_000), (3 * 10**11, None), (2**50, None)])
def test_a_size_that_no_card_could_copy_in_the_time_is_unknown(size, known, tmp_path: Path):
    place = {"device": 0, "stream": 9, "correlation": 90, "bytes": size}
    copy = event("gpu_memcpy", "Memcpy HtoD (Pinned -> Device)", T0 + 100, 800, pid=0, tid=9, **place)
    found = kineto(tmp_path, [*rank_events(), copy])
    row = found.devices[0].copies["h2d"]
    assert row.bytes == known
    said_so = "1 of 1 copies are larger than a card could copy in their time" in said(found).get("GB516", "")
    assert said_so is (known is None)
