"""Screens at every width against golden files (README.md beside this file says how to write them anew)."""

import os
import re
from pathlib import Path

import pytest
from fakes.screens import SCREENS, WIDTHS, final

from gpubench.report.model.inert_text import cell_width

FOLDER = Path(__file__).parent / "screens"
WRITE = os.environ.get("GPUBENCH_GOLDEN") == "write"
NUMBER = re.compile(r"(?<![\w.])[<>]?[-+]?\d[\d\u202f]*(?:\.\d+)?(?:e[-+]\d+)?%?x?(?![\w.])")


@pytest.mark.parametrize("name", SCREENS)
def test_a_screen_looks_as_it_did(name: str) -> None:
    said = SCREENS[name]()
    path = FOLDER / f"{name}.txt"
    if WRITE:
        FOLDER.mkdir(exist_ok=True)
        path.write_text(said, encoding="utf-8")
    assert said == path.read_text(encoding="utf-8")


def test_every_golden_file_belongs_to_a_screen() -> None:
    assert {path.stem for path in FOLDER.iterdir()} == set(SCREENS)


@pytest.mark.parametrize("kind", ["final", "case"])
@pytest.mark.parametrize("width", WIDTHS)
def test_no_number_is_cut_at_any_width(kind: str, width: int) -> None:
    """Every number of a narrow screen stands whole in the one that nothing limits; what is left out is named."""
    narrow, wide = SCREENS[f"{kind}-{width}"](), SCREENS[f"{kind}-pipe"]()
    assert "…" not in narrow
    numbers = set(NUMBER.findall(narrow))
    assert len(numbers) > 30
    assert numbers <= set(NUMBER.findall(wide))
    missing = set(NUMBER.findall(wide)) - numbers
    assert not missing or "not shown at this width" in narrow


@pytest.mark.parametrize("width", WIDTHS)
def test_a_live_row_holds_every_number_of_its_case(width: int) -> None:
    said = SCREENS[f"live-{width}"]()
    assert "…" not in said
    assert set(NUMBER.findall(said)) <= set(NUMBER.findall(SCREENS["live-140"]())) | set(
        NUMBER.findall(SCREENS["log"]())
    )
    assert "289\u202f600" in said or "289\u202f615" in said, "the throughput of the fastest case, whole"


@pytest.mark.parametrize("name", [f"{kind}-{width}" for kind in ("live", "final", "everything") for width in WIDTHS])
def test_lines_stay_within_the_width_where_every_column_may_go(name: str) -> None:
    """A column that always stays may not fit into 60 characters: the line gets longer, and no number is cut."""
    width = int(name.rpartition("-")[2])
    too_long = [line for line in SCREENS[name]().splitlines() if cell_width(line) > max(width, 80)]
    assert too_long == []


def test_without_colour_the_screen_says_the_same() -> None:
    coloured = final(100, color=True)
    assert "\x1b[" in coloured
    assert re.sub(r"\x1b\[[\d;]*m", "", coloured) == final(100)
    assert "\x1b" not in final(100)


def test_marks_say_what_colour_says() -> None:
    said = final(140)
    assert re.search(r"^  \+ +cuda +amp-bf16", said, re.MULTILINE)
    assert re.search(r"^  ! ", said, re.MULTILINE)
