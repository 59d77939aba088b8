import json
import os
import sys
import time
from pathlib import Path

import pytest
from fakes.nvml.control import UUID, Fake
from fakes.runs import Invented

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.machine import machine_cache
from gpubench.machine.doctor import examination
from gpubench.machine.doctor_row import Level
from gpubench.machine.selftest import alternating_blocks as blocks
from gpubench.machine.selftest import gpu_selftest, host_selftest
from gpubench.machine.selftest.alternating_blocks import ArmBlock
from gpubench.machine.selftest.helper_program import Program, ProgramError
from gpubench.report.model.report_model import plain
from gpubench.report.topics import set_up
from gpubench.telemetry.devices.base import Identity
from gpubench.telemetry.devices.nvml import NvmlBackend, open_backend
from gpubench.worker.doctor_work import parse_parts


def alternating(num_pairs: int, cost: float) -> tuple[list[blocks.Step], list[ArmBlock]]:
    """Steps of 10 ms, longer by `cost` in the blocks of the True arm, with a slow drift of 5 % over all of them."""
    steps, plan, at_s = [], [], 0.0
    for position in range(2 * num_pairs):
        arm = position % 2 == 1
        start_s = at_s
        for _ in range(20):
            length_s = 0.01 * (1 + 0.05 * position / (2 * num_pairs)) * (1 + cost * arm)
            steps.append((at_s, length_s))
            at_s += length_s
        plan.append(ArmBlock(arm, start_s, at_s))
    return steps, plan


def test_a_cost_of_two_percent_is_found_under_a_drift_of_five() -> None:
    ratio = blocks.compare(*alternating(24, 0.02))
    assert ratio is not None
    assert ratio.num_pairs == 24
    assert ratio.value == pytest.approx(1.02, abs=0.002)
    assert ratio.low is not None
    assert ratio.high is not None
    assert ratio.low <= ratio.value <= ratio.high


def test_no_cost_is_an_interval_around_one() -> None:
    steps, plan = alternating(24, 0.0)
    itself = blocks.compare(steps, blocks.same_arm(plan))
    assert itself is not None
    assert itself.value == pytest.approx(1.0, abs=0.01)


def test_steps_across_a_switch_count_for_neither_arm() -> None:
    steps = [(0.0, 0.1)] * 5 + [(0.95, 9.0)] + [(1.0, 0.1)] * 5
    ratio = blocks.compare(steps, [ArmBlock(True, 0.0, 1.0), ArmBlock(False, 1.0, 2.0)])
    assert ratio is not None
    assert ratio.value == pytest.approx(1.0)
    assert ratio.low is None


def test_blocks_without_steps_give_no_ratio() -> None:
    assert blocks.compare([], [ArmBlock(True, 0.0, 1.0), ArmBlock(False, 1.0, 2.0)]) is None


def test_both_orders_occur_and_arms_are_balanced() -> None:
    switched: list[bool] = []
    plan = blocks.alternate(switched.append, 12, 0.0)
    assert [block.arm for block in plan] == switched
    assert sum(switched) == 12
    assert len(set(zip(switched[::2], switched[1::2], strict=True))) == 2


def test_the_clocks_of_this_process_are_compared_and_resolved() -> None:
    facts = host_selftest.clocks(0.05)
    assert set(facts["relative_to_monotonic"]) == {"perf_counter", "time", "monotonic_raw"}
    assert 0 < facts["resolution_s"] < 1e-3
    assert facts["sleep_excess_s"] > 0


def test_the_load_beside_the_sampler_gives_steadiness_cost_and_itself() -> None:
    facts = host_selftest.beside_load(num_pairs=3, block_s=0.1)
    assert facts["step_s"] > 0
    # Blocks in which a busy machine let the load make no step are left out.
    assert facts["sampler_cost"] is None or 1 <= facts["sampler_cost"]["num_pairs"] <= 3
    assert facts["same_arm"] is None or facts["same_arm"]["num_pairs"] == 1
    assert json.loads(json.dumps(facts)) == facts


HOST_FACTS = {
    "clocks": {"relative_to_monotonic": {"time": 1e-6}, "resolution_s": 4e-8, "sleep_excess_s": 1e-4},
    "step_s": 0.002,
    "spread": 0.004,
    "slow_steps": 0.0,
    "sampler_cost": {"value": 1.001, "low": 0.999, "high": 1.003, "num_pairs": 24},
    "same_arm": {"value": 1.0, "low": 0.998, "high": 1.002, "num_pairs": 12},
}


def test_a_steady_host_is_ok() -> None:
    assert {row.level for row in host_selftest.rows(HOST_FACTS)} == {Level.OK}
    assert [row.level for row in host_selftest.rows(None)] == [Level.NA]


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"spread": 0.1}, "steadiness", Level.WARN),
        ({"slow_steps": 0.2}, "steadiness", Level.WARN),
        ({"same_arm": {"value": 1.02, "low": 1.01, "high": 1.03}}, "A/A comparison", Level.WARN),
        ({"sampler_cost": {"value": 1.02, "low": 1.01, "high": 1.03}}, "sampler cost (CPU)", Level.WARN),
        ({"sampler_cost": None}, "sampler cost (CPU)", Level.NA),
        ({"clocks": {"relative_to_monotonic": {"time": 0.01}, "resolution_s": 1e-7}}, "timer agreement", Level.BAD),
    ],
)
def test_a_host_that_wanders_is_not(change: dict[str, object], name: str, level: Level) -> None:
    (row,) = [row for row in host_selftest.rows({**HOST_FACTS, **change}) if row.name == name]
    assert row.level is level


