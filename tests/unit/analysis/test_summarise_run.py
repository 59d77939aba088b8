import math

import pytest
from fakes.analysis_runs import RunBuilder, a_parity, a_quality, an_oom

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.findings import Validity, finding
from gpubench.core.records import Estimate, Status


def only(build: RunBuilder):
    (summary,) = summarise_run(build.run()).cases
    return summary


def codes(summary) -> list[str]:
    return [entry.code for entry in summary.findings]


def test_launches_become_a_geometric_mean_with_an_interval():
    build = RunBuilder()
    build.measured([100.0, 400.0])
    summary = only(build)
    assert summary.status is Status.OK
    assert summary.reason is None
    assert summary.metrics["throughput"].value == pytest.approx(200.0)
    assert summary.metrics["throughput"].n == 2
    assert summary.metrics["throughput"].low < 200 < summary.metrics["throughput"].high


def test_three_good_launches_are_valid_and_pass():
    build = RunBuilder()
    build.measured([100.0, 101.0, 102.0])
    summary = only(build)
    assert (summary.validity, summary.correctness, codes(summary)) == (Validity.VALID, "pass", [])


def test_one_launch_is_suspect_and_has_no_interval():
    build = RunBuilder()
    build.measured([100.0])
    summary = only(build)
    assert summary.metrics["throughput"] == Estimate(value=100.0, n=1, unit="samples/s")
    assert (summary.validity, codes(summary)) == (Validity.SUSPECT, ["GB206"])


def test_without_a_parity_check_a_case_is_unverified():
    build = RunBuilder()
    build.measured([100.0, 101.0], parity=None)
    assert only(build).correctness == "unverified"


def test_a_failed_parity_check_makes_a_case_invalid():
    build = RunBuilder()
    build.measured([100.0, 101.0], parity=False)
    summary = only(build)
    assert (summary.correctness, summary.validity) == ("fail", Validity.INVALID)


def launches(*arms_and_flops, findings=()):
    build = RunBuilder()
    planned = build.plan()
    for repeat, (arm, flops) in enumerate(arms_and_flops, start=1):
        build.record(
            planned, repeat, arm=arm, metrics={"throughput": 100.0, "flops_per_sample": flops}, findings=findings
        )
    return build


def test_launches_of_different_models_have_no_figure():
    summary = only(launches((None, 2792.0), (None, 2792.0), (None, 88104.0)))
    assert (summary.correctness, summary.validity, codes(summary)) == ("fail", Validity.INVALID, ["GB308"])
    assert "2 792 to 88 104 FLOPs" in summary.findings[0].message.replace("\u202f", " ")


def test_arms_may_differ():
    assert codes(only(launches(("base", 10.0), ("head", 20.0)))) == []
    assert codes(only(launches(("base", 10.0), ("head", 20.0), ("head", 30.0)))) == ["GB308"]


@pytest.mark.parametrize(
    ("code", "why"), [("GB314", "Counted on one batch."), ("GB306", "A pass differs from itself.")]
)
def test_work_that_depends_on_the_data_or_on_chance_may_differ(code, why):
    differing = launches((None, 10.0), (None, 20.0), findings=[finding(code, why)])
    assert codes(only(differing)) == [code]


@pytest.mark.parametrize("code", ["GB301", "GB302", "GB303", "GB304", "GB308"])
def test_wrong_work_fails_even_where_parity_passed(code):
    build = RunBuilder()
    build.measured([100.0, 101.0], findings=[finding(code, "wrong")])
    summary = only(build)
    assert (summary.correctness, summary.validity) == ("fail", Validity.INVALID)


def test_a_broken_clock_is_invalid_though_the_output_is_right():
    build = RunBuilder()
    build.measured([100.0, 101.0], findings=[finding("GB201", "clocks disagree")])
    summary = only(build)
    assert (summary.correctness, summary.validity) == ("pass", Validity.INVALID)


