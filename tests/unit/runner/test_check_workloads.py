"""What is said where importing a user's module ends the program that tries it, or does not end."""

import signal
import sys
import threading
import time

import pytest

from gpubench.runner import check_workloads
from gpubench.suite.model.case import Case

CASE = Case(workload="net.py:Net", input="3")
DEAF = """
import time
print("loading weights", flush=True)
while True:
    try:
        time.sleep(60)
    except BaseException:
        pass
"""


def found(monkeypatch, code, **options):
    def command(*arguments):
        return sys.executable, "-Ic", code, arguments[-1]

    monkeypatch.setattr(check_workloads.start_module, "command", command)
    return check_workloads.unusable_workloads([CASE], **options)


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("import os; os._exit(7)", "7: it printed nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV: it printed nothing"),
        ("import os; print('a\\nb', flush=True); os._exit(1)", "1: a / b"),
    ],
)
def test_a_module_that_kills_its_process_is_named(monkeypatch, code, ending):
    said = found(monkeypatch, code)["net.py:Net"][0]
    assert said == f"importing or calling net.py:Net ended the process with {ending}"


def test_an_import_without_end_is_given_up_with_what_to_do(monkeypatch):
    message, hint = found(monkeypatch, DEAF, timeout_s=0.5)["net.py:Net"]
    assert message.startswith("importing net.py:Net takes longer than 500 ms: ")
    assert "__main__" in hint
    assert "-s measure.timeout=20m" in hint


def test_of_a_long_import_it_is_said_since_when(monkeypatch):
    heard = []
    monkeypatch.setattr(check_workloads, "_PATIENCE_S", 0.01)
    found(monkeypatch, DEAF, timeout_s=0.3, say=heard.append)
    assert len(heard) >= 2
    assert heard[0].startswith(f"still importing net.py:Net, since {time.strftime('%H:')}")
    assert heard[0].endswith("it is ended after 300 ms, or now with Ctrl-C")


def test_an_import_that_ignores_ctrl_c_is_ended_by_it(monkeypatch):
    begun = []
    popen = check_workloads.subprocess.Popen

    def watched(*arguments, **options):
        begun.append(popen(*arguments, **options))
        threading.Timer(0.2, signal.pthread_kill, (threading.main_thread().ident, signal.SIGINT)).start()
        return begun[0]

    monkeypatch.setattr(check_workloads.subprocess, "Popen", watched)
    with pytest.raises(KeyboardInterrupt):
        found(monkeypatch, DEAF)
    assert begun[0].returncode == -signal.SIGKILL


def test_what_a_module_prints_is_no_answer(monkeypatch):
    code = "import pathlib, sys; print('loading'); pathlib.Path(sys.argv[1]).write_text('[[\"it prints\", \"\"]]')"
    assert found(monkeypatch, code) == {"net.py:Net": ("it prints", "")}
