import json

import pytest

from gpubench.report.model.inert_text import cell_width, inert, inert_lines, json_text, shorten


@pytest.mark.parametrize(
    ("hostile", "shown"),
    [
        ("\x1b[31mred", "\\x1b[31mred"),
        ("a\rb\nc\td", "a\\rb\\nc\\td"),
        ("evil\u202egnp.exe", "evil\\u202egnp.exe"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("\x9b31m", "\\x9b31m"),
        ("line\u2028separator", "line\\u2028separator"),
        ("\udc80", "\\udc80"),
        ("tag\U000e0041", "tag\\U000e0041"),
        ("::error file=x::y", ":\\x3aerror file=x::y"),
        ("  ::set-output name=x::y", "  :\\x3aset-output name=x::y"),
        ("at its end ::stop-commands::y", "at its end :\\x3astop-commands::y"),
        ("a ##[add-mask]x", "a #\\x23[add-mask]x"),
        ("##vso[task.setvariable]x", "#\\x23vso[task.setvariable]x"),
    ],
)
def test_what_moves_a_cursor_or_hides_is_spelled_out(hostile: str, shown: str) -> None:
    assert inert(hostile) == shown


@pytest.mark.parametrize(
    "harmless",
    ["plain", "Zürich", "2\u202f894 ±0.4%", "日本語", "<b> & `x` | *", "test_a.py::test_b", "at::native", "## head"],
)
def test_visible_text_stays_as_it_is(harmless: str) -> None:
    assert inert(harmless) == harmless


def test_a_text_of_several_lines_keeps_them() -> None:
    assert inert_lines("a\tb\n\x07c") == "a   b\n\\x07c"


def test_width_counts_columns_of_a_terminal() -> None:
    assert cell_width("2\u202f894 ±0.4%") == 11
    assert cell_width("日本") == 4
    assert cell_width("e\u0301") == 1


def test_a_name_is_shortened_in_its_middle() -> None:
    assert shorten("train cuda amp-bf16 b128 NHWC bench", 20) == "train cud...WC bench"
    assert shorten("short", 20) == "short"


def test_json_holds_no_command_and_reads_back_the_same() -> None:
    said = json_text({"a": "##[error]x\x1b"})
    assert said == '{"a": "#\\u0023[error]x\\u001b"}'
    assert json.loads(said) == {"a": "##[error]x\x1b"}
