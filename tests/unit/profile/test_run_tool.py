"""Profilers that fail in the ways that real ones do, played by shell scripts."""

import os
import sys
import time
from pathlib import Path

import pytest
from fakes.hosting import is_alive

from gpubench.profile.capture import run_tool
from gpubench.profile.capture.profiler_tools import Tool
from gpubench.profile.capture.run_tool import SessionError
from gpubench.profile.traces.trace import TraceError

ENVIRON = {"PATH": os.environ["PATH"]}


def script(path: Path, body: str) -> Path:
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def ended(tmp_path: Path, body: str, *, timeout_s: float = 60) -> run_tool.Ended:
    program = script(tmp_path / "nsys", body)
    return run_tool.run_tool([str(program)], log=tmp_path / "nsys.log", environ=ENVIRON, timeout_s=timeout_s)


def failure(tmp_path: Path, body: str, **options) -> SessionError:
    with pytest.raises(SessionError) as error:
        run_tool.report_of(
            ended(tmp_path, body, **options), tmp_path / "profile", timeout_s=options.get("timeout_s", 60)
        )
    return error.value


def test_a_report_that_is_there_counts_whatever_the_exit_status(tmp_path: Path):
    done = ended(tmp_path, f"echo data > {tmp_path}/profile.nsys-rep; exit 3")
    assert run_tool.report_of(done, tmp_path / "profile", timeout_s=60) == tmp_path / "profile.nsys-rep"


def test_a_capture_that_never_opened_exits_0_and_is_told_by_its_log(tmp_path: Path):
    error = failure(tmp_path, "echo hello from the program; echo Traceback: no such model; echo Generated:; exit 0")
    assert str(error).startswith("The capture never opened")
    assert str(error).endswith("hello from the program\nTraceback: no such model\nGenerated:")
    assert "nsys.log" in error.hint


def test_a_missing_importer_leaves_a_qdstrm_and_the_message_has_the_link_to_make(tmp_path: Path):
    error = failure(
        tmp_path,
        f"echo raw > {tmp_path}/profile.qdstrm; "
        "echo 'Importer error status: The importer binary and its dependencies were not found.'",
    )
    assert "did not find its importer" in str(error)
    assert (
        "ln -s ../../nsight-systems/host-linux-x64 /usr/lib/x86_64-linux-gnu/nsight-systems/host-linux-x64"
        in error.hint
    )


def test_missing_permission_is_named(tmp_path: Path):
    error = failure(tmp_path, "echo 'CUPTI_ERROR_INSUFFICIENT_PRIVILEGES'; exit 1")
    assert "not allowed to profile" in str(error)
    assert "NVreg_RestrictProfilingToAdminUsers=0" in error.hint


def test_a_report_that_failed_after_the_capture_is_not_called_never_opened(tmp_path: Path):
    error = failure(tmp_path, "echo Capture range started in the application.; echo disk full; exit 0")
    assert str(error).startswith("nsys left no report (exit status 0)")


def test_an_empty_report_is_none(tmp_path: Path):
    assert "never opened" in str(failure(tmp_path, f": > {tmp_path}/profile.nsys-rep"))


@pytest.mark.slow
def test_a_tool_that_hangs_is_ended_after_its_time_with_everything_it_started(tmp_path: Path):
    """Its agent has its own session, like that of nsys, and the program ignores SIGTERM."""
    body = f"""trap '' TERM
echo working
setsid sh -c 'trap "" TERM; echo $$ > {tmp_path}/agent; sleep 300' &
sleep 300 &
wait; sleep 300"""
    program = script(tmp_path / "nsys", body)
    started = time.monotonic()
    done = run_tool.run_tool([str(program)], log=tmp_path / "nsys.log", environ=ENVIRON, timeout_s=1.0)
    assert done.timed_out
    assert time.monotonic() - started < 60  # a limit, not a speed: without the group's end it would be 300 s
    agent = int((tmp_path / "agent").read_text())
    assert not is_alive(agent)
    with pytest.raises(SessionError, match="took longer than 1 s and was ended") as error:
        run_tool.report_of(done, tmp_path / "profile", timeout_s=1.0)
    assert "working" in str(error.value)


def test_a_tool_gets_no_input_and_a_session_of_its_own(tmp_path: Path):
    done = ended(tmp_path, f"cat; exec '{sys.executable}' -c 'import os; print(os.getsid(0), os.getpid())'")
    sid, pid = done.log.read_text().split()
    assert sid == pid


def test_a_tool_that_is_not_there_is_an_error(tmp_path: Path):
    with pytest.raises(SessionError, match="could not be started"):
        run_tool.run_tool(["/no/such/tool"], log=tmp_path / "log", environ={}, timeout_s=1)


def test_progress_bars_are_left_out_of_the_log_shown(tmp_path: Path):
    done = ended(tmp_path, r"printf '[1/1] [8%%   ] x\r[1/1] [100%%] x\n'; echo last")
    assert done.last_lines() == "last"


def test_an_export_by_another_version_says_what_to_do(tmp_path: Path):
    tool = Tool(
        "nsys",
        script(tmp_path / "nsys", "echo 'Exportation error: Section Table Reference magic number mismatch.'; exit 0"),
    )
    with pytest.raises(TraceError, match="magic number mismatch") as error:
        run_tool.export(tool, tmp_path / "p.nsys-rep", tmp_path / "p.sqlite", environ=ENVIRON)
    assert "the version of nsys that made it, or a newer one" in error.value.hint


def test_an_export_does_not_take_an_old_file_for_its_own(tmp_path: Path):
    (tmp_path / "p.sqlite").write_text("of yesterday")
    tool = Tool("nsys", script(tmp_path / "nsys", "exit 0"))
    with pytest.raises(TraceError):
        run_tool.export(tool, tmp_path / "p.nsys-rep", tmp_path / "p.sqlite", environ=ENVIRON)


def test_an_export_that_works_leaves_no_log(tmp_path: Path):
    tool = Tool(
        "nsys",
        script(tmp_path / "nsys", 'for last; do :; done; case "$5" in --output=*) echo x > "${5#--output=}";; esac'),
    )
    assert run_tool.export(tool, tmp_path / "p.nsys-rep", tmp_path / "p.sqlite", environ=ENVIRON).read_text() == "x\n"
    assert not (tmp_path / "p.export.log").exists()


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            (
                "echo '==ERROR== ERR_NVGPUCTRPERM - The user does not have permission to access NVIDIA GPU '"
                "'Performance Counters'; exit 1"
            ),
            "not allowed",
        ),
        ("echo '==WARNING== No kernels were profiled.'", "saw no kernel inside the range"),
        ("echo boom; exit 9", r"left no report \(exit status 9\)"),
    ],
)
def test_failures_of_ncu_are_told_apart(body, message, tmp_path: Path):
    with pytest.raises(SessionError, match=message):
        run_tool.check_ncu(ended(tmp_path, body), tmp_path / "profile.ncu-rep", timeout_s=60)


def test_one_profiler_inside_another_is_refused():
    with pytest.raises(SessionError, match="already runs under a profiler"):
        run_tool.refuse_nested({"NSYS_PROFILING_SESSION_ID": "42"})
    run_tool.refuse_nested({})
