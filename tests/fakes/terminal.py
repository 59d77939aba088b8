"""What `gpubench` writes to a terminal, and whether a terminal of that width would break it inside a word."""

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path

from gpubench.report.model.inert_text import cell_width

ROOT = Path(__file__).parents[2]
WIDTHS = (60, 80, 100, 140)
WIDE = 1000


def on_a_terminal(arguments: list[str], width: int, cwd: Path | None = None, **environment: str) -> str:
    """Both streams of the command on a terminal of that many columns."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    env = {key: value for key, value in os.environ.items() if key not in ("NO_COLOR", "CI", "COLUMNS")}
    env |= {"TERM": "xterm-256color", "PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", **environment}
    command = [sys.executable, "-m", "gpubench", *arguments]
    process = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=env, cwd=cwd)
    os.close(slave)
    said = b""
    try:
        while chunk := os.read(master, 65536):
            said += chunk
    except OSError:  # Linux answers with an error once the other end is closed
        pass
    os.close(master)
    process.wait(timeout=60)
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
