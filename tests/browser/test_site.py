"""The site in a real browser, on a phone and on a desk, in light and in dark."""

import json
from pathlib import Path
from typing import Any

import pytest
from fakes.many_runs import many_runs
from fakes.open_page import grave_violations, open_page

from gpubench.analysis.history.case_history import past_runs
from gpubench.report.site.site_content import site_content
from gpubench.report.site.write_site import write_site
from gpubench.store.run_reader import load_run

Driver = Any
KINDS = ("index", "suite", "machine", "case")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of two cases over 16 runs, one of which has a report."""
    folder = tmp_path_factory.mktemp("site")
    many_runs(folder / "reports", 16, 2)
    (folder / "reports" / "run-0015" / "report.html").write_text("<!doctype html><title>the report</title>")
    runs = past_runs((load_run(each) for each in sorted((folder / "reports").iterdir())), [])
    out = folder / "out"
    write_site(site_content(list(runs), out, floor=0.03), out)
    return out


def page(site: Path, kind: str) -> Path:
    """The page of that kind; of the cases, the one that changed."""
    found = [path for path in sorted(site.glob(f"{kind}*.html")) if "Changes of level" in path.read_text()]
    return found[0]


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("width", [380, 1280], ids=["phone", "desktop"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_page_logs_nothing_asks_for_nothing_and_fits(
    browser: Driver, site: Path, kind: str, width: int, dark: bool
) -> None:
    path = page(site, kind)
    open_page(browser, path, width=width, dark=dark)
    browser.execute_script("document.querySelectorAll('details').forEach((each) => { each.open = true; })")
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(21, 24, 28)" if dark else "rgb(255, 255, 255)")
    assert [entry["message"] for entry in browser.get_log("browser")] == []
    messages = [json.loads(entry["message"])["message"] for entry in browser.get_log("performance")]
    asked = [each["params"]["request"]["url"] for each in messages if each["method"] == "Network.requestWillBeSent"]
    assert asked, "the page itself is seen being loaded"
    assert all(address.startswith((f"file://{path}", "data:")) for address in asked)


@pytest.mark.parametrize("kind", ["index", "case"])
def test_axe_finds_no_serious_violation_on_the_site(browser: Driver, site: Path, axe: str, kind: str) -> None:
    open_page(browser, page(site, kind))
    assert grave_violations(browser, axe) == []


def test_every_page_is_reached_from_the_index_by_links_that_resolve(browser: Driver, site: Path) -> None:
    left, met = [site / "index.html"], set()
    while left:
        path = left.pop()
        met.add(path)
        open_page(browser, path)
        assert browser.title
        script = "return [...document.querySelectorAll('a[href]')].map((each) => each.href.split('#')[0])"
        linked = {Path(address.removeprefix("file://")) for address in browser.execute_script(script)}
        assert all(each.is_file() for each in linked)
        left += sorted(each for each in linked - met - set(left) if each.parent == site)
    assert met == set(site.glob("*.html"))
    assert (site.parent / "reports" / "run-0015" / "report.html") in linked


def test_a_chart_shows_levels_and_marks_the_change_in_red(browser: Driver, site: Path) -> None:
    open_page(browser, page(site, "case"))
    charts = browser.execute_script("return document.querySelectorAll('.form-history svg').length")
    assert charts == 3
    script = """
      const colours = [...document.querySelectorAll('.form-history svg')[0].querySelectorAll('line, path')]
        .map((each) => each.getAttribute('stroke'));
      return ['var(--bad)', 'var(--ink)'].map((name) => colours.filter((each) => each === name).length);
    """
    rules, levels = browser.execute_script(script)
    assert (rules, levels) == (1, 2)
    assert "run-0008" in browser.execute_script("return document.querySelector('.form-history figcaption').textContent")
