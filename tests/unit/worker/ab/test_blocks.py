"""Arms in alternating blocks, in this process, with a list in place of the pipe."""

import math
import random
import sys
import time
import tracemalloc
import types

import pytest
import torch
from fakes.hosting import FAKES, Messages
from fakes.slim import slim_module

from gpubench.protocol.messages import Job, JobArm
from gpubench.suite.model.case import Case
from gpubench.suite.model.suite import Measure
from gpubench.worker.ab import blocks, replicas
from gpubench.worker.ab.blocks import BLOCK_S, BLOCK_STEPS, TWIN, plan_blocks
from gpubench.worker.ab.replicas import DROPPED_STEPS
from gpubench.worker.ab.turns import Turn
from gpubench.worker.job import RunningJob, Stop
from gpubench.worker.process.child import run_job
from gpubench.worker.timing.timers import Verdict
from gpubench.worker.workloads.compiled import CompileStats

QUICK = Measure(min_time=0.05, max_time=0.4, min_steps=10, target_rel_ci=0.2)
PATIENT = Measure(min_time=0.05, max_time=8.0, min_steps=10, target_rel_ci=0.2)  # enough turns on a busy machine too
SMALL = {"image_size": 8, "batch_size": 4}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """`run({"base": {...}, "head": {...}}, workload)` -> its last message."""
    monkeypatch.setattr(sys, "path", [*sys.path])

    def run(arms, workload="workloads:Slowable", stop=None, **job):
        cases = {name: Case(workload=workload, **settings) for name, settings in arms.items()}
        job = Job(
            job=1,
            case=next(iter(cases.values())),
            log=str(tmp_path / "log"),
            search_path=(FAKES,),
            arms=tuple(JobArm(name=name, case=case) for name, case in cases.items()),
            **{"kind": "blocks", "measure": QUICK, **job},
        )
        messages = Messages()
        run_job(job, messages, stop=stop)
        run.messages = messages
        return messages[-1]

    return run


@pytest.mark.slow
def test_an_arm_that_sleeps_a_quarter_longer_is_measured_as_that(run):
    result = run({"base": {}, "head": {"learning_rate": 25}, "same": {}})
    base, head, same = result.arms
    assert head.block_log_ratio == pytest.approx(math.log(1.25), abs=0.06)
    assert abs(same.block_log_ratio) < 0.06
    assert base.block_log_ratio is None
    assert base.metrics["step_time_s"] > 0.004
    assert head.metrics["step_time_s"] > 0.005
    assert result.window.num_steps == sum(arm.window.num_steps for arm in result.arms)


@pytest.mark.slow
def test_blocks_drop_the_first_steps_after_a_switch(run):
    result = run({"base": {}, "head": {}}, measure=PATIENT)
    facts = result.arms[0].effective.extra["blocks"]
    assert facts["dropped_groups"] == DROPPED_STEPS
    assert len(result.arms[0].step_times_s) == facts["turns"] * facts["groups"]
    assert len(result.arms[1].marks["block_ratios"]) == facts["turns"]


@pytest.mark.slow
def test_each_arm_has_its_own_model_settings_and_checks(run):
    result = run(
        {"base": SMALL, "head": {**SMALL, "precision": "amp-bf16", "memory_format": "channels_last"}},
        "cnn",
        parity=True,
    )
    base, head = result.arms
    assert (base.effective.precision, head.effective.precision) == ("fp32", "amp-bf16")
    assert (base.effective.memory_format, head.effective.memory_format) == ("contiguous", "channels_last")
    assert base.parity.passed
    assert head.parity.passed
    assert base.parity.logits_rel_error < 1e-5 < head.parity.logits_rel_error
    assert base.metrics["flops_per_sample"] == head.metrics["flops_per_sample"] > 0
    assert {entry.code for arm in result.arms for entry in arm.findings}.isdisjoint({"GB301", "GB303", "GB308"})


def test_samples_are_counted_by_each_arm_s_batch(run):
    result = run({"base": SMALL, "head": {**SMALL, "batch_size": 8}}, "cnn")
    for arm, batch in zip(result.arms, (4, 8), strict=True):
        assert arm.metrics["throughput"] * arm.metrics["step_time_s"] == pytest.approx(batch)


def test_samples_of_partial_batches_are_counted_by_arm(run):
    result = run(
        {"base": {"batch_size": 3, "mode": "infer"}, "head": {"batch_size": 4, "mode": "infer"}},
        "torch_workloads:Loads",
    )
    for arm in result.arms:
        assert arm.metrics["throughput"] * arm.metrics["step_time_s"] == pytest.approx(3, rel=0.1)
    assert [any(each.code == "GB312" for each in arm.findings) for arm in result.arms] == [False, True]


