"""What each chart says: its finding is computed from the data, and holds for them."""

import math

import pytest
from fakes.matrix import matrix_run
from fakes.reports import charts_of
from fakes.runs import FakeRun, Invented, invented_run

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.core.findings import finding
from gpubench.report.build import build_report
from gpubench.report.model.report_model import Chart, ReportModel
from gpubench.report.topics.energy import frontier
from gpubench.report.topics.steadiness import throttle_spans
from gpubench.report.view.contests import by_batch, charted, contests
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import LaunchSamples, Samples

GPU = {"mode": "train", "device": "cuda", "data": "digits"}


def chart_of(run: object, key: str, samples: Samples | None = None) -> Chart:
    charts = charts_of(summarise_run(run), samples)  # type: ignore[arg-type]
    (found,) = [chart for section in charts.values() for chart in section if chart.key == key]
    return found


def gpu_run(rates: dict[str, dict[int, float]], **changes: object) -> object:
    """Training on the GPU: precision -> batch -> samples/s."""
    made = Invented()
    for precision, line in rates.items():
        for batch, rate in line.items():
            made.measured(f"{precision} b{batch}", rate, precision=precision, batch_size=batch, **GPU, **changes)
    return made.run()


def test_every_chart_has_a_finding_a_way_to_read_it_words_for_the_blind_and_data(matrix_model: ReportModel) -> None:
    assert len(matrix_model.charts) > 20
    keys = [chart.key for chart in matrix_model.charts]
    assert len(set(keys)) == len(keys), "keys are file names"
    for chart in matrix_model.charts:
        assert len(chart.title) > 20
        assert len(chart.reading) > 40
        assert chart.reading.endswith(".")
        assert len(chart.alt) > len("Line chart")
        assert chart.rows
        assert {len(row) for row in chart.rows} == {len(chart.columns)}


def test_the_sections_of_the_report_have_the_charts_that_belong_there(matrix_model: ReportModel) -> None:
    forms = {
        section.key: {chart.form for chart in section.charts} for section in matrix_model.sections if section.charts
    }
    assert forms == {
        "batch": {"lines"},
        "effects": {"forest", "heat"},
        "launches": {"dots"},
        "memory": {"lines"},
        "energy": {"scatter", "dots"},
        "efficiency": {"dots"},
        "steadiness": {"spread", "timeline"},
        "accuracy": {"dots", "lines"},
    }


def test_the_leader_at_every_batch_size_is_named() -> None:
    run = gpu_run({"fp32": {64: 100, 256: 200}, "amp-bf16": {64: 150, 256: 500}})
    assert chart_of(run, "batch-train-cuda").title == (
        "Training on the GPU: amp-bf16 is fastest at every batch size and is 3.3x as fast at batch 256 as at 64"
    )


def test_a_change_of_leader_is_told_with_its_batch_size() -> None:
    run = gpu_run({"fp32": {64: 200, 256: 240, 1024: 250}, "amp-bf16": {64: 150, 256: 500, 1024: 505}})
    title = chart_of(run, "batch-train-cuda").title
    assert "amp-bf16 is fastest from batch 256 on, fp32 below" in title
    assert title.endswith("levelling off at 256")


def test_a_precision_leads_only_where_the_others_were_tried_too() -> None:
    run = gpu_run({"fp32": {64: 100, 256: 300}, "amp-bf16": {64: 150}})
    assert chart_of(run, "batch-train-cuda").title == (
        "Training on the GPU: amp-bf16 is fastest at batch 64; fp32 is 3.0x as fast at batch 256 as at 64"
    )


def test_of_precisions_whose_intervals_overlap_none_is_called_fastest() -> None:
    run = gpu_run({"fp32": {64: 200.0, 256: 240.0}, "tf32": {64: 200.1, 256: 240.1}})
    assert (
        "nothing is clearly faster than tf32 at any batch size; tf32 gains 20% from"
        in chart_of(run, "batch-train-cuda").title
    )


