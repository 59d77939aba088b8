from fakes.runs import Invented, a_quality

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.build import build_report
from gpubench.report.model.report_model import plain
from gpubench.report.topics.accuracy import quality_tables, to_target_tables
from gpubench.report.view.run_view import View


def trained(times, joules=None, *, target=0.95, trainings=1, timed=True):
    """Quality entries (precision -> seconds to the target per seed, None where it was not reached)."""
    made = Invented()
    for precision, seconds in times.items():
        planned = made.plan(
            f"quality {precision}", kind="quality", mode="train", data="digits", device="cuda", precision=precision
        )
        for seed, to_target in enumerate(seconds):
            run = a_quality(0.97).model_copy(
                update={
                    "seed": seed,
                    "time_to_accuracy_s": to_target,
                    "target_accuracy": target,
                    "trainings_in_window": trainings,
                    "steps_to_accuracy": None if to_target is None else 60,
                }
            )
            energy = None if joules is None else joules[precision][seed]
            metrics = {"energy_j": energy, "mean_power_w": 300.0 if energy else None}
            metrics |= {} if timed else {"time_to_accuracy_s": None}
            made.add(planned, seed + 1, quality=run, metrics=metrics)
    suite = {"schema": 1, "name": "acc", "quality": {"reference": {"precision": "fp32"}, "target_accuracy": target}}
    return summarise_run(made.run(suite=suite))


def texts(table, key):
    at = [column.key for column in table.columns].index(key)
    return [row.cells[at].full for row in table.rows]


TIMES = {"fp32": [2.0, 2.1, 1.9], "amp-bf16": [1.0, 1.05, 0.95]}


def test_each_precision_has_its_time_with_an_interval_over_seeds_and_is_held_against_the_reference():
    (table,) = to_target_tables(trained(TIMES))
    assert texts(table, "precision") == ["fp32", "amp-bf16"]
    assert texts(table, "reached") == ["3 of 3", "3 of 3"]
    assert [text.split()[0] for text in texts(table, "time_to_accuracy_s")] == ["2.0", "1.0"]
    assert all("±" in text for text in texts(table, "time_to_accuracy_s"))
    assert texts(table, "speed") == ["", "2.000x ±0.000"]


def test_a_target_that_was_reached_beside_other_programs_was_not_timed():
    (table,) = quality_tables(trained(TIMES, timed=False))
    assert texts(table, "to_accuracy") == ["not timed", "not timed"]
    (table,) = quality_tables(trained({"fp32": [None], "amp-bf16": [None]}))
    assert texts(table, "to_accuracy") == ["not reached", "not reached"]


def test_joules_of_repeated_trainings_are_those_of_one():
    summary = trained({"fp32": [0.1, 0.1, 0.1]}, {"fp32": [600.0, 600.0, 600.0]}, trainings=30)
    (table,) = to_target_tables(summary)
    assert texts(table, "energy_to_accuracy_j") == ["20.000"]
    assert "were repeated: joules are the mean of one" in plain(table.notes[-1])
    assert "repeated" not in plain(to_target_tables(trained(TIMES))[0].notes[-1])


def test_joules_to_the_target_are_those_of_the_runs_that_reached_it():
    summary = trained({"fp32": [2.0, None, 2.0]}, {"fp32": [600.0, 9000.0, 600.0]})
    assert summary.quality[0].summary.metrics["energy_to_accuracy_j"].value == 600.0
    (table,) = to_target_tables(summary)
    assert texts(table, "energy_to_accuracy_j") == ["600.0"]
    assert texts(table, "mark") == ["!"]
    assert texts(table, "reached") == ["2 of 3"]
    assert "some seeds did not reach it" in plain(table.notes[-1])


def test_without_a_meter_there_is_no_column_of_joules():
    (table,) = to_target_tables(trained(TIMES))
    assert "energy_to_accuracy_j" not in [column.key for column in table.columns]


def test_without_a_target_there_is_no_table():
    assert to_target_tables(trained(TIMES, target=None)) == ()


def test_the_report_has_it_beside_the_accuracies():
    section = build_report(View(trained(TIMES))).section("accuracy")
    assert [table.key for table in section.tables][:2] == ["quality", "to-accuracy"]
