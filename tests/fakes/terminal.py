"""What `gpubench` writes to a terminal, and whether a terminal of that width would break it inside a word."""

import fcntl
import functools
import json
import os
import pty
import re
import socket
import struct
import subprocess
import sys
import termios
from pathlib import Path

from gpubench.report.model.inert_text import cell_width

ROOT = Path(__file__).parents[2]
WIDTHS = (60, 80, 100, 140)
WIDE = 1000


_READY = """
import importlib, json, os, socket, sys
from gpubench.cli.main import COMMANDS, main

for entry in COMMANDS:
    importlib.import_module(f"gpubench.cli.commands.{entry.name}")
asked = socket.socket(fileno=int(sys.argv[1]))
while True:
    question, terminals, _, _ = socket.recv_fds(asked, 65536, 1)
    if not question:
        break
    if os.fork():
        os.close(*terminals)
        os.wait()
        asked.send(b"ended")
        continue
    for number in range(3):
        os.dup2(*terminals, number)
    arguments, environment, folder = json.loads(question)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.argv[1:] = arguments
    sys.exit(main())
"""


@functools.cache
def _ready() -> tuple[socket.socket, "subprocess.Popen[bytes]"]:
    """A program with the commands imported, which forks for each that is asked of it: importing takes the longest."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    env = {**os.environ, "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"}
    with theirs:
        command = [sys.executable, "-c", _READY, str(theirs.fileno())]
        return ours, subprocess.Popen(command, pass_fds=[theirs.fileno()], env=env)


def on_a_terminal(arguments: list[str], width: int, cwd: Path | None = None, **environment: str) -> str:
    """Both streams of the command on a terminal of that many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI", "COLUMNS")}
    env |= {"TERM": "xterm-256color", **environment}
    asked, _ = _ready()
    socket.send_fds(asked, [json.dumps([arguments, env, str(cwd or Path.cwd())]).encode()], [slave])
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 65536):
            said += chunk
    except OSError:  # Linux answers with an error once the other end is closed
        pass
    os.close(master)
    assert asked.recv(16) == b"ended"
    return said.decode("utf-8")


def plain(said: str) -> str:
    """Without colours and the movements of what is redrawn."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", said).replace("\r\n", "\n").replace("\r", "\n")


def broken_lines(said: str, width: int) -> list[str]:
    """Lines that a terminal of that width would break inside a word, though the word itself would fit a line."""
    lines = plain(said).split("\n")
    return [line for line in lines if cell_width(line) > width and cell_width(line.split()[-1]) < width]


def words(said: str) -> set[str]:
    return set(plain(said).split())
