"""The report in a real browser: it works, it asks nothing of the network, and everybody can use it."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from fakes.open_page import grave_violations, open_page
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import Select

Driver = Any


def rows(browser: Driver) -> list[WebElement]:
    found: list[WebElement] = browser.find_elements(By.CSS_SELECTOR, "[data-key=cases] tbody tr[data-case]")
    return found


def column(browser: Driver, name: str) -> list[str]:
    """Text of a column of the table of cases, of the rows that are shown."""
    script = """
      const table = document.querySelector("table[data-key=cases]");
      const at = [...table.tHead.rows[0].cells].findIndex((cell) => cell.dataset.key === arguments[0]);
      const rows = [...table.tBodies[0].rows].filter((row) => row.dataset.case && !row.hidden);
      return rows.map((row) => row.cells[at].textContent.trim());
    """
    found: list[str] = browser.execute_script(script, name)
    return found


def press(browser: Driver, key: str) -> None:
    """Sort by a column, as a click on its heading does."""
    browser.find_element(By.CSS_SELECTOR, f"table[data-key=cases] th[data-key={key}] button").click()


def number(text: str) -> float:
    return float(text.partition(" ")[0].replace("\u202f", ""))


@pytest.mark.parametrize("name", ["run", "versus"])
def test_nothing_is_logged_and_nothing_leaves_the_page(browser: Driver, pages: dict[str, Path], name: str) -> None:
    open_page(browser, pages[name])
    for button in browser.find_elements(By.CSS_SELECTOR, ".open")[:2]:
        browser.execute_script("arguments[0].click()", button)
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [
        message["params"]["request"]["url"] for message in messages if message["method"] == "Network.requestWillBeSent"
    ]
    assert asked, "the page itself is seen being loaded"
    assert all(address.startswith((f"file://{pages[name]}", "data:")) for address in asked)


def test_a_heading_sorts_the_cases_both_ways(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    press(browser, "throughput")
    speeds = [number(text) for text in column(browser, "throughput") if text[0].isdigit()]
    assert speeds == sorted(speeds)
    heading = browser.find_element(By.CSS_SELECTOR, "table[data-key=cases] th[data-key=throughput]")
    assert heading.get_attribute("aria-sort") == "ascending"
    press(browser, "throughput")
    texts = column(browser, "throughput")
    speeds = [number(text) for text in texts if text[0].isdigit()]
    assert speeds == sorted(speeds, reverse=True)
    assert set(texts[len(speeds) :]) == {"OOM"}, "cases without figures stay last"


def test_numbers_sort_as_numbers_and_words_as_words(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    press(browser, "batch_size")
    batches = [int(text) for text in column(browser, "batch_size")]
    assert batches == sorted(batches)
    press(browser, "precision")
    assert column(browser, "precision") == sorted(column(browser, "precision"))


def test_filters_narrow_the_cases_and_say_how_many_are_left(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    labels = {label.text.split("\n")[0]: label for label in browser.find_elements(By.CSS_SELECTOR, ".filters label")}
    assert {"Search", "mode", "device", "precision", "batch", "layout", "cuDNN"} <= set(labels)
    Select(labels["precision"].find_element(By.TAG_NAME, "select")).select_by_visible_text("tf32")
    assert set(column(browser, "precision")) == {"tf32"}
    labels["Search"].find_element(By.TAG_NAME, "input").send_keys("train nhwc")
    assert set(column(browser, "memory_format")) == {"NHWC"}
    shown = browser.find_element(By.CSS_SELECTOR, ".filters output")
    assert shown.text == f"{len(column(browser, 'precision'))} of {len(rows(browser))} cases"
    assert shown.get_attribute("aria-live") == "polite"
    browser.find_element(By.CSS_SELECTOR, ".filters button").click()
    assert len(column(browser, "precision")) == len(rows(browser))


def test_a_row_opens_by_keyboard_to_everything_about_its_case(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    button = browser.find_element(By.CSS_SELECTOR, "#case-5 .open")
    button.send_keys(Keys.ENTER)
    assert button.get_attribute("aria-expanded") == "true"
    detail = browser.find_element(By.ID, button.get_attribute("aria-controls"))
    said = detail.text
    for heading in (
        "Case 5: train cuda fp32 b64 NHWC heur.",
        "To repeat just this case",
        "Settings",
        "Telemetry",
        "Figures",
        "Launches",
    ):
        assert heading in said
    assert "gpubench run suites/cnn.yaml --case" in said
    assert "channels_last channels_last" in said, "asked and read back"
    button.send_keys(Keys.SPACE)
    assert button.get_attribute("aria-expanded") == "false"
    assert browser.find_elements(By.CSS_SELECTOR, "tr.detail") == []


def test_an_open_row_is_closed_before_the_rows_move(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    browser.find_element(By.CSS_SELECTOR, "#case-5 .open").click()
    press(browser, "step_time_s")
    assert browser.find_elements(By.CSS_SELECTOR, "tr.detail") == []


def test_a_case_can_be_linked_to(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#case-7")
    assert browser.find_element(By.CSS_SELECTOR, "tr.detail").text.startswith("Case 7:")


def test_a_failed_case_shows_why(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], fragment="#cases")
    script = "return [...document.querySelectorAll('table[data-key=cases] tr.t-bad')].map((row) => row.dataset.case)"
    (failed, *_) = browser.execute_script(script)
    browser.execute_script(f"document.querySelector('#case-{failed} .open').click()")
    assert "out of memory in warmup" in browser.find_element(By.CSS_SELECTOR, "tr.detail").text


def test_without_javascript_the_page_reads_all_the_same(browser: Driver, pages: dict[str, Path]) -> None:
    browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        open_page(browser, pages["run"])
        text = browser.find_element(By.TAG_NAME, "body").text
        browser.find_element(By.CSS_SELECTOR, "#full-5 summary").click()
        case = browser.find_element(By.ID, "full-5").text
    finally:
        browser.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})
    assert "was fastest" in text
    assert "All cases" in text
    assert "Each case in full" in text
    assert "gpubench run suites/cnn.yaml --case" in case


@pytest.mark.parametrize("width", [380, 768, 1280])
def test_the_page_never_scrolls_sideways(browser: Driver, pages: dict[str, Path], width: int) -> None:
    open_page(browser, pages["run"], width=width)
    browser.execute_script("document.querySelector('#case-5 .open').click()")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width


def test_what_to_switch_on_is_on_the_first_screen(browser: Driver, pages: dict[str, Path]) -> None:
    open_page(browser, pages["run"], width=1280, height=1000)
    box = browser.execute_script(
        "return document.querySelector('table[data-key=switches]').getBoundingClientRect().toJSON()"
    )
    assert box["bottom"] < 1000


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["run", "versus"])
def test_a_picture_is_taken_in_light_and_in_dark(
    browser: Driver, pages: dict[str, Path], name: str, dark: bool, tmp_path: Path
) -> None:
    open_page(browser, pages[name], dark=dark)
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    line = browser.execute_script(
        "return getComputedStyle(document.querySelector('.form-lines svg path[stroke=\"var(--c-fp32)\"]')).stroke"
    )
    assert line == ("rgb(201, 205, 209)" if dark else "rgb(68, 68, 68)")
    picture = base64.b64decode(
        browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True})["data"]
    )
    (tmp_path / f"{name}-{'dark' if dark else 'light'}.png").write_bytes(picture)
    assert len(picture) > 20_000


def test_it_prints_on_a4(browser: Driver, pages: dict[str, Path], tmp_path: Path) -> None:
    open_page(browser, pages["run"])
    printed = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    (tmp_path / "report.pdf").write_bytes(printed)
    assert b"/MediaBox [0 0 594" in printed or b"/MediaBox [0 0 595" in printed


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["run", "versus"])
def test_axe_finds_no_serious_violation(
    browser: Driver, pages: dict[str, Path], axe: str, name: str, dark: bool
) -> None:
    open_page(browser, pages[name], dark=dark)
    for button in browser.find_elements(By.CSS_SELECTOR, ".open")[:2]:
        browser.execute_script("arguments[0].click()", button)
    assert grave_violations(browser, axe) == []
