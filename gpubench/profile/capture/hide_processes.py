"""Starts a program so that it cannot read the environment of the processes around it.

nsys copies the arguments and environment of every process it can see into its report, whatever it was asked to trace.
For the reasons behind these two ways and their order see `docs/decisions/0010-nsys-does-not-see-other-processes.md`.

This file is also the program that sets up the second way (see `_LANDLOCK`), so it imports the standard library only.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Literal, NamedTuple

Way = Literal["namespace", "landlock"]

_NAMESPACE = ("unshare", "--pid", "--fork", "--kill-child", "--mount-proc")
_USER_NAMESPACE = ("unshare", "--user", "--map-current-user", *_NAMESPACE[1:])
_PYTHON = (sys.executable, "-I", "-S")
_LANDLOCK = (*_PYTHON, __file__)
_PROBE = """import contextlib, sys
with contextlib.suppress(OSError):
    sys.stdout.buffer.write(open(f"/proc/{sys.argv[1]}/environ", "rb").read())
print("started")"""
_PROBE_TIMEOUT_S = 30.0


class Hiding(NamedTuple):
    """The prefix of a command that hides other processes from it.

    `namespace`: it sees only itself and its children. `landlock`: it sees the arguments of others, but not their
    environment. None: nothing works here, and the prefix is empty.
    """

    way: Way | None = None
    prefix: tuple[str, ...] = ()


def hide_processes(environ: Mapping[str, str]) -> Hiding:
    """The first way that a test shows to work here: a program started with it cannot read this process's
    environment.
    """
    try:
        own = Path("/proc/self/environ").read_bytes()
    except OSError:  # not Linux
        return Hiding()
    # In a user namespace, root could no longer read other users' files.
    namespace = _NAMESPACE if os.geteuid() == 0 else _USER_NAMESPACE
    ways: tuple[tuple[Way, tuple[str, ...]], ...] = (("namespace", namespace), ("landlock", _LANDLOCK))
    for way, prefix in ways:
        try:
            done = subprocess.run(
                [*prefix, *_PYTHON, "-c", _PROBE, str(os.getpid())],
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_PROBE_TIMEOUT_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            continue
        if done.stdout.endswith(b"started\n") and not (own and own in done.stdout):
            return Hiding(way, prefix)
    return Hiding()


# The rest is the program: it enters a Landlock domain, then becomes the command.

_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446  # system calls; the same on every architecture
_ASK_VERSION, _RULE_PATH_BENEATH = 1, 1
_MAKE_BLOCK_DEVICES, _MOVE_BETWEEN_FOLDERS = 1 << 11, 1 << 13
_PR_CAPBSET_DROP, _PR_SET_NO_NEW_PRIVS = 24, 38
_CAP_SYS_ADMIN, _CAP_PERFMON = 21, 38


class _PathBeneath(ctypes.Structure):
    """`struct landlock_path_beneath_attr` of linux/landlock.h."""

    _pack_ = 1
    _fields_ = (("allowed_access", ctypes.c_uint64), ("parent_fd", ctypes.c_int32))


def enter_landlock() -> None:
    """Puts this process and all its later children into a Landlock domain (Linux 5.13). OSError if the kernel has none.

    A process in a domain cannot look into processes outside it. A domain must restrict something else too: this one
    handles the right to move files between folders and grants it everywhere (Linux 5.19; a domain that does not handle
    it forbids it), or on older kernels the right to make block devices. Both capabilities dropped let a process read
    the memory of any other since Linux 6.16, Landlock or not.
    """
    libc = ctypes.CDLL(None, use_errno=True)

    def call(*arguments: object) -> int:
        result = int(libc.syscall(*arguments))
        if result < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return result

    size = ctypes.c_size_t
    version = call(_CREATE_RULESET, None, size(0), _ASK_VERSION)
    right = _MOVE_BETWEEN_FOLDERS if version > 1 else _MAKE_BLOCK_DEVICES
    ruleset = call(_CREATE_RULESET, ctypes.byref(ctypes.c_uint64(right)), size(8), 0)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    call(_ADD_RULE, ruleset, _RULE_PATH_BENEATH, ctypes.byref(_PathBeneath(right, root)), 0)
    for capability in (_CAP_SYS_ADMIN, _CAP_PERFMON):
        libc.prctl(_PR_CAPBSET_DROP, capability, 0, 0, 0)  # fails without CAP_SETPCAP
    libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    call(_RESTRICT_SELF, ruleset, 0)
    os.close(ruleset)
    os.close(root)


if __name__ == "__main__":
    enter_landlock()
    os.execvp(sys.argv[1], sys.argv[1:])  # noqa: S606 - becomes the command, without a shell
