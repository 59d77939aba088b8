"""`gpubench run TARGET`: a workload where a suite could stand; `params` as axes; `device: auto`."""

import pytest

from gpubench.core.errors import SuiteError, UsageError
from gpubench.suite.load import auto_device, load_suite, parse_suite
from gpubench.suite.model.input_shape import parse_inputs
from gpubench.suite.select.expression import parse_selection


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    own = "class Net: pass\nclass Other: pass\ndef make(): pass\nWIDTH = 3\n_hidden = 4\n"
    (tmp_path / "mymodel.py").write_text(f"import sys\nfrom torch.nn import Linear\n{own}")
    (tmp_path / "plain" / "inner").mkdir(parents=True)
    (tmp_path / "plain" / "inner" / "netz.py").write_text("class Größe: pass\n", encoding="utf-8")
    (tmp_path / "empty.py").write_text("import sys\nfrom torch import nn\nSIZE = 3\n")
    for folder in ("package", "scripts"):
        (tmp_path / folder).mkdir()
    (tmp_path / "package" / "__init__.py").write_text("import os\nfrom package.net import Net\n")
    (tmp_path / "package" / "net.py").write_text("class Net: pass\n")
    (tmp_path / "scripts" / "a.py").write_text("x = 3\n")
    (tmp_path / "scripts" / "train.py").write_text("class Big: pass\n")
    (tmp_path / "reports" / "one").mkdir(parents=True)
    for other in ("book.ipynb", "resnet.pt", "train.sh", "reports/one/run.json", "reports/one/records.jsonl"):
        (tmp_path / other).write_text("x")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("torchvision:resnet18", "resnet18"),
        ("operators:matmul", "matmul"),
        ("mymodel:Net", "Net"),
        ("mymodel.py:Net", "Net"),
        ("./mymodel.py:make", "make"),
        ("plain.inner.netz:Größe", "Gr-e"),
        ("plain/inner/netz.py:Größe", "Gr-e"),
    ],
)
def test_a_target_is_a_suite_of_one_workload(target, name):
    loaded = load_suite(target, ("precision=fp32,amp-bf16", "batch_size=16,32"))
    assert loaded.suite.name == name
    assert (loaded.path, loaded.target, loaded.source) == (None, target, target)
    assert {case.workload for case in loaded.cases} == {target}
    assert [(case.precision, case.batch_size) for case in loaded.cases] == [
        ("fp32", 16),
        ("fp32", 32),
        ("amp-bf16", 16),
        ("amp-bf16", 32),
    ]


@pytest.mark.parametrize(
    ("target", "said", "hint"),
    [
        ("mymodel.py", "a target names one object in it", "For example mymodel.py:Net, mymodel.py:Other."),
        ("mymodel.py:", "a target names one object in it", "For example mymodel.py:Net"),
        ("mymodl.py", "There is no file mymodl.py", "path/to/file.py:Name"),
        ("mymodl.py:Net", "There is no file 'mymodl.py'", "Did you mean 'mymodel.py'?"),
        ("mymodel.py:Nett", "The file 'mymodel.py' has no 'Nett'", "Did you mean 'Net'?"),
        ("mymodel.py:Zzzzz", "has no 'Zzzzz'", "It has Net, Other, make"),
        ("mymodel.py:sis", "has no 'sis'", "It has Net, Other, make"),
        ("mymodel", "mymodel is a module; a target names one object", "For example mymodel:Net, mymodel:Other."),
        ("mymodle.py:Net", "There is no file 'mymodle.py'", "Did you mean 'mymodel.py'?"),
        ("empty.py", "empty.py is a file", "It defines no class or function."),
        ("empty.py:Net", "has no 'Net'", "It defines nothing"),
        ("nomodule:Net", "there is no module 'nomodule'", ""),
        ("package", "package is a folder", "A target names one object: package:Net."),
        ("package/", "package/ is a folder", "package:Net."),
        ("package:", "package is a folder", "package:Net."),
        ("package:Nett", "has no 'Nett'", "Did you mean 'Net'?"),
        ("scripts", "scripts is a folder", "A target names one object: scripts/train.py:Big."),
        ("reports/one", "reports/one is a stored run", "`gpubench show reports/one` shows it."),
        ("package.net", "package.net is a module", "For example package.net:Net."),
        ("book.ipynb", "is a notebook, which cannot be imported", "%%writefile mymodel.py"),
        ("book.ipynb:Net", "is a notebook, which cannot be imported", "mymodel.py:Net"),
        ("resnet.pt", "holds weights, not the code of a model", "mymodel.py:make"),
        ("train.sh", "is a program", "`gpubench stat -- ./train.sh`"),
        ("torchvision:", "names no model", "torchvision:resnet18"),
        (":Net", "':Net' is not a target", "FILE.py:NAME"),
        ("mymodel.py:Net:x", "'mymodel.py:Net:x' is not a target", "FILE.py:NAME"),
    ],
)
def test_a_wrong_target_is_answered_with_what_there_is(target, said, hint):
    with pytest.raises(UsageError) as caught:
        load_suite(target)
    assert said.lower() in str(caught.value).lower()
    assert hint in caught.value.hint


def test_a_suite_may_name_a_file(here):
    (here / "mine.yaml").write_text('schema: 1\nname: mine\ndefaults: {workload: "mymodel.py:Net", input: 3x8x8}\n')
    (case,) = load_suite("mine.yaml").cases
    assert case.workload == "mymodel.py:Net"


