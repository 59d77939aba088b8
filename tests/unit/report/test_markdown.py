import re

import pytest
from fakes.runs import Invented, invented_run

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Failure, Status
from gpubench.report.build import build_report
from gpubench.report.model.report_model import code, line, strong
from gpubench.report.render.markdown import escape, render_markdown, text
from gpubench.report.view.run_view import View

HOSTILE = "<script>alert(1)</script> | [x](http://evil) \x1b[31m ![i](y) `rm -rf` @team #12 \u202e**b**"


@pytest.fixture(scope="module")
def report() -> str:
    return render_markdown(build_report(View(summarise_run(invented_run()))))


def test_the_headline_comes_before_any_table(report: str) -> None:
    assert report.index("was fastest") < report.index("| device |")


def test_every_section_of_a_full_run_is_there(report: str) -> None:
    assert re.findall(r"^## (.*)$", report, re.MULTILINE) == [
        "What to switch on",
        "Best settings",
        "What each setting does, all others equal",
        "Memory",
        "Energy and device state",
        "Steadiness and step times",
        "Accuracy and parity",
        "All cases",
        "Cold start",
        "Cases without figures",
        "Findings",
        "Set-up",
        "How these numbers were made",
        "To repeat",
    ]


def test_every_row_of_a_table_has_as_many_cells_as_its_head(report: str) -> None:
    tables = [block for block in report.split("\n\n") if block.startswith("|")]
    assert len(tables) >= 9
    for table in tables:
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in table.splitlines()}) == 1


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("<script>", r"\<script>"),
        ("a|b", r"a\|b"),
        ("[x](y)", r"\[x\](y)"),
        ("*b* _i_ `c` ~s~", r"\*b\* \_i\_ \`c\` \~s\~"),
        ("&lt; $x$", r"\&lt; \$x\$"),
        ("https://evil.example", "https&#58;//evil.example"),
        ("www.evil.example", "www&#46;evil.example"),
        ("@team me@example.org", "&#64;team me&#64;example.org"),
        ("#12", r"\#12"),
        ("- item", r"\- item"),
        ("> quote", r"\> quote"),
        ("1. item", r"1\. item"),
        ("1.5 ms", "1.5 ms"),
        ("a\nb\x07", r"a\\nb\\x07"),
    ],
)
def test_text_from_outside_has_no_markup_left(said: str, shown: str) -> None:
    assert escape(said) == shown


def test_what_a_person_types_is_code_whatever_it_holds() -> None:
    assert text(line("Run ", code("gpubench run x"), " or ", strong("a*b"))) == r"Run `gpubench run x` or **a\*b**"
    assert text(line(code("echo `date`"))) == "`` echo `date` ``"


def test_hostile_names_are_inert_in_the_report() -> None:
    made = Invented()
    made.measured(HOSTILE, 900.0, device="cpu", precision="fp32", data="digits")
    made.ended(
        HOSTILE,
        Status.FAILED,
        HOSTILE,
        failure=Failure(phase="build", error="E", message=HOSTILE),
        device="cpu",
        precision="bf16",
    )
    run = made.run(
        tag=HOSTILE,
        suite_path=HOSTILE,
        argv=("gpubench", "run", HOSTILE),
        environment={"hostname": HOSTILE, "system": {"os": "x"}},
    )
    report = render_markdown(build_report(View(summarise_run(run))))
    assert "\x1b" not in report
    assert "\u202e" not in report
    outside_code = re.sub(r"(`+)[^\n]*?\1(?!`)", "", report)
    assert "<script>" not in outside_code.replace(r"\<script>", "")
    assert "http://" not in outside_code
    assert "](" not in outside_code.replace(r"\](", "")
