"""The guide tells no command that the tool does not take, and no page that is not there."""

import re
import shlex
from pathlib import Path

import click
import pytest

from gpubench.cli.main import cli

DOCS = Path(__file__).parents[3] / "docs"
GUIDE = (DOCS / "guide.md").read_text(encoding="utf-8")
COMMANDS = [
    *(line.removeprefix("$ ") for line in GUIDE.splitlines() if line.startswith("$ gpubench ")),
    *(said for said in re.findall(r"`(gpubench [^`]+)`", GUIDE) if "NAME" not in said and "..." not in said),
]


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_guide_is_one_that_the_tool_takes(command: str) -> None:
    _, *arguments = shlex.split(command)
    if arguments[0].startswith("-"):
        return
    root = click.Context(cli, info_name="gpubench")
    found = cli.get_command(root, arguments[0])
    assert found is not None, arguments[0]
    context = found.make_context(arguments[0], arguments[1:], parent=root)
    assert context.args == [] or isinstance(found, click.Group), "a group hands the rest on"


def test_the_guide_shows_every_command_a_newcomer_needs() -> None:
    names = {shlex.split(command)[1] for command in COMMANDS}
    assert {"doctor", "run", "show", "report", "compare", "check", "profile", "validate"} <= names


def test_the_suite_of_the_guide_is_a_suite(tmp_path: Path) -> None:
    from gpubench.suite.load import load_suite

    (text,) = re.findall(r"```yaml\n(.*?)```", GUIDE, re.DOTALL)
    path = tmp_path / "mine.yaml"
    path.write_text(text, encoding="utf-8")
    assert len(load_suite(str(path), ()).cases) == 9


def test_every_page_of_the_index_is_there() -> None:
    for page in ("index.md", "guide.md"):
        links = re.findall(r"\]\(([^)#:]+\.md)", (DOCS / page).read_text(encoding="utf-8"))
        assert links
        assert [link for link in links if not (DOCS / link).is_file()] == []