def params(*texts, suite="schema: 1\nname: mine\n"):
    return [case.params for case in parse_suite(suite, texts).cases]


def test_parameters_are_axes():
    assert params("params.width=64") == [{"width": 64}]
    assert params("params.width=64,128") == [{"width": 64}, {"width": 128}]
    assert params("params.width=64,128", "params.depth=2") == [{"depth": 2, "width": 64}, {"depth": 2, "width": 128}]
    suite = "schema: 1\nname: mine\ndefaults: {params: {act: relu}}\nmatrix: {params: {width: [1, 2], depth: [3, 4]}}\n"
    assert params(suite=suite) == [
        {"act": "relu", "width": width, "depth": depth} for width in (1, 2) for depth in (3, 4)
    ]
    assert params("params.width=9", suite=suite) == [{"act": "relu", "width": 9, "depth": depth} for depth in (3, 4)]


@pytest.mark.parametrize(
    ("suite", "text", "said"),
    [
        ("matrix: {params: {width: 64}}", "", "expected a list of values"),
        ("matrix: {params: {width: []}}", "", "expected a list of values"),
        ("matrix: {params: {width: [8, null]}}", "", "`width` must be a number, a word, true or false, got null"),
        ("matrix: {params: [{width: 64}]}", "params.width=1", "lists whole `params` as an axis"),
        ("defaults: {params: {width: [1]}}", "", "defaults.params"),
    ],
)
def test_a_mistake_in_parameters_has_its_place(suite, text, said):
    with pytest.raises(SuiteError, match=said):
        params(*([text] if text else []), suite=f"schema: 1\nname: mine\n{suite}\n")


def test_parameters_are_selected_and_labelled():
    cases = parse_suite("schema: 1\nname: mine\n", ("params.width=64,128", "params.relu=true")).cases
    assert [case.params["width"] for case in cases if parse_selection("params.width=128").matches(case)] == [128]
    assert (
        len([case for case in cases if parse_selection("params.relu=true and not params.width=1").matches(case)]) == 2
    )
    with pytest.raises(UsageError, match="holds several parameters"):
        parse_selection("params=3")


def test_a_case_without_parameters_has_the_id_it_always_had():
    (case,) = parse_suite("schema: 1\nname: mine\n").cases
    assert case.case_id == "44136fa355"


@pytest.mark.parametrize(
    ("text", "shape"),
    [
        ("3x224x224", (None, (3, 224, 224), False)),
        ("128", (None, (128,), False)),
        ("int30000:128", (30000, (128,), False)),
        ("bool:7", (2, (7,), True)),
        ("3x8x8+int10", ((None, (3, 8, 8), False), (10, (), False))),
        ("tokens=int50:6+mask=bool:6", {"tokens": (50, (6,), False), "mask": (2, (6,), True)}),
        ("länge=6", {"länge": (None, (6,), False)}),
    ],
)
def test_the_shape_of_a_sample(text, shape):
    assert parse_inputs(text) == shape
    assert parse_suite("schema: 1\nname: mine\n", (f"input={text}",)).cases[0].input == text


@pytest.mark.parametrize("text", ["a=3+4", "a=3+a=4"])
def test_inputs_have_a_name_each_or_none(text):
    with pytest.raises(ValueError, match="name"):
        parse_inputs(text)


@pytest.mark.parametrize(
    "text", ["", "3x", "x3", "0x3", "float:3", "int:3", "int3:", "10:int64", "3,3", "3+", "a=", "1x2x3x4x5x6x7", "²"]
)
def test_what_is_no_shape(text):
    with pytest.raises(ValueError, match="not the shape of a sample"):
        parse_inputs(text)


def test_auto_is_the_gpu_where_the_machine_shows_one(tmp_path):
    assert auto_device(tmp_path, {}) == "cpu"
    (tmp_path / "nvidiactl").touch()
    assert auto_device(tmp_path, {}) == "cpu"
    (tmp_path / "nvidia0").touch()
    assert auto_device(tmp_path, {}) == "cuda"
    assert auto_device(tmp_path, {"CUDA_VISIBLE_DEVICES": "1"}) == "cuda"
    for hidden in ("", "-1"):
        assert auto_device(tmp_path, {"CUDA_VISIBLE_DEVICES": hidden}) == "cpu"


@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_auto_is_replaced_wherever_a_suite_says_it(monkeypatch, device):
    monkeypatch.setattr("gpubench.suite.load.auto_device", lambda: device)
    suite = "schema: 1\nname: mine\ndefaults: {device: auto}\ninclude: [{device: auto, batch_size: 3}, {device: cpu, seed: 1}]\n"
    assert [case.device for case in parse_suite(suite).cases] == [device, device, "cpu"]
    assert {case.device for case in parse_suite(suite, ("device=auto",)).cases} == {device, "cpu"}
    assert [case.device for case in parse_suite("schema: 1\nname: m\n", ("device=cpu,auto",)).cases] == list(
        dict.fromkeys(["cpu", device])
    )


def test_a_module_is_looked_for_in_the_folder_that_is_current_now(tmp_path, monkeypatch):
    for name in ("first", "second"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"of_{name}.py").write_text("class Net: ...\n")
        monkeypatch.chdir(tmp_path / name)
        assert load_suite(f"of_{name}:Net", ()).target == f"of_{name}:Net"