def test_a_batch_size_with_hollow_points_alone_is_led_by_none() -> None:
    made, drift = Invented(), [finding("GB202", "Step time drifted by +2.1 % over the window.")]
    for batch, fp32, bf16, found in ((64, 100.0, 300.0, drift), (256, 500.0, 400.0, ())):
        made.measured(f"fp32 b{batch}", fp32, precision="fp32", batch_size=batch, findings=found, **GPU)
        made.measured(f"amp-bf16 b{batch}", bf16, precision="amp-bf16", batch_size=batch, findings=found, **GPU)
    assert "fp32 is fastest at batch 256; fp32" in chart_of(made.run(), "batch-train-cuda").title
    made.measured("fp32 b1024", 600.0, precision="fp32", batch_size=1024, findings=drift, **GPU)
    assert "fp32 is fastest at batch 256; fp32" in chart_of(made.run(), "batch-train-cuda").title


def test_a_weakened_case_leads_no_chart_and_is_hollow() -> None:
    made = Invented()
    for batch in (64, 256):
        made.measured(f"fp32 b{batch}", 100.0 * batch, precision="fp32", batch_size=batch, **GPU)
        drift = [finding("GB202", "Step time drifted by +2.1 % over the window.")]
        made.measured(
            f"amp-fp16 b{batch}", 300.0 * batch, precision="amp-fp16", batch_size=batch, findings=drift, **GPU
        )
    chart = chart_of(made.run(), "batch-train-cuda")
    assert "fp32 is fastest" in chart.title
    assert "amp-fp16, hollow, was faster and does not count" in chart.title
    assert {row[6] for row in chart.rows if row[0] == "amp-fp16"} == {"suspect", "launch"}
    assert "Hollow marks are weakened by a finding." in chart.reading


def test_an_invalid_case_is_in_no_chart() -> None:
    charts = charts_of(summarise_run(invented_run()))
    lines = [chart for section in charts.values() for chart in section if chart.form in ("lines", "scatter", "dots")]
    assert lines
    assert all(row[0] != "amp-fp16" for chart in lines for row in chart.rows)


def test_a_batch_that_ran_out_of_memory_is_a_mark_without_a_figure() -> None:
    chart = chart_of(matrix_run(batches=(64, 256), oom_from=256), "batch-train-cuda")
    assert [(row[0], row[1], row[2]) for row in chart.rows if row[6] == "OOM"] == [("fp32", 256, None)]
    assert "The cross marks a batch that ran out of memory." in chart.reading


def test_a_line_holds_all_other_settings_fixed(matrix_summary: RunSummary) -> None:
    for contest in contests(Decision(matrix_summary)):
        for line in by_batch(contest).values():
            rest = [{**entry.case.settings, "batch_size": None} for entry in line]
            assert all(settings == rest[0] for settings in rest)
            assert [entry.case.batch_size for entry in line] == [64, 256, 1024, 4096]


def test_the_heat_map_differs_in_two_settings_alone_and_starts_at_one(matrix_summary: RunSummary) -> None:
    (chart,) = [chart for chart in charts_of(matrix_summary)["effects"] if chart.key == "heat-train-cuda"]
    assert chart.columns[:2] == ("batch", "precision")
    values = [row[2] for row in chart.rows]
    assert min(values) == 1.0  # type: ignore[type-var]
    assert len({row[:2] for row in chart.rows}) == len(chart.rows), "no field averages several cases"
    assert chart.title == "Training on the GPU: b4096 amp-bf16 is 18x as fast as b64 fp32"


def test_the_frontier_holds_what_no_other_case_beats_in_speed_and_energy(matrix_summary: RunSummary) -> None:
    cases = [entry for entry in matrix_summary.cases if "energy_per_sample_j" in entry.metrics]
    best = frontier(cases)
    for entry in cases:
        beaten = any(
            other.metrics["throughput"].value >= entry.metrics["throughput"].value
            and other.metrics["energy_per_sample_j"].value < entry.metrics["energy_per_sample_j"].value
            for other in cases
        )
        assert beaten is (entry not in best) or entry in best


def test_power_is_held_against_the_limit_of_the_card(matrix_summary: RunSummary) -> None:
    (chart,) = [chart for chart in charts_of(matrix_summary)["energy"] if chart.key == "power-train-cuda"]
    assert chart.options["limit"] == 700.0
    assert chart.title == "Training on the GPU: amp-bf16 draws most, 625 W on average, 89% of the 700 W limit"


