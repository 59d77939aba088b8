"""The thread itself, in real time: schedule, faults, and an end within a second whatever the driver does."""

import threading
import time
from collections.abc import Callable

import pytest
from fakes.nvml.control import NAME, UUID, Fake

from gpubench.telemetry import Monitor
from gpubench.telemetry.devices.base import Activity, FastReading, SlowReading, Survey
from gpubench.telemetry.devices.nvml import open_backend
from gpubench.telemetry.devices.periods import measure_periods
from gpubench.telemetry.run_telemetry import open_session
from gpubench.telemetry.sampling.sampler import Sampler, Schedule

DEVICE = {"uuid": UUID, "name": NAME}
QUICK = Schedule(fast_s=0.02, slow_s=0.1, probe_periods=False)


class ScriptedDevice:
    """Answers from functions; counts its calls."""

    kind = "scripted"
    key = "scripted"
    name = "scripted"
    parent_shared = False

    def __init__(self, fast: Callable[[], FastReading] = FastReading) -> None:
        self.fast = fast
        self.missing: dict[str, str] = {}
        self.lost: str | None = None
        self.num_fast = 0
        self.closed = False

    def read_fast(self) -> FastReading:
        self.num_fast += 1
        return self.fast()

    def read_power(self) -> FastReading:
        return self.fast()

    def read_slow(self) -> SlowReading:
        return SlowReading(temperature_c=50.0)

    def activity(self) -> Activity | None:
        return None

    def state(self) -> dict[str, object]:
        return {"absent": {}}

    def survey(self) -> Survey:
        return Survey([], None)

    def faults(self) -> dict[str, int]:
        return {}

    def close(self) -> None:
        self.closed = True


def wait_until(condition: Callable[[], bool], timeout_s: float = 5.0) -> None:
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s
        time.sleep(0.005)


def nothing_is_left_behind() -> bool:
    """No thread that a slow call held up goes on into the next test."""
    return not any(thread.name.startswith(("telemetry", "gpubench")) for thread in threading.enumerate())


def test_readings_come_on_schedule_and_slow_ones_less_often() -> None:
    sampler = Sampler(ScriptedDevice(), QUICK).start()
    wait_until(lambda: len(sampler.fast) >= 20)
    assert sampler.stop()
    cut = sampler.fast.cut(0.0, time.monotonic())
    period_s = (cut.time_s[-1] - cut.time_s[0]) / (len(cut.time_s) - 1 + sampler.num_skipped)
    assert period_s == pytest.approx(0.02, rel=0.2)
    assert 0 < len(sampler.slow) < len(sampler.fast)


def test_a_late_tick_is_skipped_and_counted_not_made_up_for() -> None:
    slow_once = iter([0.0, 0.0, 0.15])

    def fast() -> FastReading:
        time.sleep(next(slow_once, 0.0))
        return FastReading(power_instant_w=1.0)

    sampler = Sampler(ScriptedDevice(fast), QUICK).start()
    wait_until(lambda: len(sampler.fast) >= 8)
    sampler.stop()
    times = sampler.fast.cut(0.0, time.monotonic()).time_s
    assert sampler.num_skipped >= 6
    assert times[3] - times[2] >= 0.15


def test_an_exception_of_a_device_is_kept_as_data_and_sampling_goes_on() -> None:
    broken = iter([True])

    def fast() -> FastReading:
        if next(broken, False):
            raise RuntimeError("a bug in the binding")
        return FastReading(power_instant_w=300.0)

    sampler = Sampler(ScriptedDevice(fast), QUICK).start()
    wait_until(lambda: len(sampler.fast) >= 3)
    assert sampler.stop()
    assert sampler.errors == ["RuntimeError: a bug in the binding"]


def test_a_paused_sampler_reads_nothing() -> None:
    device = ScriptedDevice()
    sampler = Sampler(device, QUICK)
    sampler.pause(True)
    sampler.start()
    time.sleep(0.1)
    assert device.num_fast == 0
    sampler.pause(False)
    wait_until(lambda: device.num_fast > 0)
    assert sampler.stop()


def test_stop_gives_up_on_a_call_that_never_returns() -> None:
    release = threading.Event()

    def fast() -> FastReading:
        release.wait(30.0)
        return FastReading()

    device = ScriptedDevice(fast)
    sampler = Sampler(device, QUICK).start()
    wait_until(lambda: device.num_fast == 1)
    assert sampler.stop(0.1) is False
    assert sampler.stuck
    release.set()
    assert sampler.stop(5.0) is True


def test_the_tick_must_lie_in_20_ms_to_1_s() -> None:
    for fast_s in (0.001, 1.5):
        with pytest.raises(ValueError, match="20 to 1000 ms"):
            Schedule(fast_s=fast_s)
    with pytest.raises(ValueError, match="slow tick"):
        Schedule(fast_s=0.5, slow_s=0.1)


