import importlib.util
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.fixture(scope="module")
def pack():
    spec = importlib.util.spec_from_file_location("pack_wheels", ROOT / "scripts" / "pack_wheels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_is_there_is_read_by_name_and_version(pack):
    have = pack.read_have("torch==2.11.0+cu130\nnvidia_ml.py\n\n# a comment\nPyYAML==6.0.3  # pinned\n")
    assert have == {"torch": "2.11.0", "nvidia-ml-py": None, "pyyaml": "6.0.3"}


@pytest.mark.parametrize("line", ["-e git+https://host/x", "torch>=2", "x @ file:///x.whl", "=="])
def test_a_line_that_is_not_understood_is_named(pack, line):
    with pytest.raises(pack.WrongInputError, match="line 2 is neither `name` nor `name==version`"):
        pack.read_have(f"torch\n{line}\n")


def test_what_is_missing_is_packed_at_the_version_that_fits(pack):
    needed = {"torch": "2.11.0", "pydantic": "2.14.4", "numpy": "2.5.2"}
    assert pack.split(needed, {"torch": "2.11.0", "numpy": None}) == (
        {"torch": "2.11.0", "numpy": "2.5.2"},
        {"pydantic": "2.14.4"},
    )


def test_the_tests_are_packed_too_and_lint_is_not(pack):
    names = {pack.normal(line.partition(">")[0]) for line in pack.requirements()}
    assert {"torch", "pydantic", "pytest", "pytest-timeout", "hypothesis", "jsonschema"} <= names
    assert not {"ruff", "mypy", "selenium"} & names


def test_a_wheel_for_a_later_c_library_is_refused(pack):
    either = "x-1-cp312-cp312-manylinux2014_x86_64.manylinux_2_17_x86_64.manylinux_2_28_x86_64.whl"
    pack.check_libraries(["y-1-py3-none-any.whl", either], "2.17")
    with pytest.raises(pack.WrongInputError, match=r"later C library than 2\.17: z-1-"):
        pack.check_libraries([either, "z-1-cp312-cp312-manylinux_2_34_x86_64.whl"], "2.17")


def test_wrong_input_exits_with_2(pack, tmp_path, capsys):
    (tmp_path / "have.txt").write_text("torch @ somewhere\n")
    assert pack.main(["--have", str(tmp_path / "have.txt")]) == 2
    assert pack.main(["--have", str(tmp_path / "none.txt")]) == 2
    said = capsys.readouterr().err
    assert said.startswith("error: line 1 is neither")
    assert "none.txt" in said
