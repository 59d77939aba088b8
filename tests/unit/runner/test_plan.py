import pytest

from gpubench.core.records import Status
from gpubench.protocol.messages import Hello
from gpubench.runner.arms.arm import Arm
from gpubench.runner.launch.job_pipe import describe_exit
from gpubench.runner.launch.recorder import shared
from gpubench.runner.launch.worker_hosts import HostKey, versions_of
from gpubench.runner.plan import cannot_run, forecast, plan_cases
from gpubench.suite.cases.expand import quality_cases
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure, QualitySettings, Suite
from gpubench.telemetry.window.window_figures import TelemetryWindow

OURS = HostKey(None, ())
NO_CUDA = Hello(pid=1, role="host", cuda_unavailable="Found no NVIDIA driver on your system")
TWO_GPUS = Hello(pid=1, role="host", devices=({"index": 0, "uuid": "GPU-a"}, {"index": 1, "uuid": "GPU-b"}))


def suite(**fields):
    return Suite(schema=1, name="s", **fields)


def test_a_case_for_a_device_that_is_not_there_is_skipped_with_what_torch_said():
    assert cannot_run(Case(device="cuda"), suite(), NO_CUDA) == (
        Status.SKIPPED,
        "no CUDA device: Found no NVIDIA driver on your system",
    )
    assert cannot_run(Case(device="cpu"), suite(), NO_CUDA) == (None, None)


def test_a_gpu_beyond_the_last_is_skipped():
    assert cannot_run(Case(device="cuda:1"), suite(), TWO_GPUS) == (None, None)
    assert cannot_run(Case(device="cuda:2"), suite(), TWO_GPUS)[1] == "there is no cuda:2: CUDA has 2 devices"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"world_size": 2}, None),
        ({"world_size": 3}, "3 ranks need a CUDA device each: there are 2"),
        ({"world_size": 2, "device": "cuda:1"}, "2 ranks need a CUDA device each from cuda:1 on: there are 2"),
        ({"world_size": 2, "backend": "gloo"}, None),
        ({"device": "cpu", "world_size": 2, "backend": "nccl"}, "nccl carries messages between CUDA devices"),
        ({"device": "cpu", "world_size": 4096}, "4096 ranks need a CPU each: there "),
    ],
)
def test_ranks_without_a_device_each_are_skipped_with_how_many_there_are(settings, said):
    status, reason = cannot_run(Case(**{"device": "cuda", **settings}), suite(), TWO_GPUS)
    assert (status, (reason or "")[: len(said or "")]) == ((None, "") if said is None else (Status.SKIPPED, said))


def test_a_suite_that_requires_cuda_skips_even_its_cpu_cases():
    status, reason = cannot_run(Case(device="cpu"), suite(requires="cuda"), NO_CUDA)
    assert status is Status.SKIPPED
    assert reason.startswith("the suite requires CUDA")
    assert cannot_run(Case(device="cpu"), suite(requires="cuda"), TWO_GPUS) == (None, None)


def test_cases_of_an_interpreter_that_does_not_start_are_failed_rows():
    other = Case(python="/no/such/python")
    planned = plan_cases(suite(), [Case(), other], {OURS: NO_CUDA, HostKey.of(other): "cannot start /no/such/python"})
    assert [case.skip_status for case in planned] == [None, Status.FAILED]


def test_a_part_of_a_suite_is_numbered_anew_and_labelled_like_the_whole():
    cases = [Case(batch_size=64), Case(batch_size=128), Case(batch_size=256)]
    judged = suite(quality=QualitySettings(data="digits"))
    planned = plan_cases(judged, cases, {OURS: NO_CUDA}, lambda case: case.batch_size != 64)
    assert [(case.index, case.kind) for case in planned] == [(1, "measure"), (2, "measure"), (3, "quality")]
    assert [case.label for case in planned[:2]] == ["b128", "b256"]
    assert planned[2].label.startswith("quality ")


def test_training_to_a_result_follows_from_the_cases_that_are_kept():
    judged = suite(quality=QualitySettings(data="digits", batch_size=32))
    cases = [Case(batch_size=64), Case(batch_size=128, precision="amp-bf16"), Case(batch_size=256, mode="infer")]
    planned = plan_cases(judged, cases, {OURS: NO_CUDA}, lambda case: case.batch_size != 64)
    assert [case.settings["precision"] for case in planned if case.kind == "quality"] == ["amp-bf16"]
    assert not [
        case
        for case in plan_cases(judged, cases, {OURS: NO_CUDA}, lambda case: case.mode == "infer")
        if case.kind == "quality"
    ]


