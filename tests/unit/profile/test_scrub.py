"""Secrets in a report that lists the environment of every process, with a tool that prints what it is told to."""

import os
import sys
from pathlib import Path

import lz4.block
import pytest

from gpubench.profile.capture import scrub
from gpubench.profile.capture.profiler_tools import Tool
from gpubench.profile.capture.secrets import secrets_in_sight

ENVIRON = {"PATH": os.environ["PATH"]}
TOKEN = "0f3d9aa771c2e7b4"


def printing(folder: Path, command: str) -> Tool:
    """An nsys whose text export is what `command` makes of the report, `$report`, into `$out`."""
    path = folder / "nsys"
    path.write_text(
        "#!/bin/sh\nfor report; do :; done\n"
        f'for each; do case "$each" in --output=*) out="${{each#--output=}}";; esac; done\n{command}\n'
    )
    path.chmod(0o755)
    return Tool("nsys", path)


PLAIN = """printf 'data: "%s"\\n' "$(cat "$report")" > "$out\""""
"""The report is text, and is printed as one string."""


def test_a_value_in_sight_is_overwritten_and_the_report_keeps_its_size(tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text(f"head HF_TOKEN={TOKEN} tail {TOKEN}")
    done = scrub.scrub(printing(tmp_path, PLAIN), report, environ=ENVIRON, in_sight={TOKEN: "HF_TOKEN"})
    assert done == scrub.Scrubbed(clean=True, names=("HF_TOKEN",))
    assert report.read_text() == f"head HF_TOKEN={'*' * 16} tail {'*' * 16}"


def test_a_secret_that_the_report_alone_shows_is_overwritten_too(tmp_path: Path):
    """Of a process that is gone."""
    report = tmp_path / "r.nsys-rep"
    report.write_text(f"HF_TOKEN={TOKEN}")
    done = scrub.scrub(printing(tmp_path, PLAIN), report, environ=ENVIRON, in_sight={})
    assert done == scrub.Scrubbed(clean=True, names=("HF_TOKEN",))
    assert report.read_text() == f"HF_TOKEN={'*' * 16}"


def test_a_value_that_compression_has_split_is_overwritten_in_pieces(tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text(f"{TOKEN[:8]}|{TOKEN[8:]}")
    joined = """printf 'data: "HF_TOKEN=%s"\\n' "$(tr -d '|' < "$report")" > "$out\""""
    assert scrub.scrub(printing(tmp_path, joined), report, environ=ENVIRON, in_sight={}).clean
    assert report.read_text() == f"{'*' * 8}|{'*' * 8}"


def test_a_value_that_the_packing_makes_from_pieces_is_overwritten_where_they_come_from(tmp_path: Path):
    """As nsys does it: the second value begins with a copy from the first."""
    values = ("me:pa55word-planted", "hunter2-planted-in-here")
    entries = f"INDEX={values[0]}\0LANG=C.UTF-8\0HF_TOKEN={values[1]}\0HOME=/root\0MY_KEY={values[1]}\0END=1".encode()
    block = lz4.block.compress(entries, store_size=False)
    assert values[1].encode() not in block
    report = tmp_path / "r.nsys-rep"
    report.write_bytes(b"head" + bytes([len(block), len(entries)]) + block)
    unpacking = f"""{sys.executable} - "$report" "$out" <<'END'
import sys, lz4.block
content = open(sys.argv[1], "rb").read()
text = lz4.block.decompress(content[6:], uncompressed_size=content[5]).replace(bytes(1), b"\\\\000")
open(sys.argv[2], "wb").write(b'data: "' + text + b'"' + bytes([10]))
END"""
    done = scrub.scrub(printing(tmp_path, unpacking), report, environ=ENVIRON, in_sight={values[1]: "HF_TOKEN"})
    assert done == scrub.Scrubbed(clean=True, names=("MY_KEY",))
    left = lz4.block.decompress(report.read_bytes()[6:], uncompressed_size=len(entries))
    assert left.count(b"*" * len(values[1])) == 2
    assert b"LANG=C.UTF-8\0HF_TOKEN=***" in left
    assert b"\0HOME=/root\0MY_KEY=***" in left
    assert left.endswith(b"\0END=1")


def test_a_value_that_cannot_be_found_leaves_the_report_unclean(tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text("compressed beyond recognition")
    shown = f"""echo 'data: "HF_TOKEN={TOKEN}"' > "$out\""""
    done = scrub.scrub(printing(tmp_path, shown), report, environ=ENVIRON, in_sight={TOKEN: "HF_TOKEN"})
    assert done == scrub.Scrubbed(clean=False, names=("HF_TOKEN",))


@pytest.mark.parametrize("command", ["exit 0", "exit 1", ': > "$out"'])
def test_a_report_that_cannot_be_printed_is_not_clean(command, tmp_path: Path):
    report = tmp_path / "r.nsys-rep"
    report.write_text("x")
    assert not scrub.scrub(printing(tmp_path, command), report, environ=ENVIRON, in_sight={}).clean


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (rf'data: "PATH=/bin\000HF_TOKEN={TOKEN}\000HOME=/root"', {TOKEN: "HF_TOKEN"}),
        (rf'Args: "--api-token={TOKEN}"', {TOKEN: "api_token"}),
        (r'data: "URL=https://me:pa\"ss\\word@host/x"', {'me:pa"ss\\word': "URL"}),
        (r'data: "DB_PASSWORD=\303\244\303\266\303\274"', {"äöü": "DB_PASSWORD"}),
        (r'data: "MY_SECRET=first line\nsecond"', {"first line\nsecond": "MY_SECRET"}),
        (rf'data: "HF_TOKEN={"*" * 16}"', {}),
        ('data: "USE_AUTH=true"', {}),
        ('data: "MY_SECRET=axbxcxdx*h*"', {"axbxcxdx*h*": "MY_SECRET"}),
        ('data: "PATH=/usr/bin"', {}),
        ("Timestamp = 1", {}),
    ],
)
def test_what_a_printed_report_exposes(line, expected, tmp_path: Path):
    text = tmp_path / "report.txt"
    text.write_text(f"head\n  {line}\ntail\n")
    assert dict(scrub.exposed_in(text)) == expected


def test_values_too_short_to_be_secrets_are_left_alone(tmp_path: Path):
    path = tmp_path / "r"
    path.write_bytes(b"1true1")
    assert scrub.mask_whole(path, {"1": "A_KEY", "true": "B_KEY"}) == set()
    assert path.read_bytes() == b"1true1"


def test_secrets_of_other_processes_are_found_where_the_system_shows_them(tmp_path: Path):
    for pid, content in (
        ("1", b"PATH=/bin\0A_TOKEN=abcdefgh\0"),
        ("22", b"junk\0DB_PASSWORD=p=q\xff\0"),
        ("self", b"B_KEY=x\0"),
    ):
        (tmp_path / pid).mkdir()
        (tmp_path / pid / "environ").write_bytes(content)
    (tmp_path / "333").mkdir()
    assert secrets_in_sight(tmp_path) == {"abcdefgh": "A_TOKEN", "p=q\udcff": "DB_PASSWORD"}


def test_a_system_that_shows_none_has_none(tmp_path: Path):
    assert secrets_in_sight(tmp_path / "proc") == {}
