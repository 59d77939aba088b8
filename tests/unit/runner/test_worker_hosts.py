"""Hosts that do not come up: interpreters that are scripts, so no torch is imported."""

import sys

import pytest

from gpubench.core.errors import WorkerError
from gpubench.runner.launch import worker_hosts
from gpubench.runner.launch.worker_hosts import Host, HostKey, HostPool


@pytest.fixture
def interpreter(tmp_path):
    def write(script):
        path = tmp_path / "python"
        path.write_text(f"#!/bin/sh\necho started >> {tmp_path}/starts\n{script}\n")
        path.chmod(0o755)
        return HostKey(str(path), ())

    return write


def starts(tmp_path):
    return len((tmp_path / "starts").read_text().splitlines())


def test_a_host_that_is_killed_while_it_starts_is_started_once_more(interpreter, tmp_path):
    key = interpreter("echo importing torch; kill -9 $$")
    with pytest.raises(WorkerError, match=r"SIGKILL: killed from outside.*its last output: importing torch"):
        HostPool(tmp_path / "log", lambda _: None).get(key)
    assert starts(tmp_path) == 2


def test_a_host_that_fails_by_itself_is_not_tried_again(interpreter, tmp_path):
    key = interpreter("echo no module; exit 1")
    with pytest.raises(WorkerError, match="did not start: no module"):
        HostPool(tmp_path / "log", lambda _: None).get(key)
    assert starts(tmp_path) == 1
    with pytest.raises(WorkerError, match="cannot start /no/such"):
        Host(HostKey("/no/such", ()), tmp_path / "log")


def test_a_host_that_hangs_up_and_lives_on_is_ended_and_named(interpreter, tmp_path, monkeypatch):
    monkeypatch.setattr(worker_hosts, "END_TIMEOUT_S", 0.05)
    hang_up = "import os, time; os.closerange(3, 256); time.sleep(60)"
    key = interpreter(f"echo slow exit; exec {sys.executable} -S -c '{hang_up}'")
    with pytest.raises(WorkerError, match="closed its connection and did not end: slow exit"):
        Host(key, tmp_path / "log")