def test_without_a_measured_ceiling_no_share_of_one_is_given(matrix_summary: RunSummary) -> None:
    (chart,) = [chart for chart in charts_of(matrix_summary)["efficiency"] if chart.key == "efficiency-train-cuda"]
    assert "%" not in chart.title
    assert chart.options["ticks"] == []
    assert "No ceiling of this device was measured" in chart.reading


def test_the_spread_of_steps_is_that_within_launches(matrix_summary: RunSummary) -> None:
    index = next(
        entry.planned.index
        for entry in charted(Decision(matrix_summary))[0].cases
        if entry.case.precision == "amp-bf16"
        and entry.case.batch_size == 4096
        and entry.case.memory_format == "channels_last"
        and entry.case.cudnn_benchmark
    )
    steps = [1.0] * 25 + [1.02] * 50 + [1.04] * 25
    samples = {index: [LaunchSamples(1, steps), LaunchSamples(2, [2 * step for step in steps])]}
    (chart,) = [chart for chart in charts_of(matrix_summary, samples)["steadiness"] if chart.form == "spread"]
    assert sum(float(row[3]) for row in chart.rows) == pytest.approx(100.0)  # type: ignore[arg-type]
    assert "half of the steps lie within ±0.5% of the median" in chart.title, (
        "launches of twice the time change nothing"
    )


def test_steps_of_twice_the_median_are_counted(matrix_model: ReportModel) -> None:
    (chart,) = [chart for chart in matrix_model.charts if chart.key == "steps-train-cuda"]
    assert chart.title.endswith("; 12 steps of 1200 took over twice as long (fp32)")


def test_throttle_spans_join_readings_with_the_same_reason() -> None:
    readings = {"fast_time_s": [-0.5, 0.0, 0.5, 1.0, 1.5, 2.0], "reasons": [0.0, 4.0, 4.0, 4.0 + 0x20, 0.0, math.nan]}
    spans = throttle_spans(LaunchSamples(1, [], telemetry=readings, duration_s=3.0))
    assert spans == [(0.0, 1.0, "power limit"), (1.0, 1.5, "power limit and heat")]


def test_the_timeline_says_how_long_the_clock_was_held_down_and_by_what(matrix_model: ReportModel) -> None:
    (chart,) = [chart for chart in matrix_model.charts if chart.key == "timeline-train-cuda"]
    assert chart.title.endswith("SM clock 1755 to 1980 MHz, held down for 33% of the window (power limit)")
    assert chart.options["panels"] == ["step time, ms", "SM clock, MHz", "power, W", "temperature, °C"]


def test_long_series_are_thinned_to_what_can_be_seen(matrix_summary: RunSummary) -> None:
    entry = charted(Decision(matrix_summary))[0].rankable[0]
    steps = {
        index.planned.index: [LaunchSamples(1, [0.001] * 100_000, duration_s=100.0)] for index in matrix_summary.cases
    }
    assert entry.planned.index in steps
    charts = [chart for chart in charts_of(matrix_summary, steps)["steadiness"] if chart.form == "timeline"]
    assert charts
    assert all(len(chart.rows) <= 250 for chart in charts)


def launched(*speeds: float) -> FakeRun:
    """Two cases; of the second each launch as fast as said."""
    made = Invented(len(speeds))
    made.measured("fp32", 100.0, precision="fp32", **GPU)
    made.measured("tf32", 200.0, precision="tf32", **GPU)
    for record, speed in zip(made.records[-len(speeds) :], speeds, strict=True):
        step_s = 64 / speed
        assert record.series is not None
        changes = {"metrics": {**record.metrics, "throughput": speed, "step_time_s": step_s}}
        changes["series"] = record.series.model_copy(update={"median_s": step_s})
        made.records[made.records.index(record)] = record.model_copy(update=changes)
    return made.run()


def test_launches_that_agree_are_said_to() -> None:
    chart = chart_of(launched(200, 201, 202), "launches-train-cuda")
    assert "every launch lies within ±" in chart.title
    assert [row[0] for row in chart.rows] == ["fp32"] * 3 + ["tf32"] * 3, "a dot per launch"
    assert [row[1] for row in chart.rows[3:]] == pytest.approx([-0.4975, 0, 0.4975])


