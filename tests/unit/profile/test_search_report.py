"""Secrets in a report of nsys, with a tool that prints what it is told to."""

import os
from pathlib import Path

import pytest

from gpubench.profile.capture.profiler_tools import Tool
from gpubench.profile.capture.search_report import secrets_in_report

ENVIRON = {"PATH": os.environ["PATH"]}
TOKEN = "0f3d9aa771c2e7b4"


def printing(folder: Path, command: str) -> Tool:
    """An nsys whose text export is what `command` writes to `$out`."""
    path = folder / "nsys"
    path.write_text(
        f'#!/bin/sh\nfor each; do case "$each" in --output=*) out="${{each#--output=}}";; esac; done\n{command}\n'
    )
    path.chmod(0o755)
    return Tool("nsys", path)


def found(folder: Path, line: str, withheld: dict[str, str] | None = None, *passed: str) -> tuple[str, ...] | None:
    """What is found in a report that is printed with this line in it."""
    (folder / "report.nsys-rep").write_bytes(b"compressed")
    (folder / "printed.txt").write_text(f"head\n  {line}\ntail\n")
    tool = printing(folder, f'cp {folder / "printed.txt"} "$out"')
    return secrets_in_report(tool, folder / "report.nsys-rep", withheld or {}, environ=ENVIRON, passed=passed)


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (rf'data: "PATH=/bin\000HF_TOKEN={TOKEN}\000HOME=/root"', ("HF_TOKEN",)),
        (r'data: "URL=https://me:pa\"ss\\word@host/x"', ("URL",)),
        (r'data: "DB_PASSWORD=\303\244\303\266\303\274"', ("DB_PASSWORD",)),
        (r'data: "MY_SECRET=first line\nsecond"', ("MY_SECRET",)),
        (rf'Args: "--api-token={TOKEN}"', ("api_token",)),
        (rf'Args: "serve -v --api-token={TOKEN} --port=80"', ("api_token",)),
        (rf'Args: "-c export HF_TOKEN={TOKEN}; gpubench run"', ("HF_TOKEN",)),
        ('Args: "clone https://me:pa55word@example.org/x"', ("an argument",)),
        ('Args: "run --suite=cnn -k precision=fp32"', ()),
        ('data: "USE_AUTH=true"', ()),
        ('data: "PATH=/usr/bin"', ()),
        (r'data: "GPUBENCH_PROFILE_SESSION=0123456789abcdef\000NSYS_PROFILING_SESSION_ID=4711231"', ()),
        ('Args: "--start-agent --session_name=profile-4711231"', ()),
        ("Timestamp = 1", ()),
    ],
)
def test_what_looks_like_a_secret_in_a_printed_report_is_found(line, expected, tmp_path: Path):
    assert found(tmp_path, line) == expected


def test_a_withheld_value_is_found_wherever_it_is(tmp_path: Path):
    withheld = {"HF_TOKEN": TOKEN, "INDEX": "https://me:pa55word@example.org/x", "USE_AUTH": "true"}
    assert found(tmp_path, f'name: "step {TOKEN}, true"', withheld) == ("HF_TOKEN",)
    assert found(tmp_path, 'name: "with me:pa55word"', withheld) == ("INDEX",)
    assert found(tmp_path, 'name: "nothing"', withheld) == ()


def test_a_withheld_value_is_found_in_the_file_itself(tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text(f"head {TOKEN} tail")
    tool = printing(tmp_path, 'echo clean > "$out"')
    assert secrets_in_report(tool, report, {"HF_TOKEN": TOKEN}, environ=ENVIRON) == ("HF_TOKEN",)


def test_a_value_that_was_let_through_is_not_a_finding(tmp_path: Path):
    assert found(tmp_path, f'data: "HF_TOKEN={TOKEN}"', {"SAME_TOKEN": TOKEN}, TOKEN) == ()


@pytest.mark.parametrize("command", ["exit 0", "exit 1", ': > "$out"'])
def test_a_report_that_cannot_be_printed_cannot_be_searched(command, tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text("x")
    assert secrets_in_report(printing(tmp_path, command), report, {}, environ=ENVIRON) is None
