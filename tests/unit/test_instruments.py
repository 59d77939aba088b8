"""Tracers, profilers and debuggers that are seen."""

import sys
import tracemalloc

import pytest

from gpubench.core.instruments import instruments


def test_nothing_watches_this_process(tmp_path):
    assert instruments(traced=False, status=tmp_path / "none") == []


def test_a_trace_function_is_named_by_its_module():
    before = sys.gettrace()
    sys.settrace(lambda *_: None)
    try:
        assert instruments()[0] == f"a trace function of {__name__}"
        assert instruments(traced=False) == []
    finally:
        sys.settrace(before)


def test_tracemalloc_and_a_debugger_are_named(tmp_path):
    (tmp_path / "status").write_text("Name:\tpython\nTracerPid:\t77\n")
    tracemalloc.start()
    try:
        found = instruments(traced=False, status=tmp_path / "status")
    finally:
        tracemalloc.stop()
    assert found == ["tracemalloc", "a debugger (process 77)"]


@pytest.mark.skipif(not hasattr(sys, "monitoring"), reason="sys.monitoring is of Python 3.12")
def test_a_tool_of_sys_monitoring_is_named():
    sys.monitoring.use_tool_id(4, "a tool")
    try:
        assert "a tool (sys.monitoring)" in instruments()
    finally:
        sys.monitoring.free_tool_id(4)