CARD_FACTS = {
    "name": "NVIDIA Fake 100",
    "gpm": {"readable": True, "why_not": None},
    "clock_difference": 0.0004,
    "latency_idle_s": {"fast_tick": 2e-4, "slow_tick": 5e-4, "process_list": 3e-3},
    "latency_loaded_s": {"fast_tick": 3e-4, "slow_tick": 6e-4, "process_list": 4e-3},
    "update_periods_s": {"counter_s": 0.1, "power_instant_s": 0.1, "power_average_s": 0.1, "power_usage_s": None},
    "counter_alias_pct": 0.3,
    "instant_alias_pct": 55.0,
    **HOST_FACTS,
}


def test_instant_power_that_aliases_is_stated_and_a_counter_that_does_is_bad() -> None:
    levels = {row.name: row.level for row in gpu_selftest.rows("GPU 0", CARD_FACTS)}
    assert set(levels.values()) == {Level.OK}
    aliasing = gpu_selftest.rows("GPU 0", {**CARD_FACTS, "counter_alias_pct": 20.0})
    assert {row.name: row.level for row in aliasing}["GPU 0 energy counter"] is Level.BAD


@pytest.mark.parametrize(
    ("change", "name", "level"),
    [
        ({"clock_difference": 0.03}, "GPU 0 timers", Level.BAD),
        (
            {"latency_loaded_s": {"fast_tick": 0.02, "slow_tick": 0.02, "process_list": 0.1}},
            "GPU 0 call latency",
            Level.WARN,
        ),
        ({"gpm": {"readable": False, "why_not": "NO_PERMISSION (4)"}}, "GPU 0 GPM", Level.NA),
        ({"counter_alias_pct": None}, "GPU 0 energy counter", Level.NA),
        ({"error": "CUDA out of memory"}, "GPU 0 load", Level.NA),
    ],
)
def test_each_fact_of_a_card_has_its_row(change: dict[str, object], name: str, level: Level) -> None:
    (row,) = [row for row in gpu_selftest.rows("GPU 0", {**CARD_FACTS, **change}) if row.name == name]
    assert row.level is level


def test_calls_of_a_card_are_timed_and_gpm_is_tried(fake: Fake) -> None:
    fake.add_device()
    fake.abilities(gpm=True)
    fake.trace([(0.0, 300.0)])
    backend = open_backend()
    assert isinstance(backend, NvmlBackend)
    device = backend.open(Identity(uuid=UUID))
    assert all(0 < seconds < 0.05 for seconds in gpu_selftest.latencies(device).values())
    assert gpu_selftest._gpm(device) == {"readable": True, "why_not": None}
    fake.rule("nvmlDeviceGetTemperature", delay_s=0.01)
    assert gpu_selftest.latencies(device)["slow_tick"] > 0.01