def test_torch_s_settings_are_set_and_read_back_at_every_switch(run, monkeypatch):
    seen = []
    real = replicas.effective_settings.apply

    def apply(case, torch):
        real(case, torch)
        seen.append(torch.backends.cudnn.deterministic)

    monkeypatch.setattr(replicas.effective_settings, "apply", apply)
    result = run({"base": SMALL, "head": {**SMALL, "cudnn_deterministic": True}}, "cnn")
    assert [arm.effective.cudnn_deterministic for arm in result.arms] == [False, True]
    turns = result.arms[0].effective.extra["blocks"]["turns"]
    assert seen.count(True) >= turns
    assert seen.count(False) >= turns


def test_a_setting_that_does_not_hold_at_a_switch_ends_the_job(run, monkeypatch):
    real = replicas.effective_settings.apply
    calls = []

    def apply(case, torch):
        calls.append(case)
        real(case, torch)
        if len(calls) > 6:
            torch.backends.cudnn.deterministic = True

    monkeypatch.setattr(replicas.effective_settings, "apply", apply)
    failed = run({"base": SMALL, "head": SMALL}, "cnn", measure=PATIENT)
    assert failed.type == "failed"
    assert [entry.code for entry in failed.findings] == ["GB301"]
    assert "after the switch to arm" in failed.findings[0].message


def _hook():
    torch.nn.modules.module.register_module_forward_hook(lambda *_: None)


@pytest.mark.parametrize("in_steps", [False, True])
@pytest.mark.parametrize(
    ("meddle", "undo", "name"),
    [
        (lambda: torch.autograd.set_detect_anomaly(True), torch.autograd.set_detect_anomaly, "anomaly detection"),
        (lambda: torch.set_num_threads(3), torch.set_num_threads, "threads"),
        (lambda: torch.set_default_dtype(torch.float64), torch.set_default_dtype, "default dtype"),
        (lambda: torch.set_default_device("meta"), torch.set_default_device, "default device"),
        (
            lambda: torch.use_deterministic_algorithms(True),
            torch.use_deterministic_algorithms,
            "deterministic algorithms",
        ),
        (lambda: torch.set_grad_enabled(False), torch.set_grad_enabled, "gradients"),
        (lambda: torch.set_flush_denormal(True), torch.set_flush_denormal, "flushing of denormal numbers"),
        (_hook, lambda _: torch.nn.modules.module._global_forward_hooks.clear(), "_global_forward_hooks"),
        (tracemalloc.start, lambda _: tracemalloc.stop(), "tracemalloc"),
    ],
    ids=["anomaly", "threads", "dtype", "device", "determinism", "grad", "denormals", "hooks", "tracemalloc"],
)
def test_an_arm_that_changes_the_whole_process_is_measured_in_launches(run, monkeypatch, meddle, undo, name, in_steps):
    monkeypatch.syspath_prepend(FAKES)
    import workloads

    monkeypatch.setattr(workloads.Meddler, "meddle", staticmethod(meddle))
    monkeypatch.setattr(workloads.Meddler, "in_steps", in_steps)
    usual = {
        "threads": torch.get_num_threads(),
        "default dtype": torch.float32,
        "default device": None,
        "gradients": True,
    }
    try:
        failed = run({"base": {}, "head": {"learning_rate": 1}}, "workloads:Meddler")
    finally:
        undo(usual.get(name, False))
    assert (failed.type, failed.status) == ("failed", "unsupported")
    assert failed.reason.startswith("arm head changes what the arms of a process share")
    assert name in failed.reason


@pytest.mark.slow
def test_the_twin_is_the_reference_again_and_has_no_figures_of_its_own(run):
    result = run({"base": {}, "head": {"learning_rate": 25}}, twin=True, measure=PATIENT)
    assert len(result.arms) == 2
    assert abs(result.self_check.twin) < 0.06
    assert len(result.marks["twin_ratios"]) == result.arms[0].effective.extra["blocks"]["turns"]


def test_without_room_for_the_twin_the_arms_are_measured_without_it(run, monkeypatch):
    real = replicas.Replica.build

    def build(self):
        if self.name == TWIN:
            raise MemoryError("no room")
        real(self)

    monkeypatch.setattr(replicas.Replica, "build", build)
    result = run({"base": {}, "head": {}}, twin=True)
    assert result.type == "result"
    assert result.self_check is None


def test_arms_that_do_not_fit_together_are_out_of_memory(run):
    failed = run({"base": {}, "head": {}}, "workloads:Alone", twin=True)
    assert (failed.type, failed.status) == ("failed", "oom")


def test_an_arm_that_cannot_run_here_is_named(run):
    failed = run({"base": SMALL, "head": {**SMALL, "precision": "tf32"}}, "cnn")
    assert failed.status == "unsupported"
    assert failed.reason.startswith("arm head: TF32")