def test_named_cases_bring_no_training_with_them_and_keep_their_labels():
    judged = suite(quality=QualitySettings(data="digits", batch_size=32))
    cases = [Case(), Case(precision="amp-bf16"), Case(precision="fp16")]
    whole = {case.case_id: case for case in plan_cases(judged, cases, {OURS: NO_CUDA})}
    (measured,) = plan_cases(judged, cases, {OURS: NO_CUDA}, lambda case: case == cases[1], (), frozenset())
    assert (measured.kind, measured.label) == ("measure", whole[measured.case_id].label)
    training = quality_cases(judged, cases)[2]
    (trained,) = plan_cases(judged, cases, {OURS: NO_CUDA}, lambda _: False, (), {training.case_id})
    assert (trained.kind, trained.label) == ("quality", whole[trained.case_id].label)


def test_hosts_are_shared_by_cases_of_the_same_interpreter_and_environment():
    assert HostKey.of(Case(batch_size=1)) == HostKey.of(Case(batch_size=2)) == OURS
    assert HostKey.of(Case(env={"B": "1", "A": "2"})) == HostKey.of(Case(env={"A": "2", "B": "1"})) != OURS


def test_versions_that_differ_between_interpreters_are_both_named():
    first = NO_CUDA.model_copy(update={"versions": {"torch": "2.12.1", "cuda": None}})
    second = NO_CUDA.model_copy(update={"versions": {"torch": "2.13.0", "cuda": "13.0"}})
    assert versions_of([first, second]) == {"torch": "2.12.1 | 2.13.0", "cuda": "13.0"}


def test_an_exit_is_named_by_its_signal():
    assert [describe_exit(code) for code in (0, 3, -11, -9)] == ["exit status 0", "exit status 3", "SIGSEGV", "SIGKILL"]


def test_the_forecast_counts_launches_and_bounds_their_time():
    measure = Measure(min_time=1, max_time=4, repeats=3)
    asked = suite(measure=measure, quality=QualitySettings(seeds=2, data="digits"))
    planned = plan_cases(asked, [Case(), Case(device="cuda")], {OURS: NO_CUDA})
    found = forecast(asked, planned, host_s=5.0)
    assert found.num_launches == 3 + 2
    assert found.least_s == 5 * 5.0 + 3 * 2.0 + 2 * 2.0
    assert found.most_s == 5 * 5.0 + 3 * 5.0 + 2 * 30.0


def test_a_case_that_one_arm_cannot_run_is_left_out_for_all():
    arms = [Arm("base"), Arm("head", settings={"device": "cuda:5"})]
    hellos = {OURS: TWO_GPUS}
    (planned,) = plan_cases(suite(), [Case(device="cuda")], hellos, arms=arms)
    assert (planned.skip_status, planned.skip_reason) == (
        Status.SKIPPED,
        "arm head: there is no cuda:5: CUDA has 2 devices",
    )
    (planned,) = plan_cases(suite(), [Case(device="cuda")], {OURS: NO_CUDA}, arms=[Arm("base"), Arm("head")])
    assert planned.skip_reason == "no CUDA device: Found no NVIDIA driver on your system"


def test_the_time_of_a_comparison_is_that_of_its_most_rounds():
    measure = Measure(repeats=3, min_time=1.0, max_time=4.0)
    planned = plan_cases(suite(), [Case()], {OURS: NO_CUDA})
    found = forecast(suite(measure=measure), planned, host_s=2.0, num_arms=2, rounds=24)
    assert found.num_launches == 48
    assert found.most_s == 24 * 2.0 + 48 * 5.0


def test_arms_share_the_state_of_the_machine_and_nothing_else():
    window = TelemetryWindow(
        {"energy_j": 5.0, "sm_clock_mhz": 1500.0, "mean_power_w": None}, {"mean_power_w": "no driver"}
    )
    found = shared(window)
    assert found.metrics == {"energy_j": None, "sm_clock_mhz": 1500.0, "mean_power_w": None}
    assert found.absent == {"energy_j": "the arms shared the window", "mean_power_w": "no driver"}
    assert shared(None) is None
