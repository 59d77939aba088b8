"""One run of a program: small real ones, as a person would start them."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from gpubench.runner import program_run
from gpubench.runner.program_run import ProgramStartError, TreeMemory, run_program

MIB = 2**20


def run(command, environ=None, **options):
    return run_program(command, os.environ if environ is None else environ, **options)


def python(code):
    return [sys.executable, "-S", "-E", "-c", code]


@pytest.mark.parametrize(("code", "returncode", "exit_status"), [("exit 7", 7, 7), ("kill -9 $$", -9, 137)])
def test_a_status_is_what_a_shell_would_report(code, returncode, exit_status):
    ended = run(["sh", "-c", code])
    assert (ended.returncode, ended.exit_status) == (returncode, exit_status)
    assert ended.interrupted is False


def test_wall_and_cpu_time_are_those_of_the_program():
    ended = run(python("import time; t = time.process_time()\nwhile time.process_time() < t + 0.2: pass"))
    assert 0.2 <= ended.user_s + ended.system_s <= ended.wall_s * os.cpu_count() + 0.02
    asleep = run(["sleep", "0.2"])
    assert asleep.wall_s >= 0.2
    assert asleep.user_s + asleep.system_s < 0.1


def test_cpu_time_of_an_orphan_that_has_ended_counts(tmp_path):
    busy = (
        f"import os, time; t = time.process_time()\nwhile time.process_time() < t + 0.2: pass\n"
        f"open('{tmp_path}/part', 'w').write(str(os.getpid())); os.rename('{tmp_path}/part', '{tmp_path}/pid')"
    )
    status = f"/proc/$(cat {tmp_path}/pid)/status"
    gone = f"[ ! -e {status} ] || grep -q zombie {status}"
    wait = f"until [ -e {tmp_path}/pid ]; do sleep 0.05; done; until {gone}; do sleep 0.05; done"
    ended = run(["sh", "-c", f'(setsid {sys.executable} -S -c "{busy}" &) ; {wait}'])
    assert ended.user_s + ended.system_s >= 0.2
    assert ended.left_running == 0


def test_what_still_runs_is_counted_and_left_alone():
    assert run(["sh", "-c", "setsid sleep 5 >/dev/null 2>&1 &"]).left_running == 1
    assert run(["true"]).left_running == 0  # the next run does not count it


def test_memory_is_that_of_all_processes_and_shared_pages_count_once():
    code = """
import os, time
held = bytearray(100 << 20)
children = []
for _ in range(2):
    child = os.fork()
    if child == 0:
        own = bytearray(50 << 20)
        time.sleep(1.0)
        os._exit(0)
    children.append(child)
for child in children:
    os.waitpid(child, 0)
"""
    ended = run(python(code))
    # A process of an earlier test may lose its parent meanwhile.
    assert 3 <= ended.num_processes <= 3 + ended.left_running
    assert 200 * MIB < ended.peak_memory_bytes < 300 * MIB  # 400 MiB would be counting shared pages three times
    assert 150 * MIB < ended.largest_process_bytes < 180 * MIB


def test_a_small_program_does_not_get_the_memory_of_gpubench():
    held = bytearray(300 * MIB)
    held[::4096] = b"x" * len(held[::4096])
    ended = run(["sleep", "1"])
    assert ended.peak_memory_bytes < 20 * MIB


def test_memory_that_could_not_be_read_is_unknown(monkeypatch):
    monkeypatch.setattr(program_run.TreeMemory, "take", lambda self, pids: None)
    ended = run(["true"])
    assert ended.peak_memory_bytes is None
    assert ended.absent["peak_memory_bytes"] == "it ended before its memory could be read"


def test_reading_memory_takes_a_small_share_of_the_time(monkeypatch):
    waits = []
    memory = TreeMemory()
    clock = iter([0.0, 0.5])
    monkeypatch.setattr(program_run.time, "thread_time", lambda: next(clock))
    monkeypatch.setattr(program_run, "descendants", list)
    monkeypatch.setattr(memory._ending, "wait", lambda timeout_s: waits.append(timeout_s) or True)
    memory._sample()
    assert waits == [pytest.approx(10.0)]


@pytest.mark.parametrize(
    ("command", "status", "said"),
    [
        (["no-such-program-here"], 127, "there is no program 'no-such-program-here'"),
        (["ls -l"], 127, "there is no program 'ls -l'"),
        ([os.devnull], 126, "/dev/null is not an executable file"),
    ],
)
def test_what_cannot_be_started_has_a_shells_status(command, status, said):
    with pytest.raises(ProgramStartError, match=said) as raised:
        run(command)
    assert raised.value.exit_status == status


@pytest.mark.parametrize(
    ("text", "said", "hint"),
    [("exit 0\n", "Exec format error", "first line"), ("#!/no/such/shell\n", "No such file", "first line")],
)
def test_a_file_without_a_first_line_that_names_its_interpreter_cannot_be_started(tmp_path, text, said, hint):
    script = tmp_path / "script"
    script.write_text(text)
    script.chmod(0o755)
    with pytest.raises(ProgramStartError, match=said) as raised:
        run([str(script)])
    assert raised.value.exit_status == 126
    assert hint in raised.value.hint


def signalled(code, number):
    """`code` in a process that gets a signal once it says that it is ready."""
    program = "import signal, sys, time\n" + code
    reader, writer = os.pipe()
    timer = threading.Thread(target=lambda: (os.read(reader, 1), os.kill(os.getpid(), number)))
    timer.start()
    try:
        return run(python(program), stdout=writer)
    finally:
        timer.join()
        os.close(reader)
        os.close(writer)


def test_a_signal_reaches_the_program_which_decides():
    code = "signal.signal({0}, lambda *_: sys.exit(5)); print(1, flush=True); time.sleep(10)"
    before = signal.getsignal(signal.SIGTERM)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGUSR1):
        ended = signalled(code.format(int(number)), number)
        assert ended.returncode == 5
        assert ended.interrupted is (number != signal.SIGUSR1)
    assert signal.getsignal(signal.SIGTERM) is before


def test_a_program_is_born_with_the_signals_of_gpubench():
    code = "import signal; raise SystemExit(signal.getsignal(signal.SIGINT) is signal.default_int_handler)"
    assert run(python(code)).returncode == 1
    usual = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert run(python(code)).returncode == 0
    finally:
        signal.signal(signal.SIGINT, usual)


def test_the_environment_is_the_one_given():
    ended = run(["/bin/sh", "-c", 'test "$A" = "1 2" && test -z "$PYDANTIC_DISABLE_PLUGINS"'], {"A": "1 2"})
    assert ended.returncode == 0


def test_standard_output_goes_where_it_is_asked_to():
    assert run(["echo", "hi"], stdout=subprocess.DEVNULL).returncode == 0
