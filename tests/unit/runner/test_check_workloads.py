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
    code = 'import pathlib, sys; print(\'loading\'); pathlib.Path(sys.argv[1]).write_text(\'["net.py:Net", ["it prints", ""]]\\n\')'
    assert found(monkeypatch, code) == {"net.py:Net": ("it prints", "")}


MODULES = {
    "hides": "import sys\nsys.path.clear()\nimport builtins\nbuiltins.torch = None\n",
    "leaves": "import os\nos._exit(0)\n",
    "crashes": "import os\nos.abort()\n",
    "waits": "import time\ntime.sleep(60)\n",
    "after": "",
}
NET = """
import torch, fractions, wave
assert torch
class Net(torch.nn.Linear):
    def __init__(self):
        super().__init__(3, 2)
"""


@pytest.mark.slow
def test_each_module_is_asked_about_by_itself(tmp_path, monkeypatch):
    for name, code in {**MODULES, "before": ""}.items():
        (tmp_path / f"{name}.py").write_text(NET + code)
    monkeypatch.chdir(tmp_path)
    cases = [
        Case(workload=f"{name}.py:Net", input="3")
        for name in ("hides", "before", "leaves", "crashes", "waits", "after")
    ]
    heard = []
    said = check_workloads.unusable_workloads(cases, (str(tmp_path),), timeout_s=8, say=heard.append)
    assert {name: text.partition(": ")[0] for name, (text, _) in said.items()} == {
        "leaves.py:Net": "importing or calling leaves.py:Net ended the process with 0",
        "crashes.py:Net": "importing or calling crashes.py:Net ended the process with SIGABRT",
        "waits.py:Net": "importing waits.py:Net takes longer than 8.0 s",
    }
    assert "still importing waits.py:Net" in {text.partition(",")[0] for text in heard}