def test_a_launch_far_from_the_others_is_the_finding_and_unfolds_its_section() -> None:
    run = launched(200, 87, 201)
    chart = chart_of(run, "launches-train-cuda")
    assert "launch 2 of tf32 took 2.3x as long as its middle launch" in chart.title
    both = (run, launched(200, 201, 202))
    sections = [build_report(View(summarise_run(each), charts=True)).section("launches") for each in both]
    assert [section is not None and section.folded for section in sections] == [False, True]


def test_two_levels_of_launches_are_the_finding() -> None:
    title = chart_of(launched(200, 200.1, 200.2, 210, 210.1, 210.2), "launches-train-cuda").title
    assert "tf32 has two levels, 5.0% apart (3 and 3 launches)" in title


def test_a_single_launch_is_no_chart_of_launches() -> None:
    assert not any(section == "launches" for section in charts_of(summarise_run(launched(200))))


def test_accuracy_below_the_limit_is_said_and_hollow() -> None:
    chart = chart_of(invented_run(), "accuracy")
    assert chart.title == "Accuracy falls below what the suite allows with tf32 on the GPU (93.7 %)"
    assert {row[0]: row[5] for row in chart.rows}["tf32 on the GPU"] == "suspect"


def trained(*results: tuple[str, float, tuple[float, ...]]) -> object:
    """Training runs on the CPU: precision, test accuracy, validation accuracy after each epoch."""
    made = Invented()
    for precision, accuracy, validation in results:
        made.trained(precision, accuracy, device="cpu", precision=precision)
        record = made.records.pop()
        quality = record.quality
        assert quality is not None
        learnt = quality.model_copy(update={"validation_score_per_epoch": validation})
        made.records.append(record.model_copy(update={"quality": learnt}))
    return made.run()


def test_precisions_that_reach_the_same_accuracy_are_said_to() -> None:
    run = trained(("fp32", 0.9556, (0.8, 0.97)), ("amp-bf16", 0.9556, (0.8, 0.97)))
    assert chart_of(run, "accuracy").title == "Test accuracy is 95.6 % at every precision"


def test_who_learns_first_is_named_and_a_tie_is_no_lead() -> None:
    ahead = trained(("fp32", 0.95, (0.8, 0.97, 0.97)), ("amp-bf16", 0.95, (0.8, 0.9, 0.97)))
    assert (
        chart_of(ahead, "learning").title == "fp32 is first within a point of its best validation accuracy, in epoch 2"
    )
    level = trained(("fp32", 0.95, (0.8, 0.97)), ("amp-bf16", 0.95, (0.8, 0.97)))
    assert (
        chart_of(level, "learning").title
        == "Every precision is within a point of its best validation accuracy, in epoch 2"
    )
    two = trained(("fp32", 0.95, (0.8, 0.97, 0.9)), ("tf32", 0.95, (0.8, 0.97, 0.9)), ("bf16", 0.95, (0.8, 0.9, 0.97)))
    assert (
        chart_of(two, "learning").title
        == "fp32 and tf32 are first within a point of their best validation accuracy, in epoch 2"
    )


def test_a_run_without_figures_has_no_charts() -> None:
    made = Invented()
    made.plan("cuda fp32", **GPU)
    assert [chart for section in charts_of(summarise_run(made.run())).values() for chart in section] == []


def test_many_contests_are_charted_eight_at_most() -> None:
    made = Invented()
    for number in range(12):
        for batch in (1, 2):
            made.measured(
                f"w{number} b{batch}", 100.0 * batch, workload=f"torchvision:w{number}", device="cpu", batch_size=batch
            )
    assert len(charts_of(summarise_run(made.run()))["batch"]) == 8


def test_workloads_whose_names_differ_in_punctuation_alone_share_no_file() -> None:
    made = Invented()
    for workload in ("my_model:A", "my.model:A"):
        for batch in (1, 2):
            made.measured(f"{workload} b{batch}", 100.0 * batch, workload=workload, device="cpu", batch_size=batch)
    keys = [chart.key for section in charts_of(summarise_run(made.run())).values() for chart in section]
    assert len(keys) == len(set(keys))
    assert {"batch-my-model-a-train-cpu", "batch-my-model-a-train-cpu-2"} <= set(keys)
