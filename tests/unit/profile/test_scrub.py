"""Secrets in a report that lists the environment of every process, with a tool that prints what it is told to."""

import os
from pathlib import Path

import pytest

from gpubench.profile import scrub
from gpubench.profile.redact import secrets_in_sight
from gpubench.profile.tools import Tool

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
