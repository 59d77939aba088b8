import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gpubench.report.model.inert_text import cell_width
from gpubench.report.model.report_model import Cell, Column, Row, Table
from gpubench.report.render.layout import fit, header, row_lines

TABLE = Table(
    "t",
    (
        Column("case", "case", "left"),
        Column("speed", "samples/s"),
        Column("time", "step ms", priority=1),
        Column("memory", "mem GiB", priority=2),
        Column("note", "note", "left", flexible=True),
    ),
    (
        Row((Cell("fp32 b64"), Cell("1\u202f395", "±0.4%"), Cell("91.8"), Cell("11.6"), Cell(""))),
        Row(
            (
                Cell("amp-bf16 b128"),
                Cell("2\u202f894", "±10.4%"),
                Cell("44.23"),
                Cell("6.5"),
                Cell("not steady over the whole window"),
            )
        ),
    ),
)


def lines_of(table: Table, width: int) -> list[str]:
    fitted = fit(table, width)
    return [header(table, fitted), *(line for row in table.rows for line in row_lines(table, row, fitted))]


def test_a_wide_terminal_shows_every_column() -> None:
    assert fit(TABLE, 120).left_out == ()
    assert lines_of(TABLE, 120) == [
        "case              samples/s  step ms  mem GiB  note",
        "fp32 b64        1\u202f395 ±0.4%     91.8     11.6",
        "amp-bf16 b128  2\u202f894 ±10.4%    44.23      6.5  not steady over the whole window",
    ]


def test_whole_columns_go_by_priority_and_are_named() -> None:
    fitted = fit(TABLE, 66)
    assert fitted.left_out == ("mem GiB",)
    assert fit(TABLE, 56).left_out == ("step ms", "mem GiB")


@pytest.mark.parametrize(
    ("width", "keys"),
    [(38, "case before after unit change"), (30, "case after unit change"), (27, "case change"), (12, "case change")],
)
def test_numbers_are_shown_with_their_unit_or_not_at_all(width: int, keys: str) -> None:
    columns = (
        Column("case", "case", "left"),
        Column("before", "before", priority=4),
        Column("after", "after", priority=3),
        Column("unit", "", "left", priority=2),
        Column("change", "change"),
    )
    row = Row(tuple(map(Cell, ("fp32", "100.0", "90.0", "samples/s", "-10.0%"))))
    fitted = fit(Table("t", columns, (row,)), width)
    assert [columns[at].key for at in fitted.columns] == keys.split()


def test_numbers_stay_whole_and_texts_break_at_spaces_where_nothing_fits() -> None:
    lines = lines_of(TABLE, 10)
    assert fit(TABLE, 10).left_out == ("step ms", "mem GiB")
    assert lines[1].startswith("fp32 b64   1\u202f395 ±0.4%")
    assert lines[2].startswith("amp-bf16  2\u202f894 ±10.4%  not")
    assert lines[3].startswith("b128")


def test_the_widest_text_is_wrapped_before_a_row_is_too_wide() -> None:
    columns = (Column("a", "case", "left"), Column("b", "what", "left"), Column("c", "speed"))
    table = Table("t", columns, (Row((Cell("one two three four"), Cell("five six"), Cell("1.25x"))),))
    assert lines_of(table, 30) == ["case           what      speed", "one two three  five six  1.25x", "four"]


def test_a_column_without_a_title_goes_without_a_word() -> None:
    columns = (Column("a", "case"), Column("b", "before", priority=1), Column("c", "", priority=2))
    table = Table("t", columns, (Row((Cell("x" * 20), Cell("1"), Cell("samples/s"))),))
    assert fit(table, 24).columns == (0,)
    assert fit(table, 24).left_out == ("before",)


def test_a_long_word_pushes_no_number_out_of_line() -> None:
    name = "test_attention_forward[cuda-bf16-8x16x1024x64]"
    columns = (Column("a", "case", "left", flexible=True), Column("b", "change"), Column("c", "n", priority=1))
    table = Table(
        "t",
        columns,
        (Row((Cell(f"{name} slow"), Cell("-10.1%"), Cell("12"))), Row((Cell("a"), Cell("+1.0%"), Cell("6")))),
    )
    assert lines_of(table, 54) == [
        f"{'case':<46}  change",
        f"{name}  -10.1%",
        "slow",
        f"{'a':<46}   +1.0%",
    ]
    assert fit(table, 54).left_out == ("n",)


def test_notes_are_wrapped_between_words() -> None:
    assert lines_of(TABLE, 56)[-2:] == [
        "amp-bf16 b128  2\u202f894 ±10.4%  not steady over the whole",
        "                             window",
    ]


def test_wide_characters_keep_columns_in_line() -> None:
    table = Table(
        "t",
        (Column("a", "name", "left"), Column("b", "x")),
        (Row((Cell("日本"), Cell("1"))), Row((Cell("abc"), Cell("22")))),
    )
    assert lines_of(table, 80) == ["name   x", "日本   1", "abc   22"]


def test_columns_in_which_nothing_stands_can_be_left_out() -> None:
    rows = (Row((Cell("1"), Cell(""))), Row((Cell("2"), Cell(""))))
    table = Table("t", (Column("a", "a"), Column("b", "b")), rows).without_empty_columns()
    assert [column.key for column in table.columns] == ["a"]
    assert [row.cells for row in table.rows] == [(Cell("1"),), (Cell("2"),)]


@given(
    st.lists(st.floats(1e-6, 1e9).map(lambda value: f"{value:.5g}"), min_size=5, max_size=5),
    st.integers(1, 200),
)
def test_no_number_is_ever_cut(numbers: list[str], width: int) -> None:
    columns = tuple(Column(str(at), f"c{at}", priority=at) for at in range(5))
    table = Table("t", columns, (Row(tuple(Cell(number) for number in numbers)),))
    fitted = fit(table, width)
    shown = re.split(r"\s+", lines_of(table, width)[1].strip())
    assert shown == [numbers[at] for at in fitted.columns]
    assert {f"c{at}" for at in range(5)} == {f"c{at}" for at in fitted.columns} | set(fitted.left_out)


@pytest.mark.parametrize("width", [40, 60])
def test_an_interval_is_wrapped_where_nothing_else_can_give_way(width: int) -> None:
    columns = (Column("a", "precision", "left"), Column("b", "samples/s"), Column("c", "step ms"))
    rows = tuple(
        Row((Cell("amp-bf16"), Cell("5\u202f088", "(3\u202f835 to 6\u202f752)"), Cell("50.1", "(38.0 to 66.0)")))
        for _ in range(2)
    )
    table = Table("t", columns, rows)
    fitted = fit(table, width)
    said = [header(table, fitted), *(each for row in rows for each in row_lines(table, row, fitted))]
    assert max(map(cell_width, said)) <= width
    assert " ".join(said).count("6\u202f752)") == 2
