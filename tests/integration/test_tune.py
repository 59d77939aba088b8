"""A whole search with real workers, on a model that takes no time."""

import pytest

from gpubench.cli.main import main
from gpubench.core.errors import ExitStatus
from gpubench.store.run_reader import load_run

MODEL = """import torch


class Net(torch.nn.Sequential):
    def __init__(self):
        super().__init__(torch.nn.Flatten(), torch.nn.Linear(12, 3))
"""


@pytest.mark.slow
def test_a_larger_batch_of_a_tiny_model_is_found_and_its_suite_measures_it_again(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL)
    quick = ("measure.min_time=0.05s", "measure.max_time=0.3s", "contest.budget=3s", "batch_size=1,256")
    given = [word for each in quick for word in ("-s", each)]
    command = ["tune", "mymodel.py:Net", "--input", "3x2x2", "--axis", "batch_size", "--out", "run", "--no-report"]
    assert main([*command, *given]) == ExitStatus.OK
    said = capsys.readouterr().out
    assert "b256" in said[: said.index("To paste")]
    assert "parity ok" in said
    stored = load_run(tmp_path / "run")
    assert {record.case_index for record in stored.records} == {1, 2}
    assert len(stored.contests) >= 3
    assert main(["run", "run/tuned.yaml", "-n"]) == ExitStatus.OK
    assert "mymodel" in (tmp_path / "run" / "tuned.yaml").read_text()
