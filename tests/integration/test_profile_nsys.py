"""The real nsys, end to end, on the CPU: NVTX needs no GPU. Skipped with the reason if there is no nsys."""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from gpubench.core.secrets import without_secrets
from gpubench.profile.capture import capture_case, profiler_tools, run_tool
from gpubench.profile.capture.hide_processes import Hiding, hide_processes
from gpubench.profile.capture.run_tool import SessionError
from gpubench.profile.figures.summary_model import ProfileSummary
from gpubench.profile.traces.nsys_sqlite import read
from gpubench.profile.traces.trace import Trace, TraceError
from gpubench.protocol.profile_job import ProfileJob
from gpubench.suite.model.case import Case

pytestmark = pytest.mark.slow

STEPS = 4
PHASES = ["data", "h2d", "forward", "loss", "backward", "optimizer"]
SECRETS = {
    "PLANTED_TOKEN": "hunter2-planted-in-the-environment",
    "INDEX": "https://me:pa55word-planted@example.org/simple",
    "NOTE": "ghp_plantedUnderAHarmlessName0123456789",
    "DEPLOY_KEY": "4f5e6d7c8b9a0f1e2d3c4b5a69788796",
}
LET_THROUGH = {"PASSED_TOKEN": "planted-and-let-through"}
OF_THE_SHELL = {
    "SHELL_TOKEN": "hunter3-planted-in-the-shell-above",
    "SHELL_NOTE": "ghp_plantedInTheShellAbove0123456789",
    "SHELL_PLAIN": "planted with a harmless name and value",
}
SHELL = ("sh", "-c", f'env {" ".join(f"-u {name}" for name in OF_THE_SHELL)} "$@"; exit $?', "sh")
"""Stays above gpubench, which does not inherit the secrets of it."""
SUITE = """
schema: 1
name: tiny
defaults:
  {workload: cnn, data: digits, image_size: 28, device: cpu, batch_size: 8, cpu_threads: 1, env: {MY_SETTING: kept}}
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
    def summary(self) -> ProfileSummary:
        return ProfileSummary.model_validate_json((self.folder / "profile.json").read_bytes())


def capture(nsys: str, folder: Path, **environ: str) -> Session:
    """With secrets in the environment of gpubench, and others in that of the shell above it."""
    (folder / "suite.yaml").write_text(SUITE)
    out = folder / "out"
    options = f"-k mode=train -s batch_size=4 --tool nsys --steps {STEPS} --pass-env PASSED_TOKEN --json"
    paths = ("--nsys", nsys, "--out", str(out))
    arguments = ("profile", str(folder / "suite.yaml"), *options.split(), *paths)
    printed = gpubench(*arguments, under=SHELL, **{**SECRETS, **LET_THROUGH, **OF_THE_SHELL, **environ})
    assert (out / "profile.nsys-rep").exists(), printed.stderr
    return Session(out, printed, read(exported(nsys, out / "profile.nsys-rep", folder)))


@pytest.fixture(scope="module")
def captured(nsys: str, tmp_path_factory: pytest.TempPathFactory) -> Session:
    return capture(nsys, tmp_path_factory.mktemp("nsys"))


def holds_no_planted_secret(session: Session, nsys: str, folder: Path) -> str:
    """Neither as files lie on the disk, nor in what nsys prints and exports of its report. That print."""
    report = session.folder / "profile.nsys-rep"
    exports = [exported(nsys, report, folder, "text"), exported(nsys, report, folder, "sqlite")]
    files = [path for path in session.folder.rglob("*") if path.is_file()]
    assert {path.name for path in files} == {"profile.json", "profile.log", "profile.nsys-rep"}
    for path in [*files, *exports]:
        for secret in (*SECRETS.values(), *OF_THE_SHELL.values(), "pa55word"):
            assert secret.encode() not in path.read_bytes(), (path, secret)
    return exports[0].read_text(errors="replace")


def test_exactly_the_steps_asked_for_are_in_the_trace(captured: Session):
    summary = captured.summary
    assert json.loads(captured.printed.stdout) == json.loads((captured.folder / "profile.json").read_text())
    assert (summary.tool, summary.steps, summary.case["batch_size"]) == ("nsys", STEPS, 4)
    assert [each.name for each in summary.host_phases] == PHASES
    assert "GB511" not in {each.code for each in summary.warnings}


def test_no_warm_up_step_is_inside_and_every_range_carries_our_domain(captured: Session):
    ours = sorted((each for each in captured.trace.ranges if each.domain == "gpubench"), key=lambda each: each.start)
    assert [each.payload for each in ours if each.name == "step"] == list(range(STEPS))
    assert {each.name for each in ours if not each.nested} == {"capture"}
    assert {"suite:tiny", "case:train", "steady"} <= {each.name for each in ours}
    assert "warmup" not in {each.name for each in ours}


def test_a_planted_secret_is_in_no_file_that_profiling_leaves(captured: Session, nsys: str, tmp_path: Path):
    printed = holds_no_planted_secret(captured, nsys, tmp_path)
    assert "MY_SETTING=kept" in printed
    started_with = captured.summary.environment
    assert started_with.others_hidden_by is not None
    assert set(SECRETS) <= set(started_with.withheld)
    assert not set(OF_THE_SHELL) & set(started_with.withheld)
    for name in SECRETS:
        assert (
            name in captured.printed.stderr.split("Withheld from the program as possible secrets: ")[1].splitlines()[0]
        )


def test_a_variable_let_through_by_name_reaches_the_program(captured: Session, nsys: str, tmp_path: Path):
    report = exported(nsys, captured.folder / "profile.nsys-rep", tmp_path, "text").read_text(errors="replace")
    assert "PASSED_TOKEN=planted-and-let-through" in report
    assert captured.summary.environment.passed == ("PASSED_TOKEN",)
    assert "Passed to the program as asked: PASSED_TOKEN" in captured.printed.stderr
    assert "planted-and-let-through" not in (captured.folder / "profile.json").read_text() + captured.printed.stderr


def test_without_namespaces_landlock_hides_the_secrets_of_others(
    nsys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """As in a container that may make none: a program `unshare` that fails comes first in PATH."""
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "unshare").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "bin" / "unshare").chmod(0o755)
    path = f"{tmp_path / 'bin'}{os.pathsep}{os.environ['PATH']}"
    monkeypatch.setenv("PATH", path)
    if hide_processes(os.environ).way != "landlock":
        pytest.skip("no Landlock here")
    session = capture(nsys, tmp_path)
    assert session.summary.environment.others_hidden_by == "landlock"
    holds_no_planted_secret(session, nsys, tmp_path)


def test_a_report_with_the_secret_of_another_process_is_not_kept(
    nsys: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Where nothing hides it."""
    monkeypatch.setattr(capture_case, "hide_processes", lambda environ: Hiding())
    case = Case(workload="cnn", data="digits", image_size=28, device="cpu", batch_size=4, cpu_threads=1)
    job = ProfileJob(tool="nsys", case=case, steps=2, warmup_steps=1, warmup_s=0, folder=tmp_path / "out")
    neighbour = subprocess.Popen(["sleep", "240"], env={"PATH": os.environ["PATH"], **OF_THE_SHELL})
    try:
        plan = capture_case.plan(job, "nsys", nsys=nsys)
        taken = capture_case.run(plan, timeout_s=240)
    finally:
        neighbour.kill()
        neighbour.wait()
    capture_case.tidy(plan, taken, keep_trace=True)
    assert taken.trace is None
    assert "SHELL_NOTE" in taken.note
    assert "SHELL_TOKEN" in taken.note
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"profile.log"}


def test_the_report_is_read_from_its_own_format_too(captured: Session, nsys: str):
    report = captured.folder / "profile.nsys-rep"
    printed = gpubench("profile", "read", str(report), "--json", "--nsys", nsys)
    assert json.loads(printed.stdout)["steps"] == STEPS
    screen = gpubench("profile", "read", str(report), "--nsys", nsys, COLUMNS="80").stdout
    assert f"Steps      {STEPS}, " in screen
    assert f"nsys-ui {report}" in " ".join(screen.split()), "the command may wrap"


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