def test_a_request_to_stop_keeps_the_turns_so_far(run):
    stop = Stop()
    stop.calls = 0

    def asked():
        stop.calls += 1
        return stop.calls > 60

    result = run({"base": {}, "head": {}}, stop=asked, measure=PATIENT)
    assert result.interrupted
    assert all(arm.interrupted and arm.step_times_s for arm in result.arms)
    early = run({"base": {}, "head": {}}, stop=lambda: True)
    assert early.interrupted
    assert early.arms == ()
    assert "stopped before" in early.absent["step_time_s"]


@pytest.mark.slow
def test_phases_and_progress_are_told(run):
    run({"base": {}, "head": {}}, measure=PATIENT)
    told = [message for message in run.messages if message.type == "phase"]
    assert [phase.name for phase in told] == ["build", "measuring", "closing"]
    assert any(message.type == "progress" and message.step_time_s > 0 for message in run.messages)


def test_what_no_arm_has_to_itself_is_absent_with_the_reason(run):
    for arm in run({"base": {}, "head": {}}).arms:
        missing = {name for name, value in arm.metrics.items() if value is None}
        assert missing == set(arm.absent)
        assert arm.absent["peak_rss_bytes"] == "the arms shared one process"


class Slow:
    def __init__(self, step_s, group=1):
        self.step_s, self.group = step_s, group

    plan_blocks = replicas.Replica.plan_blocks


@pytest.mark.parametrize(
    ("step_s", "kept"),
    [(1e-3, round(BLOCK_S / 1e-3)), (5e-3, 4), (0.1, BLOCK_STEPS), (0.5, 2), (2.0, 1), (10.0, 1)],
)
def test_a_block_is_a_few_steps_and_of_slow_ones_fewer(step_s, kept):
    pair = [Slow(step_s), Slow(step_s)]
    plan_blocks(pair, Measure(max_time=20.0))
    assert [each.kept for each in pair] == [kept, kept]


def test_short_steps_are_counted_in_whole_groups():
    pair = [Slow(1e-4, 10), Slow(2e-4, 5)]
    plan_blocks(pair, Measure())
    assert [(each.dropped, each.kept) for each in pair] == [(1, 20), (1, 20)]


def test_parity_comes_when_the_steps_of_all_arms_are_gone(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "slim", slim_module(num_steps=2))
    result = run({"base": {}, "head": {}}, "slim:Slim", parity=True)
    assert [arm.parity is not None for arm in result.arms] == [True, True]


def test_what_an_arm_built_later_compiles_is_no_recompilation_of_an_earlier_one(run, monkeypatch):
    """torch counts for the whole process, and lines that it had compiled for another arm as compiled again."""
    builds = []

    def told(_case):
        return CompileStats(2.0 * len(builds), min(1, len(builds)), 0, max(0, len(builds) - 1))

    class Compiles:
        def build(self, case, device):
            builds.append(case)
            return lambda: time.sleep(0.002)

    module = types.ModuleType("compiles")
    module.Compiles = Compiles
    monkeypatch.setitem(sys.modules, "compiles", module)
    monkeypatch.setattr(replicas.optional_facts, "compile_stats", told)
    result = run({"base": {}, "head": {}}, "compiles:Compiles")
    assert [(arm.metrics["compile_s"], arm.metrics["recompilations"]) for arm in result.arms] == [
        (2.0, 0.0),
        (2.0, 0.0),
    ]
    assert all("GB309" not in {entry.code for entry in arm.findings} for arm in result.arms)


