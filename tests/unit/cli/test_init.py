"""`gpubench init`: files that work as they are."""

import runpy

import pytest
import torch

from gpubench.cli.commands import init
from gpubench.cli.main import main
from gpubench.suite.load import load_suite, missing_workloads
from gpubench.suite.model.case import Case


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_the_suite_and_its_model_fit_each_other(here, capsys):
    assert main(["init", "mine"]) == 0
    assert "gpubench run mine/mysuite.yaml --dry-run" in capsys.readouterr().out
    loaded = load_suite("mine/mysuite.yaml")
    assert (len(loaded.cases), loaded.warnings, missing_workloads(loaded)) == (4, (), ())
    made = runpy.run_path(str(here / "mine" / "mymodel.py"))
    assert made["Net"](width=8)(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    made["Loop"]().build(Case(batch_size=2), "cpu")()


def test_what_the_comments_offer_is_valid(here):
    offered = init.SUITE.replace("  # params:", "  params:").replace("          arguments of the model", "")
    offered = offered.replace("  # memory_format", "  memory_format").replace("  # compile", "  compile")
    (here / "mysuite.yaml").write_text(offered)
    (here / "mymodel.py").write_text(init.MODEL)
    assert len(load_suite("mysuite.yaml").cases) == 32


def test_files_that_are_there_are_kept(here, capsys):
    (here / "mymodel.py").write_text("mine")
    assert main(["init"]) == 2
    assert "mymodel.py would be replaced" in capsys.readouterr().err
    assert (here / "mymodel.py").read_text() == "mine"
    assert not (here / "mysuite.yaml").exists()
    assert main(["init", "--force"]) == 0
    assert "class Net" in (here / "mymodel.py").read_text()


def test_a_folder_that_cannot_be_made_is_named(here, capsys):
    (here / "file").write_text("")
    assert main(["init", "file/below"]) == 2
    assert "file/below cannot be made" in capsys.readouterr().err
