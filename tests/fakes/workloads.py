"""Workloads that do one thing, most of them badly. Found as `workloads:Name` with this folder on the search path.

This file names no library, so that a host for them loads little; what needs one has a file of its own.
"""

import contextlib
import ctypes
import os
import resource
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

from gpubench.worker.workloads.base import Health, Unsupported

SLEEP_S = 0.004


class Sleeper:
    """Sleeps a known time per step."""

    def build(self, case, device):
        return lambda: time.sleep(SLEEP_S)


class Slow:
    """A step takes longer than a short suite allows for the whole case."""

    def build(self, case, device):
        return lambda: time.sleep(0.4)


class Counts:
    """Says how many steps it did since the counters were set back, and how many samples it takes."""

    def build(self, case, device):
        self.num_steps = 0
        return self._step

    def _step(self):
        self.num_steps += 1
        time.sleep(0.002)

    def samples_per_step(self, case):
        return 7

    def flops_per_sample(self, case):
        return 1000.0

    def reset_health(self):
        self.num_steps = 0

    def health(self):
        return Health(optimizer_steps=self.num_steps)


class Miscounts(Counts):
    def health(self):
        return Health(optimizer_steps=self.num_steps // 2)


class NotFinite(Sleeper):
    def health(self):
        return {"finite": False, "parameters_moved": False, "scaler_skipped_steps": 5}


class Raises:
    def build(self, case, device):
        return self._step

    def _step(self):
        raise ZeroDivisionError("the third layer has no inputs")


class RaisesInBuild:
    def build(self, case, device):
        raise ValueError("no such model")


class Cannot:
    def build(self, case, device):
        raise Unsupported("this workload needs a device with wheels")


class Exits:
    def build(self, case, device):
        return lambda: sys.exit(3)


class ExitsHard:
    def build(self, case, device):
        return lambda: os._exit(5)


class Prints(Sleeper):
    def build(self, case, device):
        print('{"type": "result"}')
        os.write(2, b"from below\n")
        return super().build(case, device)


class TakesTheOutputAway(Sleeper):
    def build(self, case, device):
        sys.stdout = sys.stderr = None
        return super().build(case, device)


class RaisesWithoutOutput(TakesTheOutputAway):
    def build(self, case, device):
        super().build(case, device)
        raise ValueError("no stream is left")


class ClosesTheOutput(Sleeper):
    def build(self, case, device):
        for stream in (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__):
            stream.close()
        raise ValueError("every stream is closed")


class GrowsInPython:
    """Allocates without end under an address-space limit of 2 GiB above what it has."""

    def build(self, case, device):
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + 2**31, resource.RLIM_INFINITY))
        self.kept = []
        return self._step

    def _step(self):
        self.kept.append(bytearray(512 * 2**20))


class Segfaults:
    def build(self, case, device):
        return lambda: ctypes.string_at(0)


class LeavesProcess(Sleeper):
    """Leaves a process of its own behind, whose id it writes beside its log."""

    def build(self, case, device):
        left = subprocess.Popen(["sleep", "600"])
        print("left", left.pid)
        return super().build(case, device)


class LeavesDaemon(Sleeper):
    """The same in a session of its own, with a child: what ends a process group does not reach them."""

    def build(self, case, device):
        left = subprocess.Popen(["sh", "-c", "sleep 600 & echo left $! $$; wait"], start_new_session=True)
        time.sleep(0.2)
        assert left.poll() is None
        return super().build(case, device)


class CloseRaises(Sleeper):
    def close(self):
        raise RuntimeError("the loader is stuck")


class ParityRaises(Sleeper):
    def parity(self, case, device):
        raise RuntimeError("no reference today")


class Waits(Sleeper):
    """Waits for its input half of each step, and says so."""

    def build(self, case, device):
        self.input_waits_s = []
        return self._step

    def _step(self):
        time.sleep(SLEEP_S)
        self.input_waits_s.append(SLEEP_S / 2)


class Hangs:
    def build(self, case, device):
        return lambda: time.sleep(3600)


class HangsAtItsEnd(Sleeper):
    """Its process does not end after its result was sent."""

    def build(self, case, device):
        real_exit = os._exit

        def exit_late(status):
            time.sleep(3600)
            real_exit(status)

        os._exit = exit_late
        return super().build(case, device)


class KillsItself:
    def build(self, case, device):
        return lambda: os.kill(os.getpid(), signal.SIGKILL)


class KillsItsHost:
    def build(self, case, device):
        return lambda: (os.kill(os.getppid(), signal.SIGKILL), time.sleep(60))


def _write_to_pipes(text):
    for path in list(Path("/proc/self/fd").iterdir()):
        with contextlib.suppress(OSError):
            if int(path.name) > 2 and stat.S_ISFIFO(path.stat().st_mode):
                os.write(int(path.name), text)


class TalksNonsense(Sleeper):
    """Writes something that is no message to every pipe it finds open."""

    def build(self, case, device):
        _write_to_pipes(b"\x00\xff this is no message\n")
        return super().build(case, device)


class TearsItsMessage:
    """Ends in the middle of a message."""

    def build(self, case, device):
        _write_to_pipes(b'{"type": "resu')
        os._exit(0)


class ReadsItsEnvironment(Sleeper):
    def build(self, case, device):
        if os.environ.get("GPUBENCH_TEST_FLAVOUR") != "vanilla":
            raise RuntimeError("the variable is not set")
        return super().build(case, device)


class Slowable(Sleeper):
    """Sleeps so many per cent longer as the learning rate (from 1 on) or the environment says."""

    def build(self, case, device):
        more = float(os.environ.get("GPUBENCH_TEST_SLOWER", 0)) + (case.learning_rate if case.learning_rate >= 1 else 0)
        seconds = SLEEP_S * (1 + more / 100)
        return lambda: time.sleep(seconds)


class Coroutine:
    """Its step is never awaited."""

    def build(self, case, device):
        async def work():
            pass

        return work


class Lazy:
    """Its step returns an iterator that nobody asks for anything."""

    def build(self, case, device):
        return lambda: map(time.sleep, [SLEEP_S])


class NoStep:
    def build(self, case, device):
        return 7


class Meddler(Sleeper):
    """Sets something for the whole process where its learning rate is 1: when built, or in every step."""

    meddle = staticmethod(lambda: None)
    in_steps = False

    def build(self, case, device):
        meddles = case.learning_rate == 1
        if meddles and not self.in_steps:
            self.meddle()

        def step():
            if meddles and self.in_steps:
                self.meddle()
            time.sleep(SLEEP_S)

        return step


class Alone(Sleeper):
    """There is room for one of it in a process."""

    built = 0

    def build(self, case, device):
        if Alone.built:
            raise MemoryError("there is room for one")
        Alone.built += 1
        return super().build(case, device)

    def close(self):
        Alone.built -= 1


class Sticky:
    """Takes half as long again for as long as it runs, where a replica with another learning rate ran before it."""

    last = None
    step_s = 0.001

    def build(self, case, device):
        self.rate = case.learning_rate
        return self._step

    def _step(self):
        last, Sticky.last = Sticky.last, self
        if last is not self:
            Sticky.step_s = 0.001 if last is None or last.rate == self.rate else 0.0015
        time.sleep(Sticky.step_s)
