import json
import re
from pathlib import Path

import pytest

from gpubench.suite.cases.labels import label_cases
from gpubench.suite.load import load_suite
from gpubench.suite.read import shipped
from gpubench.suite.read.shipped import shipped_suites

ROOT = Path(__file__).parents[3]
NAMES = list(shipped_suites())


def test_the_suites_of_a_checkout_are_those_of_its_folder():
    assert {"cnn", "cnn-smoke", "inference", "resnet50", "dataloading"} <= set(NAMES)
    assert {path.parent for path in shipped_suites().values()} == {ROOT / "suites"}
    assert sorted(NAMES) == NAMES


def test_an_installed_package_has_them_inside(tmp_path, monkeypatch):
    package = tmp_path / "gpubench"
    (package / "_suites").mkdir(parents=True)
    (package / "_suites" / "inside.yaml").write_text("schema: 1\nname: inside\n")
    monkeypatch.setattr(shipped, "__file__", str(package / "suite" / "read" / "shipped.py"))
    assert shipped_suites() == {"inside": package / "_suites" / "inside.yaml"}
    assert len(load_suite("inside").cases) == 1


@pytest.mark.parametrize("name", NAMES)
def test_each_is_without_oddities_is_named_like_its_file_and_says_its_question_first(name):
    loaded = load_suite(name)
    assert loaded.suite.name == name
    assert [str(warning) for warning in loaded.warnings] == []
    assert loaded.suite.description
    comment = loaded.text.partition("schema: 1")[0]
    assert all(line.startswith("#") for line in comment.splitlines())
    assert "?" in comment
    assert re.search(r"yaml-language-server: \$schema=\.\./schemas/suite-1\.json", comment)


@pytest.mark.parametrize("name", NAMES)
def test_each_stands_in_the_index_with_its_number_of_cases(name):
    row = next(line for line in (ROOT / "suites" / "README.md").read_text().splitlines() if f"]({name}.yaml)" in line)
    assert row.split("|")[3].strip() == str(len(load_suite(name).cases))


@pytest.mark.parametrize("name", NAMES)
def test_labels_are_short_enough_for_a_row(name):
    assert max(map(len, label_cases(load_suite(name).cases))) <= 64


def test_the_main_suite_leaves_a_cpu_a_handful_of_cases():
    loaded = load_suite("cnn")
    on_cpu = [case for case in loaded.cases if case.device == "cpu"]
    assert len(on_cpu) == 6
    assert {case.precision for case in on_cpu} == {"fp32", "amp-bf16"}
    assert {case.data for case in loaded.cases} == {"digits"}
    assert {case.device for case in loaded.quality_cases} == {"cpu", "cuda"}


def test_the_suite_for_a_gpu_requires_one_and_the_first_ones_a_person_runs_do_not():
    assert load_suite("resnet50").suite.requires == "cuda"
    assert {load_suite(name).suite.requires for name in ("cnn", "cnn-smoke", "inference", "dataloading")} == {None}


def test_their_schema_is_named_where_it_is():
    schema = json.loads((ROOT / "suites" / ".." / "schemas" / "suite-1.json").read_text())
    assert schema["title"] == "gpubench suite"
