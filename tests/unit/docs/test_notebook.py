"""The notebook of the docs: its cells run as they stand (with workers that answer from a script), and show what they say."""

import ast
import json
from pathlib import Path

import pytest
from fakes.scripted_workers import script_the_workers

NOTEBOOK = Path(__file__).parents[3] / "docs" / "notebook.ipynb"
CELLS = [cell for cell in json.loads(NOTEBOOK.read_text(encoding="utf-8"))["cells"] if cell["cell_type"] == "code"]


def run_cell(source: str, names: dict) -> object:
    """What a notebook would show of a cell: the value of its last line."""
    magic, _, rest = source.partition("\n")
    if magic.startswith("%%writefile "):
        Path(magic.split()[1]).write_text(rest)
        return None
    *body, last = ast.parse(source).body
    exec(compile(ast.Module(body, []), "cell", "exec"), names)
    if isinstance(last, ast.Expr):
        return eval(compile(ast.Expression(last.value), "cell", "eval"), names)
    exec(compile(ast.Module([last], []), "cell", "exec"), names)
    return None


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path_factory.mktemp("notebook"))
        script_the_workers(patch)
        patch.setattr("gpubench.runner.check_workloads.unusable_workloads", lambda *_, **__: {})
        names: dict = {}
        return [run_cell("".join(cell["source"]), names) for cell in CELLS]


def html(value) -> str:
    return value._repr_html_()


def test_the_run_is_shown_as_its_screen(shown):
    run = next(value for value in shown if type(value).__name__ == "StoredRun")
    assert html(run).startswith("<pre")
    assert "Result" in html(run)
    assert "samples/s" in html(run)


def test_the_charts_are_drawn(shown):
    charts = next(value for value in shown if type(value).__name__ == "Charts")
    assert html(charts).count("<svg") == len(charts.charts) >= 1


def test_the_tables_have_a_row_per_case(shown):
    wide, long = (value for value in shown if type(value).__name__ == "DataFrame")
    assert list(wide.index.names) == ["precision", "batch_size"]
    assert len(wide) == len(long) == 4
    assert (long["low"] <= long["value"]).all()


def test_what_is_stored_in_the_notebook_names_no_folder_of_a_machine():
    assert all(cell["outputs"] for cell in CELLS)
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert not any(place in text for place in ("/home/", "/tmp/", "/root/", "/work/"))
