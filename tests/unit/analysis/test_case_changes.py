import pytest
from fakes.analysis_runs import RunBuilder, an_oom

from gpubench.analysis.compare.case_changes import compare_metric, compare_runs
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.analysis.verdict.judge_settings import CompareSettings
from gpubench.core.metrics import METRICS
from gpubench.core.records import Status

SETTINGS = CompareSettings()


def case_of(metric: str, values, *, parity=True):
    build = RunBuilder()
    planned = build.measured([100.0 for _ in values], parity=parity)
    for record, value in zip(list(build.records), values, strict=True):
        build.records.remove(record)
        build.records.append(record.model_copy(update={"metrics": {metric: value}}))
    assert planned.index == 1
    return summarise_run(build.run()).cases[0]


def change(metric: str, before, after, **options):
    return compare_metric(METRICS[metric], case_of(metric, before), case_of(metric, after), SETTINGS, **options)


def test_memory_that_grew_beyond_its_tolerance_is_worse():
    found = change("peak_memory_allocated_bytes", [1000.0] * 3, [1000.0, 1000.0, 1010.0])
    assert (found.judgement, found.change.value) == ("worse", pytest.approx(0.01))
    assert found.regression.value == pytest.approx(0.01)


def test_memory_within_its_tolerance_is_same():
    assert change("peak_memory_allocated_bytes", [10_000.0], [10_009.0]).judgement == "same"


def test_less_memory_is_better():
    assert change("peak_memory_allocated_bytes", [1000.0], [900.0]).judgement == "better"


def test_interleaved_throughput_that_fell_is_worse():
    before, after = [100.0 + r % 3 for r in range(6)], [90.0 + r % 2 for r in range(6)]
    found = change("throughput", before, after, interleaved=True)
    assert (found.judgement, found.comparison.verdict) == ("worse", "slower")
    assert found.change.low <= found.change.value <= found.change.high < 0
    assert found.regression.value == pytest.approx(-found.change.value)
    assert 0 < found.regression.low <= found.regression.value <= found.regression.high


def test_interleaved_throughput_that_rose_is_better():
    found = change("throughput", [100.0 + r % 3 for r in range(6)], [115.0 + r % 2 for r in range(6)], interleaved=True)
    assert (found.judgement, found.comparison.verdict) == ("better", "faster")


def test_stored_throughput_that_fell_is_unclear_until_the_cap_is_lifted():
    before, after = [100.0, 101.0, 100.5, 99.8], [80.0, 81.0, 80.5, 79.8]
    capped = change("throughput", before, after)
    assert capped.judgement == "unclear"
    assert "not interleaved" in capped.reason
    lifted = change("throughput", before, after, allow_unpaired=True)
    assert (lifted.judgement, lifted.change.value) == ("worse", pytest.approx(-0.2, abs=0.005))


def test_accuracy_that_fell_is_worse_as_a_difference():
    found = change("accuracy", [0.95, 0.951, 0.949], [0.90, 0.901, 0.899])
    assert (found.judgement, found.change.value) == ("worse", pytest.approx(-0.05))
    assert found.regression.value == pytest.approx(0.05)


def test_one_accuracy_a_side_is_unclear():
    assert change("accuracy", [0.95], [0.90]).judgement == "unclear"


def test_an_idle_share_within_its_tolerance_is_same():
    assert change("device_idle_share", [0.10, 0.101, 0.099], [0.10, 0.101, 0.099]).judgement == "same"


def test_a_metric_without_direction_is_not_judged():
    assert change("sm_clock_mhz", [1.0, 1.0], [2.0, 2.0]).reason == "has no better direction"


def test_a_metric_missing_on_one_side_is_unclear():
    found = compare_metric(METRICS["energy_j"], case_of("energy_j", [1.0]), case_of("throughput", [1.0]), SETTINGS)
    assert (found.judgement, found.change) == ("unclear", None)


def test_invalid_sides_are_not_judged():
    bad = case_of("throughput", [50.0] * 6, parity=False)
    found = compare_metric(METRICS["throughput"], case_of("throughput", [100.0] * 6), bad, SETTINGS, interleaved=True)
    assert found.judgement == "unclear"
    assert found.reason == "INVALID: the output is wrong, and fast but wrong is no figure (candidate)"


