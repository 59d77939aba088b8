"""The examples of docs/workloads.md, as they stand there."""

import re
import sys
from pathlib import Path

import pytest
import torch

from gpubench.suite.model.case import Case
from gpubench.worker import effective_settings
from gpubench.worker.checks import parity
from gpubench.worker.checks.work_counts import count_flops
from gpubench.worker.workloads import optional_facts
from gpubench.worker.workloads.registry import resolve

DOC = Path(__file__).parents[4] / "docs" / "workloads.md"


@pytest.fixture
def examples(tmp_path, monkeypatch):
    """The Python blocks as one module each in a folder that stands for the suite's."""
    monkeypatch.setattr(sys, "path", list(sys.path))
    blocks = re.findall(r"```python\n(.*?)```", DOC.read_text(), flags=re.DOTALL)
    for name, block in zip(("mymodule", "myclassifier"), blocks, strict=True):
        (tmp_path / f"{name}.py").write_text(block)
    yield tmp_path, blocks
    for name in ("mymodule", "myclassifier"):
        sys.modules.pop(name, None)


def test_the_ten_line_example_has_ten_lines(examples):
    _, blocks = examples
    code = [line for line in blocks[0].splitlines() if line.strip()]
    assert len(code) - 1 == 10, "ten lines and an import"


def test_the_ten_line_example_is_built_stepped_and_unverified(examples):
    folder, _ = examples
    case = Case(workload="mymodule:MyWorkload", batch_size=4, learning_rate=0.1)
    effective_settings.apply(case, torch)
    workload = resolve(case.workload, (str(folder),))
    step = workload.build(case, "cpu")
    before = effective_settings.read_back(case, optional_facts.probe(workload, case, step), "cpu")
    optional_facts.reset_health(workload)
    for _ in range(3):
        assert step() is None
    after = effective_settings.read_back(case, optional_facts.probe(workload, case, step), "cpu")
    assert effective_settings.mismatches(case, before, after) == ()
    assert before.compute_dtype == "float32"
    assert optional_facts.samples_per_step(workload, case) == 4
    assert optional_facts.health(workload) is None
    assert optional_facts.waits_s(workload) == (None, None)
    assert "offers no reference output" in parity.check(workload, case, "cpu")
    assert count_flops(workload, case).per_sample is None
    optional_facts.close(workload)


def test_the_classifier_example_has_everything(examples):
    folder, _ = examples
    case = Case(
        workload="myclassifier:MyClassifier", batch_size=4, data="digits", precision="amp-bf16", optimizer="adam"
    )
    effective_settings.apply(case, torch)
    workload = resolve(case.workload, (str(folder),))
    step = workload.build(case, "cpu")
    step()
    effective = effective_settings.read_back(case, optional_facts.probe(workload, case, step), "cpu")
    assert effective_settings.mismatches(case, effective, None) == ()
    assert optional_facts.health(workload).parameters_moved is True
    assert parity.check(workload, case, "cpu").passed
    assert count_flops(workload, case).per_sample == 2 * 2 * (3 * 16 * 16 * 10)


def test_the_yaml_example_names_the_python_example():
    assert 'workload: "mymodule:MyWorkload"' in DOC.read_text()


class Telling:
    def build(self, case, device):
        return lambda: None

    def samples_per_step(self, case):
        return case.batch_size * 7

    def health(self):
        return {"finite": False, "tokens": 12}


def test_optional_methods_are_heard():
    workload = Telling()
    assert optional_facts.samples_per_step(workload, Case(batch_size=2)) == 14
    health = optional_facts.health(workload)
    assert (health.finite, health.extra) == (False, {"tokens": 12})


def test_a_step_of_no_samples_is_refused():
    workload = Telling()
    workload.samples_per_step = lambda case: 0
    with pytest.raises(ValueError, match="at least 1, not 0"):
        optional_facts.samples_per_step(workload, Case())