def test_any_ok_launch_makes_a_case_ok_with_a_note():
    build = RunBuilder()
    planned = build.measured([100.0, 101.0])
    build.record(planned, 3, Status.OOM, reason="asked for 1 GiB, 0.2 GiB free", failure=an_oom())
    summary = only(build)
    assert summary.status is Status.OK
    assert summary.reason == "1 of 3 launches did not end well (oom): asked for 1 GiB, 0.2 GiB free"
    assert summary.metrics["throughput"].n == 2


@pytest.mark.parametrize(
    ("ends", "worst"),
    [
        ([Status.OOM, Status.FAILED], Status.FAILED),
        ([Status.OOM, Status.TIMEOUT], Status.TIMEOUT),
        ([Status.SKIPPED, Status.OOM], Status.OOM),
        ([Status.UNSUPPORTED, Status.SKIPPED], Status.UNSUPPORTED),
    ],
)
def test_without_an_ok_launch_the_worst_end_counts(ends, worst):
    build = RunBuilder()
    planned = build.plan()
    for repeat, status in enumerate(ends, start=1):
        build.record(planned, repeat, status, reason=f"because {status.value}")
    summary = only(build)
    assert (summary.status, summary.reason) == (worst, f"because {worst.value}")
    assert summary.metrics == {}


def test_a_planned_skip_keeps_its_status_and_reason():
    build = RunBuilder()
    build.plan(device="cuda", skip=(Status.SKIPPED, "no CUDA device"))
    summary = only(build)
    assert (summary.status, summary.reason, summary.records) == (Status.SKIPPED, "no CUDA device", ())


def test_a_case_without_records_was_not_measured_yet():
    build = RunBuilder()
    build.plan()
    assert (only(build).status, only(build).reason) == (Status.SKIPPED, "not measured yet")


def test_the_later_record_of_a_repeat_counts():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, Status.FAILED, reason="host died")
    build.record(planned, 1, metrics={"throughput": 50.0})
    summary = only(build)
    assert (summary.status, summary.metrics["throughput"].value) == (Status.OK, 50.0)
    assert len(summary.records) == 1


def test_a_finding_says_how_many_launches_met_it():
    build = RunBuilder()
    planned = build.measured([100.0, 101.0], findings=[finding("GB204", "3 of 95 steps were slow.")])
    build.record(planned, 3, metrics={"throughput": 100.0})
    (found,) = only(build).findings
    assert found.message == "3 of 95 steps were slow. (2 of 3 launches)"
    assert (found.data["num_launches_with"], found.data["num_launches"]) == (2, 3)


def test_a_finding_of_every_launch_is_told_once():
    build = RunBuilder()
    build.measured([100.0, 101.0], findings=[finding("GB202", "Step time drifted.")])
    summary = only(build)
    assert [entry.message for entry in summary.findings] == ["Step time drifted."]
    assert summary.validity is Validity.SUSPECT


def test_launches_that_differ_more_than_their_steps_are_mentioned():
    build = RunBuilder()
    build.measured([100.0, 110.0, 90.0])
    assert codes(only(build)) == ["GB211"]


def test_what_no_launch_could_measure_keeps_its_reason():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, metrics={"throughput": 1.0, "energy_j": None}, absent={"energy_j": "no NVIDIA driver"})
    summary = only(build)
    assert "energy_j" not in summary.metrics
    assert summary.absent == {"energy_j": "no NVIDIA driver"}


def test_what_some_launch_measured_is_not_absent():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, metrics={"energy_j": None}, absent={"energy_j": "too short"})
    build.record(planned, 2, metrics={"energy_j": 5.0})
    summary = only(build)
    assert summary.metrics["energy_j"].value == 5.0
    assert summary.absent == {}


def test_a_value_that_is_not_finite_is_absent_and_not_averaged():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, metrics={"final_loss": math.nan})
    assert only(build).absent == {"final_loss": "not a usable figure (nan) in repeat 1"}


def test_achieved_flops_follow_from_the_count_and_the_rate():
    build = RunBuilder()
    build.measured([100.0, 100.0], metrics={"flops_per_sample": 3e6})
    assert only(build).metrics["achieved_flops"].value == pytest.approx(3e8)
    assert only(build).metrics["achieved_flops"].unit == "FLOP/s"


