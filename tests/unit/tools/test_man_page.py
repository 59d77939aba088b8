"""The manual page is that of the command line, and renders."""

import shutil
import subprocess
from pathlib import Path

import click
import pytest

from gpubench.cli.main import cli
from gpubench.tools.man_page import man_page

PAGE = Path(__file__).parents[3] / "docs" / "gpubench.1"


def test_the_stored_page_is_that_of_the_commands():
    assert PAGE.read_text(encoding="utf-8") == man_page(), "run: python scripts/generate.py"


def test_every_command_has_a_part():
    page = man_page()
    for name in cli.list_commands(click.Context(cli)):
        assert f'.SS "gpubench {name} ' in page


@pytest.mark.skipif(
    shutil.which("man") is None or shutil.which("groff") is None, reason="there is no man and groff here"
)
def test_man_renders_it_without_a_warning():
    command = ["man", "--warnings", "--local-file", str(PAGE)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=True, env={"MANWIDTH": "80", "PATH": "/usr/bin:/bin"}
    )
    assert done.stderr == ""
    assert max(map(len, done.stdout.splitlines())) <= 80
