"""What is said where importing a user's module ends the program that tries it, or does not end."""

import subprocess
import sys
from pathlib import Path

import pytest

from gpubench.runner import check_workloads
from gpubench.suite.model.case import Case

CASE = Case(workload="net.py:Net", input="3")


def said(monkeypatch, code):
    monkeypatch.setattr(check_workloads.start_module, "command", lambda *_: (sys.executable, "-Ic", code))
    return check_workloads.unusable_workloads([CASE])["net.py:Net"]


@pytest.mark.parametrize(
    ("code", "ending"),
    [
        ("import os; os._exit(7)", "7: it printed nothing"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "SIGSEGV: it printed nothing"),
        ("import os; print('a\\nb', flush=True); os._exit(1)", "1: a / b"),
    ],
)
def test_a_module_that_kills_its_process_is_named(monkeypatch, code, ending):
    assert said(monkeypatch, code)[0] == f"importing or calling net.py:Net ended the process with {ending}"


def test_an_import_without_end_is_given_up_with_what_to_do(monkeypatch):
    monkeypatch.setattr(check_workloads, "TIMEOUT_S", 0.1)
    message, hint = said(monkeypatch, "import time; time.sleep(60)")
    assert message == "importing net.py:Net takes longer than 0 s"
    assert "__main__" in hint


def test_what_a_module_prints_is_no_answer(monkeypatch):
    def answers(command, **_):
        Path(command[-1]).write_text('[["it prints", ""]]')
        return subprocess.CompletedProcess(command, 0, "loading weights ...", "warning")

    monkeypatch.setattr(subprocess, "run", answers)
    assert check_workloads.unusable_workloads([CASE]) == {"net.py:Net": ("it prints", "")}
