"""How pages look, on a phone and on a desk, in light and in dark: nothing cut, hidden by other text, or too pale."""

from pathlib import Path
from typing import Any

import pytest
from fakes.open_page import open_page

Driver = Any
PAGES = ("run", "no contest", "versus", "many", "long", "skipped")
LOOKS = (Path(__file__).parent / "looks.js").read_text(encoding="utf-8")
UNFOLD = "document.querySelectorAll('details:not(.csv)').forEach((each) => { each.open = true; })"


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_is_cut_covered_or_pale(
    browser: Driver, pages: dict[str, Path], name: str, width: int, dark: bool
) -> None:
    open_page(browser, pages[name], width=width, height=800, dark=dark)
    folded = browser.execute_script(LOOKS)
    browser.execute_script(UNFOLD)
    assert folded + browser.execute_script(LOOKS) == []
    assert [entry["message"] for entry in browser.get_log("browser")] == []


@pytest.mark.parametrize("name", ["run", "no contest", "versus", "many", "long"])
def test_the_first_screen_answers_in_three_sentences(browser: Driver, pages: dict[str, Path], name: str) -> None:
    open_page(browser, pages[name], width=1280, height=800)
    bottoms = browser.execute_script(
        "return [...document.querySelectorAll('.first dd')].map((each) => each.getBoundingClientRect().bottom)"
    )
    assert len(bottoms) == 3
    assert max(bottoms) < 800


def test_details_are_folded_until_a_link_asks_for_them(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"])
    screens = "return document.documentElement.scrollHeight / innerHeight"
    short = browser.execute_script(screens)
    browser.execute_script(UNFOLD)
    assert short < browser.execute_script(screens) / 3, "what is open is a third of everything"
    open_page(browser, pages["run"])
    browser.execute_script("document.querySelector('nav a[href=\"#memory\"]').click()")
    assert browser.execute_script("return document.querySelector('#memory > details').open")
    browser.execute_script("document.querySelector('.first a.term').click()")
    assert browser.execute_script("return document.querySelector('#glossary > details').open")


def test_the_glossary_closes_the_page(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"])
    script = "return [...document.querySelectorAll('main > section')].at(-1).id"
    assert browser.execute_script(script) == "glossary"


def test_a_printed_page_has_its_details(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"])
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    height = browser.execute_script("return document.querySelector('#cases table').getBoundingClientRect().height")
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
    assert height > 500
