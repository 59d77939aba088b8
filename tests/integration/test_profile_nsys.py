"""The real nsys, end to end, as a person types it: NVTX needs no GPU. Skipped with the reason where there is no nsys."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpubench.profile.capture import profiler_tools, run_tool
from gpubench.profile.capture.secrets import without_secrets
from gpubench.profile.errors import SessionError, TraceError
from gpubench.profile.figures.summary_model import Summary
from gpubench.profile.traces.nsys_sqlite import read
from gpubench.profile.traces.trace import Trace

pytestmark = pytest.mark.slow

STEPS = 4
PHASES = ["data", "h2d", "forward", "loss", "backward", "optimizer"]
SECRETS = {
    "PLANTED_TOKEN": "hunter2-planted-in-the-environment",
    "INDEX": "https://me:pa55word-planted@example.org/simple",
    "DEPLOY_KEY": "4f5e6d7c8b9a0f1e2d3c4b5a69788796",
}
SUITE = """
schema: 1
name: tiny
defaults: {workload: cnn, data: digits, image_size: 28, device: cpu, batch_size: 8, cpu_threads: 1, env: {MY_SETTING: kept}}
matrix: {mode: [train, infer]}
measure: {min_time: 50ms, max_time: 500ms, repeats: 1}
"""


def gpubench(*arguments: str, under: tuple[str, ...] = (), **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*under, sys.executable, "-m", "gpubench", *arguments],
        capture_output=True,
        text=True,
        timeout=240,
        check=True,
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
    )


def exported(nsys: str, report: Path, folder: Path, kind: str = "sqlite") -> Path:
    environ, _ = without_secrets(os.environ)
    tool = profiler_tools.find_tool("nsys", nsys)
    output = folder / f"{report.stem}.{kind}"
    if kind == "sqlite":
        return run_tool.export(tool, report, output, environ=environ)
    run_tool.run_tool(
        profiler_tools.text_command(tool, report, output), log=folder / "log", environ=environ, timeout_s=120
    )
    return output


@dataclass(frozen=True)
class Session:
    folder: Path
    printed: subprocess.CompletedProcess[str]
    trace: Trace

    @property
    def summary(self) -> Summary:
        return Summary.model_validate_json((self.folder / "profile.json").read_bytes())


@pytest.fixture(scope="module")
def captured(nsys: str, tmp_path_factory: pytest.TempPathFactory) -> Session:
    """With secrets in the environment of gpubench itself, which nsys looks at as it looks at every process."""
    folder = tmp_path_factory.mktemp("nsys")
    (folder / "suite.yaml").write_text(SUITE)
    out = folder / "out"
    printed = gpubench(
        "profile",
        str(folder / "suite.yaml"),
        "-k",
        "mode=train",
        "-s",
        "batch_size=4",
        "--tool",
        "nsys",
        "--nsys",
        nsys,
        "--steps",
        str(STEPS),
        "--out",
        str(out),
        "--json",
        **SECRETS,
    )
    if not (out / "profile.nsys-rep").exists():
        _skip_where_it_was_dropped(out, printed)
    return Session(out, printed, read(exported(nsys, out / "profile.nsys-rep", folder)))


def _skip_where_it_was_dropped(out: Path, printed: "subprocess.CompletedProcess[str]") -> None:
    """A compressed report of a format that is not known here may not be cleaned; one that cannot must not be kept."""
    assert "No trace was kept" in printed.stderr
    for path in out.rglob("*"):
        content = path.read_bytes() if path.is_file() else b""
        assert not any(secret.encode() in content for secret in SECRETS.values()), path
    pytest.skip(
        "nsys compressed the planted secrets so that they could not be taken out: the report was dropped, as it must be"
    )


def test_exactly_the_steps_asked_for_are_in_the_trace(captured: Session):
    summary = captured.summary
    assert json.loads(captured.printed.stdout) == json.loads((captured.folder / "profile.json").read_text())
    assert (summary.tool, summary.steps, summary.case["batch_size"]) == ("nsys", STEPS, 4)
    assert [each.name for each in summary.host_phases] == PHASES
    assert "GB511" not in {each.code for each in summary.warnings}
    assert json.loads((captured.folder / "worker.json").read_text())["emitter"] in ("on", "forced")


def test_no_warm_up_step_is_inside_and_every_range_carries_our_domain(captured: Session):
    ours = sorted((each for each in captured.trace.ranges if each.domain == "gpubench"), key=lambda each: each.start)
    assert [each.payload for each in ours if each.name == "step"] == list(range(STEPS))
    assert {each.name for each in ours if not each.nested} == {"capture"}
    assert {"suite:tiny", "case:train", "steady"} <= {each.name for each in ours}
    assert "warmup" not in {each.name for each in ours}


def test_a_planted_secret_is_in_no_file_that_profiling_leaves(captured: Session, nsys: str, tmp_path: Path):
    """Neither as it lies on the disk, nor in what the tool reads from its compressed report."""
    text = exported(nsys, captured.folder / "profile.nsys-rep", tmp_path, "text")
    files = [path for path in captured.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"profile.json", "profile.log", "profile.nsys-rep", "worker.json"}
    for path in [*files, text]:
        content = path.read_bytes()
        for secret in (*SECRETS.values(), "pa55word"):
            assert secret.encode() not in content, path
    assert b"MY_SETTING" in text.read_bytes()
    assert "Left out of its environment" in captured.printed.stderr
    assert "Overwritten in the report, which lists every process in sight:" in captured.printed.stderr


def test_the_report_is_read_from_its_own_format_too(captured: Session, nsys: str):
    report = captured.folder / "profile.nsys-rep"
    printed = gpubench("profile", "read", str(report), "--json", "--nsys", nsys)
    assert json.loads(printed.stdout)["steps"] == STEPS
    screen = gpubench("profile", "read", str(report), "--nsys", nsys, COLUMNS="80").stdout
    assert f"Steps      {STEPS}, " in screen
    assert f"nsys-ui {report}" in screen


def test_a_session_of_ones_own_shows_the_ranges_of_the_workers(nsys: str, tmp_path: Path):
    """The command line of the guide, around a whole run."""
    (tmp_path / "suite.yaml").write_text(SUITE)
    page = (Path(__file__).parents[2] / "docs" / "profiling.md").read_text()
    options = page.split("    nsys profile ")[1].split("\\")[0].split()
    options = [option if not option.startswith("--output=") else f"--output={tmp_path / 'mine'}" for option in options]
    store = tmp_path / "store"
    gpubench(
        "run",
        str(tmp_path / "suite.yaml"),
        "-k",
        "mode=train",
        "--store",
        str(store),
        "--no-report",
        under=(nsys, "profile", *options),
    )
    trace = read(exported(nsys, tmp_path / "mine.nsys-rep", tmp_path))
    ours = [each for each in trace.ranges if each.domain == "gpubench"]
    assert {"suite:tiny", "case:train", "step", *PHASES} <= {each.name for each in ours}
    assert {"warmup", "steady"} & {each.name for each in ours}
    (record,) = map(json.loads, next(store.glob("*/records.jsonl")).read_text().splitlines())
    assert (record["status"], record["isolation"]) == ("ok", "fresh")
    assert record["effective"]["extra"]["nvtx"] in ("on", "forced")
    assert "GB507" not in gpubench("profile", "read", str(tmp_path / "mine.nsys-rep"), "--nsys", nsys).stdout


def test_a_program_that_opens_no_capture_is_told_by_the_real_log(nsys: str, tmp_path: Path):
    tool = profiler_tools.find_tool("nsys", nsys)
    environ, _ = without_secrets(os.environ)
    program = [sys.executable, "-c", "print('hello from the program')"]
    command = profiler_tools.nsys_command(tool, profiler_tools.probe_nsys(tool, environ), tmp_path / "profile", program)
    ended = run_tool.run_tool(command, log=tmp_path / "log", environ=environ, timeout_s=120)
    assert ended.exit_status == 0  # which says nothing
    with pytest.raises(SessionError, match=r"never opened[\s\S]*hello from the program"):
        run_tool.report_of(ended, tmp_path / "profile", timeout_s=120)


def test_a_real_session_that_takes_too_long_is_ended_and_leaves_nothing(nsys: str, tmp_path: Path):
    tool = profiler_tools.find_tool("nsys", nsys)
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    environ = {**without_secrets(os.environ)[0], "TMPDIR": str(scratch)}
    program = [sys.executable, "-c", "import time; print('waiting', flush=True); time.sleep(300)"]
    command = [
        str(tool.path),
        "profile",
        "--trace=nvtx",
        "--sample=none",
        "--cpuctxsw=none",
        f"--output={tmp_path / 'p'}",
    ]
    ended = run_tool.run_tool([*command, *program], log=tmp_path / "log", environ=environ, timeout_s=8)
    assert ended.timed_out
    left = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True, check=True).stdout
    assert str(tmp_path) not in left


def test_a_damaged_report_is_refused_with_the_tools_own_words(captured: Session, nsys: str, tmp_path: Path):
    cut = tmp_path / "cut.nsys-rep"
    cut.write_bytes((captured.folder / "profile.nsys-rep").read_bytes()[:4000])
    with pytest.raises(TraceError, match="could not export"):
        exported(nsys, cut, tmp_path)