@pytest.mark.parametrize(
    "call", ["nvmlDeviceGetFieldValues", "nvmlDeviceGetTemperature", "nvmlGpmSampleFree", "nvmlShutdown"]
)
def test_a_session_ends_within_a_second_while_nvml_hangs(fake: Fake, call: str) -> None:
    fake.add_device()
    fake.abilities(gpm=True)
    fake.trace([(0.0, 300.0)])
    session = open_session("sampled", backend=open_backend(), schedule=QUICK)
    session.track(DEVICE)
    wait_until(lambda: session.live().get("power_w") is not None)
    fake.rule(call, delay_s=1.5)
    at_the_end = {"nvmlGpmSampleFree", "nvmlShutdown"}
    wait_until(lambda: call in at_the_end or call in [name for _, name in fake.calls()[-1:]])
    start_s = time.monotonic()
    session.close()
    assert time.monotonic() - start_s < 1.0
    assert call in {name for _, name in fake.calls()}
    fake.clear_rules()
    wait_until(nothing_is_left_behind)


@pytest.mark.parametrize("delay_s", [0.1, 0.5])
def test_a_monitor_ends_within_a_second_where_every_call_is_slow(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, delay_s: float
) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    fake.add_device()
    fake.abilities(gpm=True)
    fake.trace([(0.0, 300.0)])
    monitor = Monitor(schedule=QUICK)
    monitor.open()
    fake.rule("*", delay_s=delay_s)
    time.sleep(0.1)
    start_s = time.monotonic()
    monitor.close()
    assert time.monotonic() - start_s < 1.0
    fake.clear_rules()
    wait_until(nothing_is_left_behind)


def test_no_process_list_and_no_pcie_call_falls_into_a_window(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 300.0)])
    with open_session("sampled", backend=open_backend(), schedule=QUICK) as session:
        session.before_launch()
        session.track(DEVICE)
        time.sleep(0.1)
        start_s = time.monotonic()
        time.sleep(0.5)
        end_s = time.monotonic()
        session.window(start_s, end_s, 10)
        session.after_launch()
    inside = {name for at_s, name in fake.calls() if start_s <= at_s <= end_s}
    assert inside == {
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetClockInfo",
        "nvmlDeviceGetCurrentClocksEventReasons",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetPerformanceState",
    }
    assert "nvmlDeviceGetComputeRunningProcesses_v3" in {name for _, name in fake.calls()}
    assert "nvmlDeviceGetPcieThroughput" not in {name for _, name in fake.calls()}


def test_update_periods_are_measured_as_they_are() -> None:
    clock = [0.0]

    def wait(seconds: float) -> bool:
        clock[0] += seconds
        return False

    device = ScriptedDevice(
        lambda: FastReading(counter_j=clock[0] // 0.07, power_average_w=100.0, power_instant_w=clock[0] // 0.021)
    )
    recorded: list[float] = []
    periods = measure_periods(device, lambda: clock[0], wait, record=lambda at_s, _reading: recorded.append(at_s))
    assert periods.counter_s == pytest.approx(0.07, abs=0.004)
    assert periods.power_instant_s == pytest.approx(0.021, abs=0.004)
    assert periods.power_average_s is None
    assert 0.6 <= recorded[-1] <= 0.7


def test_updates_that_left_a_reading_as_it_was_do_not_lengthen_its_period() -> None:
    """Instant power that happens to be the same in every fifth update."""
    clock = [0.0]

    def wait(seconds: float) -> bool:
        clock[0] += seconds
        return False

    def read() -> FastReading:
        number = clock[0] // 0.05
        return FastReading(counter_j=clock[0] // 0.1, power_instant_w=300 + number - (number % 5 == 4))

    periods = measure_periods(ScriptedDevice(read), lambda: clock[0], wait, least_s=2.0)
    assert periods.power_instant_s == pytest.approx(0.05, rel=0.05)
    assert periods.counter_s == pytest.approx(0.1, rel=0.05)


def test_measuring_periods_ends_when_a_reading_never_changes_or_when_it_is_told_to() -> None:
    clock = [0.0]

    def wait(seconds: float) -> bool:
        clock[0] += seconds
        return clock[0] > 1.0

    device = ScriptedDevice(lambda: FastReading(counter_j=7.0))
    assert measure_periods(device, lambda: clock[0], wait).counter_s is None
    assert clock[0] == pytest.approx(1.0, abs=0.01)
    clock[0] = -100.0
    measure_periods(device, lambda: clock[0], wait)
    assert clock[0] == pytest.approx(-97.5, abs=0.01)
