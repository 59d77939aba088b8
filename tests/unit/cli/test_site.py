import json
import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

import pytest
from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade, two_arms
from fakes.many_runs import many_runs

from gpubench.cli.commands import site as site_command
from gpubench.cli.main import COMMANDS, main
from gpubench.core.errors import ExitStatus
from gpubench.report.site.site_content import case_page_name

HOSTILE = "../../<script>alert(1)</script> & 'x' \u202e"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("GPUBENCH_DB", raising=False)


@pytest.fixture(autouse=True)
def drawings(monkeypatch):
    """Charts as they are given, without a drawing: drawing is tested with the charts."""
    seen = []

    def draw(charts):
        seen.extend(charts)
        return {chart.key: f"<svg><title>{len(chart.rows)}</title></svg>" for chart in charts}, {}

    monkeypatch.setattr("gpubench.report.write.draw_apart", draw)
    return seen


def call(capsys, *arguments):
    status = main(["site", *arguments])
    printed = capsys.readouterr()
    return status, printed.out, " ".join(printed.err.split())


def pages(folder="site"):
    return {path.name: path.read_text(encoding="utf-8") for path in Path(folder).glob("*.html")}


def names_in(folder):
    return sorted(path.name for path in Path(folder).iterdir())


class Hrefs(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found = set()

    def handle_starttag(self, tag, attrs):
        if tag == "a":
            self.found |= {value for name, value in attrs if name == "href" and not value.startswith("#")}


def hrefs(text):
    parser = Hrefs()
    parser.feed(text)
    return parser.found


def test_there_is_a_page_per_suite_machine_and_case_and_every_link_leads_to_a_file(capsys):
    many_runs(Path("reports"), 10, 3)
    (Path("reports/run-0003") / "report.html").write_text("the report")
    assert call(capsys, "site") == (ExitStatus.OK, "site/index.html\n", "")
    made = pages()
    kinds = sorted(name.partition("-")[0] for name in made)
    assert kinds == ["case", "case", "case", "index.html", "machine", "suite"]
    linked = {(Path("site") / unquote(href)).resolve() for text in made.values() for href in hrefs(text)}
    assert all(path.is_file() for path in linked)
    reached = {path.name for path in linked}
    assert reached == {*made, "report.html"}
    assert Path("reports/run-0003/report.html").resolve() in linked


def test_a_case_shows_its_history_its_changes_and_the_versions_that_were_measured(capsys, drawings):
    many_runs(Path("reports"), 16, 2)
    call(capsys, "site")
    (page,) = [text for name, text in pages().items() if name.startswith("case") and "Changes of level" in text]
    for said in ("torch and git commit", "run-0008", "2.13.0", "2.14.0", "gpubench run fake --arm before=git="):
        assert said in page
    (chart, *_) = [each for each in drawings if "run-0008" in each.title]
    assert re.fullmatch(r"Throughput: -\d\.\d% at run-0008 \(2026-01-03\)", chart.title)
    assert len(chart.rows) == 16
    assert [at for at, worse in chart.options["changes"] if worse] == [9]


def test_a_site_over_a_database_is_that_over_the_folders(capsys):
    many_runs(Path("reports"), 8, 2)
    call(capsys, "of-folders")
    main(["db", "sync"])
    capsys.readouterr()
    call(capsys, "of-database", "--db", "sqlite:///reports/gpubench.db")

    of_database, of_folders = pages("of-database"), pages("of-folders")
    assert of_database.keys() == of_folders.keys()
    number = re.compile(r"(?<![\w.])\d+\.\d+(?:e[-+]\d+)?")
    for name, text in of_database.items():
        assert number.sub("#", text) == number.sub("#", of_folders[name])
        numbers, expected = (list(map(float, number.findall(each))) for each in (text, of_folders[name]))
        assert numbers == pytest.approx(expected, rel=1e-5), "a database keeps seven digits"


def test_written_again_it_is_the_same_and_loses_the_pages_of_cases_that_are_gone(capsys):
    many_runs(Path("reports"), 3, 2)
    call(capsys, "site")
    before = pages()
    Path("site/notes.txt").write_text("mine")
    call(capsys, "site")
    assert pages() == before
    shutil.rmtree("reports")
    many_runs(Path("reports"), 3, 1)
    assert call(capsys, "site")[0] == ExitStatus.OK
    assert len(pages()) == len(before) - 1
    assert Path("site/notes.txt").read_text() == "mine"


def test_a_folder_with_other_files_is_refused_and_force_keeps_them(capsys):
    many_runs(Path("reports"), 1, 1)
    Path("mine").mkdir()
    Path("mine/notes.txt").write_text("mine")
    status, _, err = call(capsys, "mine")
    assert status == ExitStatus.USAGE
    assert "mine has files, but no site of gpubench" in err
    assert "--force" in err
    assert names_in("mine") == ["notes.txt"]
    assert call(capsys, "mine", "--force")[0] == ExitStatus.OK
    assert Path("mine/notes.txt").read_text() == "mine"
    assert Path("mine/index.html").exists()


def test_a_folder_that_is_a_link_is_not_written_through(capsys, tmp_path):
    many_runs(Path("reports"), 1, 1)
    (tmp_path / "target").mkdir()
    Path("site").symlink_to(tmp_path / "target")
    status, _, err = call(capsys, "site")
    assert status == ExitStatus.USAGE
    assert "is a link" in err
    assert names_in(tmp_path / "target") == []


def test_names_that_look_like_markup_or_paths_are_neither(capsys):
    many_runs(Path("reports"), 1, 1)
    folder = Path("reports/run-0000")
    for name in ("run.json", "records.jsonl"):
        text = (folder / name).read_text()
        for old in ('"cuda 1"', '"fake"', '"NVIDIA Imaginary 80GB"'):
            text = text.replace(old, json.dumps(HOSTILE))
        (folder / name).write_text(text)
    assert call(capsys, "site")[0] == ExitStatus.OK
    made = pages()
    assert names_in("site") == sorted([".gpubench-site", *made])
    assert all(re.fullmatch(r"[a-z0-9-]+\.html", name) for name in made)
    for text in made.values():
        assert "<script>alert" not in text
        assert "\u202e" not in text


@pytest.mark.parametrize("name", ["", "a/b", "A B", "ä", "x" * 500, "\ud800"])
def test_the_file_of_a_case_is_safe_and_differs_wherever_the_name_does(name):
    made = case_page_name((name, "id"))
    assert re.fullmatch(r"case-[a-z0-9-]{1,60}\.html", made)
    assert made == case_page_name((name, "id"))
    assert len({made, case_page_name((name + "x", "id")), case_page_name((name, "idx"))}) == 3


def test_machines_of_one_name_have_a_page_each(capsys):
    for number, driver in enumerate(("580.1", "600.2")):
        made = HandMade(environment={**ENVIRONMENT, "driver": {**ENVIRONMENT["driver"], "driver": driver}})
        made.measured(1000.0, STEADY[:3], device="cuda", batch_size=64)
        made.write(Path("reports"), f"run-{number}", created=f"2026-11-0{1 + number}T10:00:00Z")
    call(capsys, "site")
    made = pages()
    assert sum(name.startswith("machine") for name in made) == 2
    (case,) = [text for name, text in made.items() if name.startswith("case")]
    assert "nvidia-imaginary-80gb (driver 580.1)" in case
    assert "nvidia-imaginary-80gb (driver 600.2)" in case


def test_an_accuracy_run_is_on_the_page_of_the_case_with_its_settings(capsys, drawings):
    made = HandMade()
    planned = made.measured(1000.0, STEADY[:3], device="cuda", batch_size=64)
    made.trained(planned, 0.97)
    made.write(Path("reports"), "run-0")
    call(capsys, "site")
    (case,) = [text for name, text in pages().items() if name.startswith("case")]
    assert "<h1>cuda 64</h1>" in case
    assert {"Throughput", "Accuracy"} <= {chart.title.partition(":")[0] for chart in drawings}


def test_what_is_left_out_is_said(capsys):
    many_runs(Path("reports"), 2, 1)
    two_arms().write(Path("reports"), "ab", created="2026-11-20T10:00:00Z")
    Path("reports/run-0000/run.json").write_text("{")
    status, _, err = call(capsys, "site")
    assert status == ExitStatus.OK
    assert "note: run-0000 was left out" in err
    assert "note: A/B runs left out: 1." in err


def test_without_a_figure_no_site_is_made(capsys):
    status, _, err = call(capsys, "site")
    assert status == ExitStatus.USAGE
    assert "no stored run in reports has a figure" in err
    assert not Path("site").exists()


def test_the_commands_line_in_the_main_help_is_its_own():
    (entry,) = [entry for entry in COMMANDS if entry.name == "site"]
    assert site_command.command.help.splitlines()[0] == entry.line
