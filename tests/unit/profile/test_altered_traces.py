"""Single values of a valid trace replaced by odd ones: nothing fails, no work vanishes without being counted, and no
number appears that the file does not hold.
"""

import json
import sqlite3
from collections import Counter
from contextlib import closing
from pathlib import Path

import pytest
from fakes import traces
from fakes.odd_traces import rank_events
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace
from gpubench.profile.traces.trace import Trace, TraceError
from gpubench.report.pages.profile_page import profile_page

FEW = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
ODD_JSON = (
    *("null", "true", "[]", "{}", '""', '"x"', '"7"', "0", "-1", "0.5", "NaN", "-Infinity", "1e400", "1e5000", '"1e9"'),
    *('"\u00b2"', "70000", "99999999999999999999999", '["X"]'),
)
ODD_SQL = ("NULL", "-1", "0", "1.5", "9e300", "'x'", "'12'", "x'00ff'", str((1 << 63) - 1), str(-(1 << 63)), "70000")
DEVICE_WORK = {"kernel": "kernel", "gpu_memcpy": "copy", "gpu_memset": "memset"}
TABLES = {
    "NVTX_EVENTS": ("start", "end", "eventType", "textId", "globalTid", "domainId", "int64Value"),
    "CUPTI_ACTIVITY_KIND_RUNTIME": ("start", "end", "globalTid", "correlationId", "nameId"),
    **{
        f"CUPTI_ACTIVITY_KIND_{kind}": ("start", "end", "deviceId", "streamId", "correlationId", "globalPid")
        for kind in ("KERNEL", "MEMCPY", "MEMSET")
    },
}


def counted(trace: Trace) -> int:
    """Work that is in figures or was counted as left out."""
    left_out = (count for what, count in trace.unread.items() if what.startswith(("kernels", "copies", "memsets")))
    return len(trace.operations) + sum(left_out)


def shown(trace: Trace) -> None:
    """Figures and page can be made, shares are shares, and the document is JSON."""
    summary = summarize(trace)
    profile_page(summary)
    json.loads(summary.model_dump_json(by_alias=True), parse_constant=pytest.fail)
    for device in summary.devices:
        assert device.idle is None or -1e-9 <= device.idle <= 1
        if device.idle_reasons is not None:
            assert sum(device.idle_reasons.model_dump().values()) == pytest.approx(device.idle)


@FEW
@given(
    where=st.tuples(st.integers(0, 14), st.sampled_from(("ph", "cat", "name", "ts", "dur", "pid", "tid", "args"))),
    argument=st.none() | st.sampled_from(("device", "stream", "correlation", "bytes")),
    odd=st.sampled_from(ODD_JSON),
)
def test_an_odd_value_of_torch_profiler(where, argument, odd, tmp_path: Path):
    events = rank_events()
    index, key = where
    if argument is None:
        events[index][key] = "ODD VALUE"
    else:
        events[index]["args"][argument] = "ODD VALUE"
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"traceEvents": events}).replace('"ODD VALUE"', odd))
    trace = read_trace(path)
    shown(trace)
    left = [each for at, each in enumerate(events) if argument is not None or at != index or key not in ("ph", "cat")]
    assert counted(trace) == sum(each.get("cat") in DEVICE_WORK for each in left)
    devices = {each.number for each in trace.devices.values()}
    assert devices <= {0, 7, 70000, 10**9, None}  # those of the file, and odd ones that are numbers


@FEW
@given(
    where=st.sampled_from([(table, column) for table, columns in TABLES.items() for column in columns]),
    row=st.integers(0, 3),
    odd=st.sampled_from(ODD_SQL),
)
def test_an_odd_value_of_nsys(where, row, odd, tmp_path: Path):
    table, column = where
    path = tmp_path / "t.sqlite"
    path.unlink(missing_ok=True)
    traces.write_sqlite(traces.two_steps(), path)
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(f"CREATE TABLE untyped AS SELECT * FROM {table}")
        connection.execute(f"DROP TABLE {table}")
        names = [each[1] for each in connection.execute("PRAGMA table_info(untyped)")]
        connection.execute(f"CREATE TABLE {table} ({', '.join(names)})")
        connection.execute(f"INSERT INTO {table} SELECT * FROM untyped")
        connection.execute("DROP TABLE untyped")
        connection.execute(f"UPDATE {table} SET {column} = {odd} WHERE rowid = {row + 1}")
    trace = read_trace(path)
    shown(trace)
    assert counted(trace) == Counter(each.kind for each in traces.two_steps().work).total()
    assert {each.number for each in trace.devices.values()} <= {0, 12, 70000, None}


@FEW
@given(size=st.integers(1, 40_000))
def test_a_trace_that_was_cut_off_is_never_read(size, tmp_path: Path):
    path = tmp_path / "t.sqlite"
    if not path.exists():
        traces.write_sqlite(traces.two_steps(), path)
    content = path.read_bytes()
    cut = tmp_path / "cut.sqlite"
    cut.write_bytes(content[: min(size, len(content) - 1)])
    with pytest.raises(TraceError):
        read_trace(cut)
