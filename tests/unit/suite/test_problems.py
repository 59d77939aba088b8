from gpubench.core.errors import ExitStatus, SuiteError
from gpubench.suite.read.problems import Mark, SourceText, error, path_text, suite_error, warning


def source(text, name="suites/cnn.yaml"):
    return SourceText.of_text(name, text)


def test_a_mistake_shows_its_place_its_line_and_what_may_have_been_meant():
    text = "\n" * 9 + "  precision: [fp32, tf32, amp-fp61]"
    mark = Mark(source(text), 9, 26, 8)
    said = str(error("matrix.precision[2]", "unknown value 'amp-fp61'", mark, "did you mean 'amp-fp16'?"))
    assert said == (
        "suites/cnn.yaml:10:27 error matrix.precision[2]: unknown value 'amp-fp61'\n"
        "  10 |   precision: [fp32, tf32, amp-fp61]\n"
        "     |                           ^^^^^^^^ did you mean 'amp-fp16'?"
    )


def test_all_of_them_are_one_error_in_the_order_of_the_file_with_their_number():
    text = source("a\nb")
    found = suite_error(
        [error("b", "wrong", Mark(text, 1)), error("a", "wrong too", Mark(text)), warning("a", "odd", Mark(text))]
    )
    assert isinstance(found, SuiteError)
    assert found.exit_status == ExitStatus.USAGE
    assert [problem.path for problem in found.problems] == ["a", "a", "b"]
    assert str(found).endswith("\n2 errors. Nothing ran.")


def test_an_option_is_named_as_it_was_typed():
    option = SourceText("-s precision=fp61", ("precision=fp61",), option=True)
    said = str(error("matrix.precision[0]", "unknown value 'fp61'", Mark(option, 0, 10, 4)))
    assert said.splitlines() == [
        "-s precision=fp61 error matrix.precision[0]: unknown value 'fp61'",
        "   | precision=fp61",
        "   |           ^^^^",
    ]


def test_a_long_line_is_cut_around_the_mistake():
    text = "x" * 500 + "wrong" + "y" * 500
    *_, shown, carets = str(error("p", "m", Mark(source(text), 0, 500, 5))).splitlines()
    assert len(shown) < 120
    assert shown[carets.index("^") : carets.index("^") + 5] == "wrong"


def test_wide_characters_take_two_columns():
    text = "名: wrong"
    *_, carets = str(error("p", "m", Mark(source(text), 0, 3, 5))).splitlines()
    assert carets == "    |     ^^^^^"


def test_without_such_a_line_the_suggestion_ends_the_sentence():
    assert str(error("name", "missing", Mark(SourceText("f")), "add it")) == "f:1:1 error name: missing, add it"


def test_very_many_are_not_all_printed():
    text = source("a\n" * 80)
    found = suite_error([error("a", "wrong", Mark(text, line)) for line in range(80)])
    assert len(found.problems) == 80
    assert "... and 30 more" in str(found)
    assert str(found).endswith("80 errors. Nothing ran.")


def test_paths_are_written_as_in_python():
    assert path_text(("matrix", "precision", 2)) == "matrix.precision[2]"
    assert path_text(("when", 0, "if", "device")) == "when[0].if.device"
    assert path_text(()) == ""