def test_sides_that_did_not_do_the_same_work_are_not_judged():
    sides = []
    for flops in (1e9, 1.02e9):
        build = RunBuilder()
        build.measured([100.0, 101.0, 99.0], metrics={"flops_per_sample": flops})
        sides.append(summarise_run(build.run()).cases[0])
    found = compare_metric(METRICS["throughput"], *sides, SETTINGS)
    assert (found.judgement, found.reason) == ("unclear", "not the same work: FLOPs per sample differ by +2.0%")
    assert compare_metric(METRICS["throughput"], sides[0], sides[0], SETTINGS).judgement == "same"


def test_energy_that_is_not_valid_is_left_out():
    build = RunBuilder()
    planned = build.plan()
    for repeat, valid in enumerate((True, False, True), start=1):
        build.record(planned, repeat, metrics={"energy_j": 5.0, "throughput": 1.0}, telemetry={"energy_valid": valid})
    (summary,) = summarise_run(build.run()).cases
    assert list(summary.launch_values("energy_j")) == [1, 3]
    assert list(summary.launch_values("throughput")) == [1, 2, 3]


def test_blocks_that_alternated_in_one_process_are_judged_by_their_own_ratios():
    build = RunBuilder()
    planned = build.plan()
    for repeat in range(1, 9):
        # Launch medians say 50 % slower, the paired blocks 5 %: the blocks count.
        build.record(planned, repeat, arm="a", metrics={"throughput": 100.0, "peak_rss_bytes": 1.0})
        build.record(
            planned,
            repeat,
            arm="b",
            metrics={"throughput": 66.0, "peak_rss_bytes": 1.0},
            block_log_ratio=0.05 + 0.001 * (-1) ** repeat,
        )
    before, after = (summarise_run(build.run(), arm=arm).cases[0] for arm in ("a", "b"))
    found = compare_metric(METRICS["throughput"], before, after, SETTINGS, interleaved=True)
    assert (found.judgement, found.comparison.level) == ("worse", "block")
    assert found.comparison.ratio == pytest.approx(1.0513, abs=1e-3)
    assert compare_metric(METRICS["peak_rss_bytes"], before, after, SETTINGS, interleaved=True).comparison is None


def test_launches_without_block_ratios_are_paired_by_round():
    found = change("throughput", [100.0] * 6, [90.0] * 6, interleaved=True)
    assert found.comparison.level == "launch"


def test_rounds_that_one_arm_lacks_are_left_out():
    found = change("throughput", [100.0] * 5, [90.0] * 8, interleaved=True)
    assert found.comparison.rounds == 5


def test_the_reason_of_a_rate_says_that_it_speaks_of_time():
    found = change("throughput", [100.0 + r % 3 for r in range(6)], [90.0 + r % 2 for r in range(6)], interleaved=True)
    assert found.reason.startswith("time per sample +")


def test_a_metric_that_neither_side_has_is_left_out():
    before, after = RunBuilder(), RunBuilder()
    before.measured([100.0] * 3)
    after.measured([100.0] * 3)
    (found,) = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput", "energy_j"])
    assert list(found.changes) == ["throughput"]


def test_cases_are_matched_by_their_settings_and_ends_are_named():
    before, after = RunBuilder(), RunBuilder()
    before.measured([100.0] * 3, batch_size=32)
    before.measured([100.0] * 3, batch_size=64)
    before.record(before.plan(batch_size=128), 1, Status.OOM, reason="oom", failure=an_oom())
    before.measured([100.0] * 3, batch_size=8)
    before.measured([100.0] * 3, batch_size=16)
    after.measured([100.0] * 3, batch_size=32)
    after.record(after.plan(batch_size=64), 1, Status.OOM, reason="oom", failure=an_oom())
    after.measured([100.0] * 3, batch_size=128)
    after.measured([100.0] * 3, batch_size=256)
    after.record(after.plan(batch_size=16), 1, Status.TIMEOUT, reason="300 s")
    found = compare_runs(summarise_run(before.run()), summarise_run(after.run()), ["throughput"])
    assert [(entry.label, entry.kind) for entry in found] == [
        ("batch_size=32", "measured"),
        ("batch_size=64", "now_oom"),
        ("batch_size=128", "fixed"),
        ("batch_size=256", "added"),
        ("batch_size=16", "now_failed"),
        ("batch_size=8", "removed"),
    ]
    assert found[0].changes["throughput"].judgement == "same"
    assert all(entry.changes == {} for entry in found[1:])
