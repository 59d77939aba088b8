import pytest
from fakes.ceiling_runs import Ceiled

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.model.report_model import plain
from gpubench.report.topics.best import best_tables
from gpubench.report.topics.energy import section
from gpubench.report.view.run_view import View


def powered(**telemetry):
    """One case at 1,000 samples/s and 250 W."""
    made = Ceiled()
    power = {"energy_per_sample_j": 0.25, "samples_per_j": 4.0, "mean_power_w": 250.0}
    made.case(1000.0, 1000.0, device="cuda", precision="bf16", extra=power)
    made.records = [record.model_copy(update={"telemetry": telemetry}) for record in made.records]
    return made.run()


def best_row(run, price):
    (table,) = best_tables(Decision(summarise_run(run, price_per_hour=price)))
    return {column.title: cell.value for column, cell in zip(table.columns, table.rows[0].cells, strict=True)}


def test_the_best_table_has_samples_per_watt_and_per_money_where_they_are_known():
    row = best_row(powered(), 3.6)
    assert row["samples/s per W"] == pytest.approx(1000 / 250)
    assert row["M per money"] == pytest.approx(1.0)
    assert "M per money" not in best_row(powered(), None)
    unmetered = Ceiled()
    unmetered.case(1000.0, device="cuda", precision="bf16")
    assert "samples/s per W" not in best_row(unmetered.run(), 3.6)


@pytest.mark.parametrize(
    ("scope", "whose"),
    [
        ("device", "the card's board"),
        ("module", "the whole module (GPU and CPU)"),
        ("parent_shared", "the whole card, which MIG slices share"),
    ],
)
def test_energy_says_whose_joules_they_are(scope, whose):
    found = section(View(summarise_run(powered(energy_scope=scope))))
    assert f"Joules are those of {whose}," in " ".join(map(plain, found.lines))
    assert section(View(summarise_run(powered()))).lines == ()


def test_operators_cost_money_too():
    made = Ceiled()
    made.matmul(700.0, burst=760.0, capped=0.9)
    (entry,) = summarise_run(made.run(), price_per_hour=3.6).cases
    assert entry.metrics["samples_per_money"].value == pytest.approx(1000 * entry.metrics["throughput"].value)
