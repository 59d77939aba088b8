import io
from pathlib import Path

import pandas as pd
import pytest
from fakes.gate_runs import two_arms
from fakes.runs import Invented, cpu_run, invented_run
from fakes.stored import stored

from gpubench.analysis.summary.long_table import COLUMNS
from gpubench.cli.main import main
from gpubench.report.render.csv_text import safe_table
from gpubench.report.sinks import table_files
from gpubench.report.sinks.exported_run import ExportedRun, summarise_sides
from gpubench.report.sinks.table_files import csv_parts, long_table, typed_table, write_csv, write_parquet
from gpubench.store.run_reader import load_run

parquet = pytest.importorskip("pyarrow.parquet", reason="pyarrow is an extra: pip install 'gpubench[parquet]'")


def exported(run):
    return ExportedRun(run, summarise_sides(run))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return exported(stored(invented_run(), tmp_path_factory.mktemp("store") / "run"))


def test_csv_is_what_show_prints(run, tmp_path, capsys):
    path = write_csv(run, str(tmp_path / "run.csv"))
    assert main(["show", str(run.stored.folder), "--csv"]) == 0
    with Path(path).open(newline="") as file:
        assert file.read() == capsys.readouterr().out


def test_csv_in_parts_is_the_table_as_a_whole(run, monkeypatch):
    monkeypatch.setattr(table_files, "_CASES_AT_ONCE", 3)
    parts = list(csv_parts(run))
    assert len(parts) > 3
    assert "".join(parts) == safe_table(long_table(run)).to_csv(index=False)


def test_parquet_has_the_columns_units_and_values_of_the_csv(run, tmp_path):
    table = pd.read_parquet(write_parquet(run, str(tmp_path / "run.parquet")))
    assert tuple(table.columns) == COLUMNS
    text = pd.read_csv(io.StringIO(long_table(run).to_csv(index=False)))
    for name in ("value", "low", "high", "n", "unit", "metric", "case", "precision", "batch_size", "reason"):
        there = text[name].notna()
        assert list(table[name].notna()) == list(there)
        assert list(table[name][there]) == list(text[name][there])
    assert table.attrs["run"] == run.info.run


def test_what_is_absent_is_null(run, tmp_path):
    stored_table = parquet.read_table(write_parquet(run, str(tmp_path / "run.parquet")))
    rows = [row for row in stored_table.to_pylist() if row["status"] == "oom"]
    assert rows
    for row in rows:
        assert row["reason"].startswith("out of memory")
        assert [row[name] for name in ("metric", "value", "low", "high", "n", "unit")] == [None] * 6
    assert set(stored_table.column("shape").to_pylist()) == {None}


def test_two_runs_have_the_same_types_whatever_their_values(run, tmp_path):
    few = exported(stored(cpu_run(), tmp_path / "few"))
    paths = [write_parquet(each, str(tmp_path / f"{n}.parquet")) for n, each in enumerate((run, few))]
    first, second = (parquet.read_schema(path).remove_metadata() for path in paths)
    assert first == second
    assert str(first.field("batch_size").type) == "int64"
    assert str(first.field("cuda_graph").type) == "bool"
    assert str(first.field("learning_rate").type) == "double"
    assert "string" in str(first.field("shape").type)


def test_a_search_for_the_largest_batch_makes_that_column_text(tmp_path):
    made = Invented()
    made.measured("b64", 1000.0, batch_size=64)
    made.plan("max", batch_size="max", device="cpu")
    table = typed_table(exported(stored(made.run(), tmp_path / "run")))
    assert set(table["batch_size"]) == {"64", "max"}


def test_arms_are_rows_of_their_own(tmp_path):
    made = two_arms()
    made.measured(1000.0, head=900.0, batch_size=64)
    table = long_table(exported(load_run(made.write(tmp_path, "ab"))))
    speeds = table[table["metric"] == "throughput"].set_index("arm")["value"]
    assert speeds["base"] == pytest.approx(1000, rel=0.01)
    assert speeds["head"] == pytest.approx(900, rel=0.01)
    assert tuple(table.columns) == ("arm", *COLUMNS)
