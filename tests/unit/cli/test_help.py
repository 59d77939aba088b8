"""Help on a terminal: no escapes to be read, and no word broken at any width."""

import pytest
from fakes.terminal import WIDTHS, broken_lines, on_a_terminal, words

from gpubench.cli.lazy_group import fit_kept_lines
from gpubench.cli.main import COMMANDS

NAMES = [(), *((entry.name,) for entry in COMMANDS), ("profile", "case"), ("profile", "read")]


@pytest.mark.parametrize("arguments", [[], ["profile"]], ids=["gpubench", "gpubench profile"])
def test_a_command_alone_on_a_terminal_shows_its_help_in_colour(arguments):
    said = on_a_terminal(arguments, 80)
    assert "\x1b[1m" in said
    assert "x1b" not in said
    assert "Usage: " in said.replace("\x1b[0m", "").replace("\x1b[1m", "")


def test_no_color_takes_the_colours_of_help():
    assert "\x1b[" not in on_a_terminal([], 80, NO_COLOR="1")


@pytest.mark.parametrize("arguments", NAMES, ids=" ".join)
def test_help_breaks_no_word(arguments):
    said = {width: on_a_terminal([*arguments, "--help"], width) for width in WIDTHS}
    for width in WIDTHS:
        assert broken_lines(said[width], width) == []
        assert words(said[width]) - words(said[100]) == set()


def test_an_explanation_goes_below_its_command_where_it_does_not_fit():
    text = "Look.\n\n\b\nExamples:\n  gpubench run a-suite    the first of them\n  short  too"
    assert fit_kept_lines(text, 80) == text
    assert fit_kept_lines(text, 30).split("\b\n")[1].split("\n") == [
        "Examples:",
        "  gpubench run a-suite",
        "      the first of them",
        "  short  too",
    ]


def test_exit_statuses_are_put_on_more_lines():
    text = "\b\nExit status:\n  0 ok    1 gate failed    2 usage error"
    assert fit_kept_lines(text, 26).split("\n")[2:] == ["  0 ok    1 gate failed", "  2 usage error"]
