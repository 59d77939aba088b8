"""What survives: real processes that are killed, hold a folder, or run into a limit."""

import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.runs import FakeRun

from gpubench.core.errors import StoreError
from gpubench.store.run_reader import load_run
from gpubench.store.run_writer import RunWriter

PROJECT = Path(__file__).parents[3]

PROGRAM = """
import sys
from pathlib import Path
from fakes.runs import cpu_run
from gpubench.core.errors import StoreError
from gpubench.store.run_writer import RunWriter

made = cpu_run()
try:
    writer = RunWriter.create(Path(sys.argv[1]), made.info)
    print("ready", flush=True)
    if sys.argv[2] == "hold":
        sys.stdin.read()
        sys.exit()
    for repeat in range(1, 100_000):
        writer.append(made.records[0].model_copy(update={"repeat": repeat, "reason": "x" * 20_000}))
        print(repeat, flush=True)
except StoreError as error:
    print("error:", error, flush=True)
"""


def start(folder: Path, what: str, *, most_bytes: int | None = None) -> "subprocess.Popen[str]":
    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    environment = {**os.environ, "PYTHONPATH": f"{PROJECT}:{PROJECT / 'tests'}"}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(folder), what],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
        preexec_fn=limit,
    )


def lines_of(process: "subprocess.Popen[str]", count: int) -> list[str]:
    """The next lines that it prints."""
    assert process.stdout is not None
    return [process.stdout.readline().rstrip() for _ in range(count)]


def test_a_folder_in_use_by_another_process_is_refused_with_its_number(tmp_path: Path, fake: FakeRun) -> None:
    with start(tmp_path / "run", "hold") as other:
        assert lines_of(other, 1) == ["ready"]
        for again in (
            lambda: RunWriter.create(tmp_path / "run", fake.info),
            lambda: RunWriter.resume(tmp_path / "run"),
        ):
            with pytest.raises(StoreError, match=f"run is in use by process {other.pid}"):
                again()
        assert load_run(tmp_path / "run").info == fake.info
        other.communicate("")


def test_the_lock_of_a_killed_process_locks_nothing(tmp_path: Path, fake: FakeRun) -> None:
    with start(tmp_path / "run", "hold") as other:
        assert lines_of(other, 1) == ["ready"]
        other.kill()
    assert (tmp_path / "run" / ".lock").exists()
    with RunWriter.resume(tmp_path / "run") as writer:
        writer.append(fake.records[0])
    assert not (tmp_path / "run" / ".lock").exists()
    assert load_run(tmp_path / "run").records == fake.records[:1]


@pytest.mark.parametrize("after", [1, 7, 30])
def test_a_writer_killed_in_the_middle_loses_nothing_that_it_finished(tmp_path: Path, after: int) -> None:
    with start(tmp_path / "run", "append") as writer:
        ready, *seen = lines_of(writer, 1 + after)
        writer.kill()
        assert writer.stdout is not None
        # `communicate` would lose the lines that `readline` has taken from the pipe ahead of time.
        rest = writer.stdout.read()
    finished = int([*seen, *rest.split()][-1])
    assert (ready, writer.returncode) == ("ready", -signal.SIGKILL)
    run = load_run(tmp_path / "run")
    repeats = [record.repeat for record in run.records]
    assert repeats == list(range(1, len(repeats) + 1))
    assert finished <= len(repeats) <= finished + 1
    with RunWriter.resume(tmp_path / "run") as again:
        again.append(run.records[0])
    after_resume = load_run(tmp_path / "run")
    assert after_resume.records == (*run.records, run.records[0])
    assert after_resume.dropped == ()


@pytest.mark.slow
def test_a_writer_that_meets_a_limit_says_so_and_keeps_what_it_stored(tmp_path: Path) -> None:
    with start(tmp_path / "run", "append", most_bytes=2**21) as writer:
        printed, _ = writer.communicate()
    ready, *stored, error = printed.splitlines()
    assert ready == "ready"
    assert error == f"error: cannot write {tmp_path}/run/records.jsonl: file too large"
    assert len(stored) > 90
    run = load_run(tmp_path / "run")
    assert [record.repeat for record in run.records] == [int(number) for number in stored]
    assert run.dropped == ()


def test_a_limit_too_small_for_a_run_is_found_before_it_starts(tmp_path: Path) -> None:
    with start(tmp_path / "run", "append", most_bytes=2**16) as writer:
        printed, _ = writer.communicate()
    assert printed == f"error: cannot write to {tmp_path}/run: file too large\n"
    assert list(tmp_path.iterdir()) == []
