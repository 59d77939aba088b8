import json
import os

import pytest

from gpubench.core.errors import SuiteError, UsageError
from gpubench.suite.load import MAX_BYTES, load_suite
from gpubench.suite.model.suite import MAX_CASES, Suite
from gpubench.suite.read.shipped import shipped_suites

BODY = """\
# The reason for this file.
schema: 1
name: demo
description: Something to try.
defaults: {data: digits}
matrix:
  precision: [fp32, amp-bf16]
  batch_size: [64, 256]
"""


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "demo.yaml"
    path.write_text(BODY)
    return path


def test_a_suite_comes_with_its_cases_its_text_and_its_place(file):
    loaded = load_suite(file)
    assert [(case.precision, case.batch_size) for case in loaded.cases] == [
        ("fp32", 64),
        ("fp32", 256),
        ("amp-bf16", 64),
        ("amp-bf16", 256),
    ]
    assert (loaded.path, loaded.text, loaded.warnings, loaded.quality_cases) == (file, BODY, (), ())
    assert load_suite(str(file)) == loaded


def test_a_mistake_names_the_file_the_line_and_the_column_as_a_person_sees_them(file):
    file.write_text(BODY.replace("amp-bf16", "amp-fp61").replace("defaults", "defults"))
    with pytest.raises(SuiteError) as caught:
        load_suite(file)
    assert str(caught.value) == (
        f"{file}:5:1 error defults: unknown key\n"
        "  5 | defults: {data: digits}\n"
        "    | ^^^^^^^ did you mean 'defaults'?\n"
        f"{file}:7:21 error matrix.precision[1]: unknown value 'amp-fp61'\n"
        "  7 |   precision: [fp32, amp-fp61]\n"
        "    |                     ^^^^^^^^ did you mean 'amp-fp16'?\n"
        "2 errors. Nothing ran."
    )


def test_duplicate_keys_and_wrong_options_are_reported_with_the_rest(file):
    file.write_text(BODY + "  batch_size: [1]\nmeasure: {repeats: 0}\n")
    with pytest.raises(SuiteError) as caught:
        load_suite(file, ["mode=trian", "nothing"])
    assert [problem.path for problem in caught.value.problems] == [
        "",
        "defaults.mode",
        "matrix.batch_size",
        "measure.repeats",
    ]


def test_the_digest_is_of_what_is_measured(file):
    digest = load_suite(file).digest
    assert len(digest) == 16
    assert int(digest, 16) >= 0
    file.write_text(
        BODY.replace("The reason for", "Another")
        .replace("Something", "Anything")
        .replace("[64, 256]", "[64,\n    256]")
    )
    assert load_suite(file).digest == digest
    assert load_suite(file, ["measure.repeats=3"]).digest == digest, "this is its default"
    assert load_suite(file, ["batch_size=64,128"]).digest != digest
    assert load_suite(file, ["measure.repeats=5"]).digest != digest


def test_the_suite_survives_being_stored(file):
    file.write_text(BODY + "when: [{if: {device: cuda}, set: {memory_format: NHWC}}]\nquality: {epochs: 2}\n")
    suite = load_suite(file).suite
    assert Suite.model_validate(json.loads(json.dumps(suite.model_dump(mode="json", by_alias=True)))) == suite


def test_a_shipped_suite_is_found_by_its_name_and_a_file_of_that_name_goes_first(tmp_path, monkeypatch):
    assert load_suite("cnn").path == shipped_suites()["cnn"]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cnn").write_text(BODY)
    assert load_suite("cnn").suite.name == "demo"


def test_a_suite_that_is_not_there_is_named_with_the_nearest(tmp_path):
    with pytest.raises(UsageError, match=r"no suite 'cnnn'.*Did you mean 'cnn'") as caught:
        load_suite("cnnn")
    assert "resnet50" in caught.value.hint
    with pytest.raises(UsageError, match="is a folder"):
        load_suite(tmp_path)


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"#" * (MAX_BYTES + 1), "larger than 256 KiB"),
        (b"x" * 10_000_000, "larger than 256 KiB"),
        (b"schema: 1\nname: \xff\n", "2:7 error: not UTF-8 text (byte 0xff)"),
        (bytes(range(256)), "not UTF-8"),
        (b"schema: 1\0", "U+0000"),
        (b"\x7fELF\x02\x01\x01", "U+007F"),
    ],
)
def test_what_is_no_text_of_reasonable_size_is_refused(tmp_path, content, said):
    path = tmp_path / "suite.yaml"
    path.write_bytes(content)
    with pytest.raises(SuiteError) as caught:
        load_suite(path)
    assert said in str(caught.value)


def test_a_byte_order_mark_and_windows_line_ends_are_fine(tmp_path):
    path = tmp_path / "suite.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BODY.replace("\n", "\r\n").encode())
    assert len(load_suite(path).cases) == 4


@pytest.mark.timeout(20)
@pytest.mark.parametrize("axis", ["{pow2: [0, 24]}", "[" + ",".join(map(str, range(1, 3000))) + "]"])
def test_a_huge_matrix_is_counted_not_built(tmp_path, axis):
    path = tmp_path / "suite.yaml"
    axes = "".join(f"  {name}: {axis}\n" for name in ("batch_size", "seed", "accumulate", "cpu_threads"))
    axes = axes.replace("  cpu_threads: {pow2: [0, 24]}", "  cpu_threads: {pow2: [0, 12]}")
    axes = axes.replace("  accumulate: {pow2: [0, 24]}", "  accumulate: {pow2: [0, 12]}")
    path.write_text("schema: 1\nname: huge\nmatrix:\n" + axes)
    with pytest.raises(SuiteError, match=f"matrix: .*combinations; a suite has at most {MAX_CASES:,}"):
        load_suite(path)


@pytest.mark.skipif(os.geteuid() == 0, reason="root reads everything")
def test_a_file_that_may_not_be_read_says_so(file):
    file.chmod(0)
    with pytest.raises(UsageError, match="cannot be read: Permission denied"):
        load_suite(file)