@pytest.mark.slow
def test_aliasing_is_what_the_two_loads_differ_by(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole measurement on the fake, in short: a counter that sums an aliasing sensor is found out."""
    monkeypatch.setattr(gpu_selftest, "_WINDOW_S", 2.0)
    fake.add_device()
    now = fake.now()
    calm_end, end = now + 3.4, now + 7.0
    segments = [(now - 100, 500.0)]
    period = 0.1
    at = float(int(calm_end / period) * period)
    while at < end:
        segments += [(at, 700.0), (at + 0.05, 100.0)]
        at += period
    fake.trace(segments)
    fake.counter(aliasing=True, offset_j=1000.0)
    backend = open_backend()
    assert isinstance(backend, NvmlBackend)
    from gpubench.telemetry.sampled_device import SampledDevice
    from gpubench.telemetry.sampling.sampler import Schedule

    monitored = SampledDevice(backend.open(Identity(uuid=UUID)), "sampled", Schedule(probe_periods=False)).start()
    time.sleep(end + 0.3 - fake.now())
    found = gpu_selftest._aliasing(monitored, {"end_s": calm_end - 0.2}, {"end_s": end})
    monitored.close()
    assert found["counter_alias_pct"] is not None
    assert abs(found["counter_alias_pct"]) > 30
    assert found["mean_power_steady_w"] == pytest.approx(500.0, rel=0.02)


def test_facts_are_kept_per_card_and_driver(cache_folder: Path) -> None:
    one, other = gpu_selftest.identity("GPU-a", "580"), gpu_selftest.identity("GPU-a", "590")
    assert machine_cache.store(one, {"x": 1}) == cache_folder / f"{machine_cache.key_of(one)}.json"
    assert machine_cache.load(one) == {"x": 1}
    assert machine_cache.load(other) is None


def test_a_spoiled_or_foreign_cache_file_is_no_cache(cache_folder: Path) -> None:
    identity = host_selftest.identity()
    machine_cache.store(identity, {"x": 1})
    path = cache_folder / f"{machine_cache.key_of(identity)}.json"
    for text in ("", "[]", '{"schema": 99, "facts": {}}', '{"schema": 1, "facts": 3}'):
        path.write_text(text)
        assert machine_cache.load(identity) is None


def test_a_cache_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    assert machine_cache.store({"a": 1}, {}, tmp_path / "file" / "folder") is None


def test_a_program_that_fails_says_why_and_is_gone_afterwards() -> None:
    with (
        Program("gpubench.machine.selftest.cpu_load", "not-a-number") as program,
        pytest.raises(ProgramError, match="ValueError"),
    ):
        program.line(20.0)
    with Program("gpubench.machine.selftest.cpu_load", "60") as program:
        program.line(20.0)
        pid = program._process.pid
        with pytest.raises(ProgramError, match=r"no answer within 0.05 s"):
            program.line(0.05)
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


def test_a_program_whose_library_prints_to_its_output_gives_no_answer() -> None:
    """`this` prints the Zen of Python when it is imported."""
    with Program("this") as program, pytest.raises(ProgramError, match="not an answer: 'The Zen of Python"):
        program.line(20.0)


@pytest.mark.slow
def test_the_load_of_torch_reports_parts_on_a_cpu() -> None:
    with Program(
        "gpubench.worker.doctor_work", "load", "--device", "cpu", "--parts", "steady:0.1,alternate:0.2"
    ) as program:
        assert program.line(120.0) == {"ready": True}
        assert program.line(10.0)["part"] == "steady"
        steady = program.line(10.0)
        assert steady["end_s"] - steady["start_s"] >= 0.1
        assert steady["events_s"] is None
        assert program.line(10.0)["part"] == "alternate"
        alternate = program.line(10.0)
    offsets = [(start - alternate["start_s"]) % 0.1 for start, _ in alternate["steps"]]
    assert max(offsets) < 0.06


@pytest.mark.slow
def test_a_device_that_is_not_there_is_an_answer() -> None:
    with Program("gpubench.worker.doctor_work", "load", "--device", "cuda:77") as program, pytest.raises(ProgramError):
        program.line(120.0)


def test_the_parts_of_a_load_are_read_from_their_text() -> None:
    with pytest.raises(ValueError, match="unknown pattern 'wild'"):
        parse_parts("wild:3")
    assert parse_parts("steady:4,alternate:2.5") == [("steady", 4.0), ("alternate", 2.5)]


@pytest.mark.slow
def test_the_examination_quotes_what_is_stored_and_measures_what_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    measured: list[str] = []

    def measure(_say: object) -> dict[str, object]:
        measured.append("host")
        return dict(HOST_FACTS)

    monkeypatch.setattr(host_selftest, "measure", measure)
    monkeypatch.setattr(examination, "_torch_facts", lambda: {"error": "not asked"})
    assert examination.examine("never").facts["host"] is None
    assert examination.examine("auto").facts["host"] == HOST_FACTS
    assert examination.examine("auto").facts["host"] == HOST_FACTS
    assert measured == ["host"]
    examination.examine("always")
    assert measured == ["host", "host"]


def test_the_rows_of_a_stored_run_are_those_of_its_fingerprint() -> None:
    gpus = [{"nvml_index": 0, "uuid": "GPU-a"}, {"nvml_index": 1, "uuid": "GPU-b"}]
    stored = {"gpus": gpus, "self_test": {"host": HOST_FACTS, "GPU-a": None, "GPU-b": CARD_FACTS}}
    names = [row.name for row in examination.self_test_rows(stored)]
    assert "sampler cost (CPU)" in names
    assert "GPU 1 update periods" in names
    assert not any(name.startswith("GPU 0") for name in names)
    assert examination.self_test_rows({"self_test": {"host": None}}) == examination.self_test_rows({}) == []


def test_a_report_quotes_the_self_test_and_says_nothing_where_there_was_none() -> None:
    def facts(host: object) -> dict[str, str]:
        run = Invented().run(environment={"self_test": {"host": host}})
        return {fact.name: plain(fact.text) for fact in set_up.environment_facts(summarise_run(run))}

    assert "sampler cost (CPU): +0.10% of step time (-0.10% to +0.30%)" in facts(HOST_FACTS)["Self-test"]
    assert "Self-test" not in facts(None)


def test_a_card_that_cuda_does_not_show_is_not_worked_on(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device()
    monkeypatch.setattr(host_selftest, "measure", lambda _say: dict(HOST_FACTS))
    monkeypatch.setattr(
        examination, "_torch_facts", lambda: {"torch": "2.15.0", "devices": [{"index": 0, "uuid": "other"}]}
    )
    found = examination.examine("auto")
    assert found.facts[f"GPU-{UUID}"] is None
    assert "GPU 0 self-test" in {row.name for row in found.rows}
    assert examination._cuda_number(f"GPU-{UUID}", {"devices": [{"index": 3, "uuid": UUID.upper()}]}) == 3
    assert sys.executable