@pytest.mark.slow
def test_what_is_compiled_during_the_turns_is_a_recompilation(run, monkeypatch):
    steps = []
    monkeypatch.setattr(
        replicas.optional_facts, "compile_stats", lambda _case: CompileStats(1.0, 1, 0, len(steps) // 10)
    )

    class Recompiles:
        def build(self, case, device):
            return lambda: (steps.append(1), time.sleep(0.002))

    module = types.ModuleType("recompiles")
    module.Recompiles = Recompiles
    monkeypatch.setitem(sys.modules, "recompiles", module)
    result = run({"base": {}, "head": {}}, "recompiles:Recompiles", measure=PATIENT)
    assert all("GB309" in {entry.code for entry in arm.findings} for arm in result.arms)


def test_an_arm_does_not_pay_for_the_workspace_of_another(fake_device, tmp_path):
    case = Case(workload="fakework:Kernels").model_copy(update={"device": "fake"})
    job = Job(job=1, kind="blocks", case=case, log=str(tmp_path / "log"))
    fake_device.memory.workspace = 2**25
    replica = replicas.Replica(JobArm(name="base", case=case), RunningJob(job, Messages(), Stop()), torch)
    replica.build()
    assert replica.peak_bytes == fake_device.memory.peak() - 300


@pytest.mark.gpu
def test_arms_alternate_on_a_gpu_by_its_own_clock(run):
    settings = {**SMALL, "device": "cuda"}
    result = run({"base": settings, "head": {**settings, "precision": "amp-bf16"}}, "cnn", twin=True)
    base, head = result.arms
    assert base.series.clock == "cuda_event"
    assert head.effective.precision == "amp-bf16"
    assert base.metrics["peak_memory_allocated_bytes"] > 0
    assert torch.cuda.is_initialized()


def test_the_module_is_loaded_before_any_fork():
    from gpubench.protocol.host_modules import ALWAYS

    assert blocks.__name__ in ALWAYS


def test_what_a_block_waited_for_a_cpu_that_others_had_is_left_out(monkeypatch):
    delays = iter([5.0, 5.0, 5.3, 5.3])
    monkeypatch.setattr(replicas, "own_delay_s", lambda: next(delays))
    watch = replicas._BlockWatch(3, lambda: False, waits=True)
    assert [watch(0), watch(0), watch(0)] == [Verdict.PAUSED, Verdict.PAUSED, Verdict.END]
    assert watch.own_times([0.1, 0.4, 0.1]) == pytest.approx([0.1, 0.1, 0.1])


def test_a_wait_between_two_groups_makes_neither_negative(monkeypatch):
    delays = iter([0.0, 0.5])
    monkeypatch.setattr(replicas, "own_delay_s", lambda: next(delays))
    watch = replicas._BlockWatch(1, lambda: False, waits=True)
    watch(0)
    assert watch.own_times([0.1])[0] > 0


def test_where_the_clock_is_the_devices_or_threads_are_too_many_nothing_is_left_out(run):
    watch = replicas._BlockWatch(2, lambda: False, waits=False)
    assert [watch(0), watch(0)] == [Verdict.GO_ON, Verdict.END]
    assert watch.own_times([0.1, 0.2]) == [0.1, 0.2]
    result = run({"base": {"mode": "infer", "timing": "latency"}, "head": {"mode": "infer", "timing": "latency"}})
    assert result.arms[0].effective.extra["blocks"]["waits_left_out"] is False
    assert result.arms[1].metrics["latency_s"] > 0.004


@pytest.mark.slow
def test_a_contest_says_how_fast_each_arm_is_relative_to_the_others_and_to_its_twin(run):
    arms = {"base": {"batch_size": 4}, "slow": {"batch_size": 4, "learning_rate": 25}, "large": {"batch_size": 8}}
    turns = run(arms, kind="contest", twin=True, measure=PATIENT).turns
    speeds = turns.log_speeds
    assert speeds["slow"] - speeds["base"] == pytest.approx(-math.log(1.25), abs=0.06)
    assert speeds["large"] - speeds["base"] == pytest.approx(math.log(2), abs=0.06)
    assert turns.twin == pytest.approx(speeds["base"], abs=0.06)
    assert turns.num_turns > 5
    assert turns.threads == torch.get_num_threads()


def test_blocks_are_two_steps_or_20_ms():
    class Planned:
        def __init__(self, step_s):
            self.step_s = step_s

        def plan_blocks(self, num_steps):
            self.num_steps = num_steps

    quick, slow = Planned(0.001), Planned(0.03)
    plan_blocks([quick, slow], Measure(max_time=60))
    assert (quick.num_steps, quick.dropped_steps) == (20, DROPPED_STEPS)
    assert (slow.num_steps, slow.dropped_steps) == (2, 1)


@pytest.mark.parametrize(
    ("enough_s", "min_time", "num_turns", "after_s", "over"),
    [
        (3.0, 2.0, 60, 2.9, False),
        (3.0, 2.0, 60, 3.1, True),
        (3.0, 2.0, 19, 3.1, False),
        (3.0, 5.0, 60, 4.9, False),
        (3.0, 5.0, 60, 5.1, True),
        (None, 2.0, 60, 39.0, False),
        (None, 2.0, 60, 40.1, True),
    ],
)
def test_turns_whose_ratio_varies_end_with_what_the_rest_of_the_process_took(
    monkeypatch, enough_s, min_time, num_turns, after_s, over
):
    now = [0.0]
    monkeypatch.setattr(blocks, "time", types.SimpleNamespace(perf_counter=lambda: now[0]))
    job = types.SimpleNamespace(
        measure=Measure(min_time=min_time, max_time=20.0), twin=False, arms=[JobArm.model_construct(name="a")]
    )
    launch = types.SimpleNamespace(job=job, stop=lambda: False, sender=Messages())
    watch = blocks._TurnsWatch(launch, [("a", "b")], 2, 4, enough_s)
    draw = random.Random(1)
    turns = [Turn({"a": 1.0, "b": math.exp(draw.gauss(0, 0.3))}, {}) for _ in range(num_turns)]
    now[0] = after_s
    assert watch.over(turns) is over