def test_parity_errors_are_metrics():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, parity=a_parity(True))
    assert only(build).metrics["parity_logits_rel_error"].value == 1e-6


def test_an_arm_is_summarised_alone():
    build = RunBuilder()
    planned = build.plan()
    build.record(planned, 1, arm="base", metrics={"throughput": 10.0})
    build.record(planned, 1, arm="head", metrics={"throughput": 20.0})
    run = build.run()
    assert summarise_run(run, arm="base").cases[0].metrics["throughput"].value == 10.0
    assert summarise_run(run, arm="head").cases[0].metrics["throughput"].value == 20.0


def test_counts_are_by_status_and_include_quality():
    build = RunBuilder()
    build.measured([1.0, 1.0])
    build.plan(device="cuda", skip=(Status.SKIPPED, "no CUDA device"))
    build.trained({0: 0.95})
    assert summarise_run(build.run()).counts == {Status.OK: 2, Status.SKIPPED: 1}


def test_quality_entries_are_not_among_the_measured_cases():
    build = RunBuilder()
    build.measured([1.0, 1.0])
    build.trained({0: 0.95})
    run = summarise_run(build.run())
    assert [entry.planned.kind for entry in run.cases] == ["measure"]
    assert run.quality[0].summary.metrics["accuracy"].value == 0.95


def accuracy_run(reference: dict[int, float], ours: dict[int, float], drop: float = 0.01):
    build = RunBuilder(suite={"quality": {"max_accuracy_drop": drop}})
    build.measured([100.0, 101.0], precision="fp32")
    build.measured([150.0, 151.0], precision="amp-bf16")
    build.measured([250.0, 251.0], precision="amp-bf16", mode="infer")
    build.trained(reference, precision="fp32")
    build.trained(ours, precision="amp-bf16")
    return summarise_run(build.run())


def test_an_accuracy_drop_keeps_training_cases_of_that_precision_from_winning():
    run = accuracy_run({0: 0.95}, {0: 0.93})
    assert [(codes(entry), entry.validity) for entry in run.cases] == [
        ([], Validity.VALID),
        (["GB307"], Validity.SUSPECT),
        ([], Validity.VALID),
    ]
    assert [(entry.precision, entry.verdict) for entry in run.quality] == [("fp32", "reference"), ("amp-bf16", "drop")]


def test_few_seeds_are_judged_by_the_plain_difference_and_it_is_said():
    (found,) = accuracy_run({0: 0.95}, {0: 0.93}).cases[1].findings
    assert found.message == (
        "Test accuracy -2.00 points against fp32 on cpu; 1.0 points are allowed. "
        "Fewer than three seeds: the plain difference was judged."
    )
    assert found.data["judged_by"] == "difference"


def test_a_drop_within_the_limit_is_fine():
    run = accuracy_run({0: 0.95}, {0: 0.945})
    assert run.quality[1].verdict == "ok"
    assert codes(run.cases[1]) == []


def test_three_seeds_are_judged_by_the_lower_bound():
    noisy = {0: 0.960, 1: 0.930, 2: 0.945}
    entry = accuracy_run({0: 0.95, 1: 0.95, 2: 0.95}, noisy).quality[1]
    assert entry.difference.value == pytest.approx(-0.005)
    # Paired differences 0.010 -0.020 -0.005: SD 0.015, t(0.95, 2) = 2.92.
    assert entry.lower_bound == pytest.approx(-0.005 - 2.919986 * 0.015 / math.sqrt(3))
    assert (entry.verdict, entry.judged_by) == ("drop", "bound")


def test_three_steady_seeds_within_the_limit_pass():
    assert accuracy_run({0: 0.95, 1: 0.96, 2: 0.94}, {0: 0.949, 1: 0.959, 2: 0.939}).quality[1].verdict == "ok"


def test_other_seeds_are_compared_without_pairing():
    entry = accuracy_run({0: 0.95, 1: 0.96, 2: 0.94}, {3: 0.95, 4: 0.96, 5: 0.94}).quality[1]
    assert entry.difference.value == pytest.approx(0.0)
    assert entry.lower_bound == pytest.approx(-2.131847 * math.sqrt(2 * 0.01**2 / 3), rel=1e-5)


def test_without_a_reference_nothing_is_said():
    build = RunBuilder()
    build.measured([150.0, 151.0], precision="amp-bf16")
    build.trained({0: 0.5}, precision="amp-bf16")
    run = summarise_run(build.run())
    assert run.quality[0].verdict == "unknown"
    assert codes(run.cases[0]) == []


def test_a_failed_training_run_has_an_unknown_verdict():
    build = RunBuilder()
    build.trained({0: 0.95}, precision="fp32")
    planned = build.plan(kind="quality", precision="amp-bf16", data="digits")
    build.record(planned, 1, Status.FAILED, reason="diverged")
    assert [entry.verdict for entry in summarise_run(build.run()).quality] == ["reference", "unknown"]


def test_the_reference_of_the_same_device_goes_before_another():
    build = RunBuilder(suite={"quality": {}})
    build.trained({0: 0.90}, device="cpu", precision="fp32")
    build.trained({0: 0.96}, device="cuda", precision="fp32")
    build.trained({0: 0.94}, device="cuda", precision="amp-bf16")
    run = summarise_run(build.run())
    assert [entry.verdict for entry in run.quality] == ["reference", "reference", "drop"]
    assert run.quality[2].reference.case.device == "cuda"


def test_a_diverged_training_run_keeps_its_accuracy():
    build = RunBuilder()
    planned = build.plan(kind="quality", data="digits")
    build.record(planned, 1, quality=a_quality(0, 0.1).model_copy(update={"final_loss": math.nan}))
    (entry,) = summarise_run(build.run()).quality
    assert entry.summary.metrics["accuracy"].value == 0.1
    assert "final_loss" in entry.summary.absent


def test_a_percentile_that_some_launches_lack_is_not_quoted():
    """Of those that have it alone, p95 would stand below a p90 of all."""
    build = RunBuilder()
    planned = build.plan(batch_size=64)
    why = "59 effective steps are needed"
    build.record(planned, 1, metrics={"throughput": 100.0, "step_time_p90_s": 0.07}, absent={"step_time_p95_s": why})
    build.record(planned, 2, metrics={"throughput": 100.0, "step_time_p90_s": 0.05, "step_time_p95_s": 0.06})
    (case,) = summarise_run(build.run()).cases
    assert case.metrics["step_time_p90_s"].n == 2
    assert "step_time_p95_s" not in case.metrics
    assert case.absent["step_time_p95_s"] == why


def test_of_several_reasons_for_no_figure_the_first_launch_gives_it():
    build = RunBuilder()
    planned = build.plan(batch_size=64)
    build.record(
        planned, 1, metrics={"throughput": 1.0}, absent={"flops_per_sample": "the workload does not count them"}
    )
    build.record(planned, 2, metrics={"throughput": 1.0}, absent={"flops_per_sample": "counted in the first launch"})
    (case,) = summarise_run(build.run()).cases
    assert case.absent["flops_per_sample"] == "the workload does not count them"


@pytest.mark.parametrize("odd", [math.nan, math.inf, -math.inf, 1e308, -5.0, 1e-320])
def test_a_stored_number_that_can_be_no_measurement_is_left_out_and_named(odd):
    build = RunBuilder()
    planned = build.measured([100.0, 101.0, 99.0])
    build.record(planned, 4, metrics={"throughput": odd})
    case = only(build)
    assert case.metrics["throughput"].value == pytest.approx(100.0, rel=0.01)
    assert sorted(case.launch_values("throughput")) == [1, 2, 3]
    alone = RunBuilder()
    alone.record(alone.plan(), 1, metrics={"throughput": odd})
    assert only(alone).absent["throughput"].startswith("not a usable figure")


def test_launches_a_universe_apart_still_make_a_figure():
    build = RunBuilder()
    planned = build.plan()
    for repeat, rate in enumerate((1e-99, 1e99), start=1):
        build.record(planned, repeat, metrics={"throughput": rate})
    found = only(build).metrics["throughput"]
    assert math.isfinite(found.high)
    assert 0 < found.low < found.value < found.high
