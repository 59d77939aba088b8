import time
from collections.abc import Iterator

import pytest
from fakes.nvml.control import GIB, NAME, OTHER_UUID, UUID, Fake

from gpubench.telemetry.devices.base import Device, FastReading, Identity, NullBackend, TelemetryError
from gpubench.telemetry.devices.nvml import open_backend
from gpubench.telemetry.run_telemetry import Mode, TelemetrySession, open_session
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.window_figures import METRICS, TelemetryWindow

DEVICE = {"uuid": UUID, "name": NAME, "total_bytes": 79 * GIB, "pci": "0000:41:00.0"}
OTHER = {"uuid": OTHER_UUID, "name": NAME}
QUICK = Schedule(fast_s=0.02, slow_s=0.1, probe_periods=False)


@pytest.fixture
def card(fake: Fake) -> Fake:
    fake.add_device()
    fake.sensor(2, 0.02)
    fake.trace([(0.0, 300.0)])
    return fake


@pytest.fixture
def session(card: Fake) -> Iterator[TelemetrySession]:
    assert card
    with open_session("sampled", backend=open_backend(), schedule=QUICK) as session:
        yield session


def launch(session: TelemetrySession, seconds: float = 0.3) -> TelemetryWindow:
    """A launch whose measured steps last `seconds`."""
    session.before_launch()
    session.track(DEVICE)
    time.sleep(0.15)
    start_s = time.monotonic()
    time.sleep(seconds)
    return session.window(start_s, time.monotonic(), 1000)


def codes(window: TelemetryWindow) -> list[str]:
    return [found.code for found in window.findings]


def test_without_a_driver_everything_is_absent_for_one_reason_and_nothing_is_found() -> None:
    session = open_session("sampled", backend=NullBackend("no NVIDIA driver", "Install it."))
    with session:
        assert (session.available, session.reason, session.remedy) == (False, "no NVIDIA driver", "Install it.")
        session.before_launch()
        session.track(None)
        session.phase("measuring")
        window = session.window(1.0, 2.0, 100)
        assert session.after_launch() == ()
        assert session.live() == {}
    assert window.metrics.keys() == set(METRICS)
    assert window.metrics["energy_j"] is None
    assert {window.absent[name] for name in METRICS if name != "cpu_energy_j"} == {"no NVIDIA driver"}
    assert window.findings == []
    assert window.series == {}


def test_switched_off_says_so() -> None:
    with open_session("off") as session:
        session.track(DEVICE)
        assert (session.available, session.reason) == (False, "telemetry is off")
        window = session.window(1.0, 2.0, 100)
    assert set(window.absent.values()) == {"telemetry is off"}
    assert window.findings == []


def test_a_case_on_the_cpu_of_a_machine_with_a_gpu_has_no_gpu_figures(session: TelemetrySession) -> None:
    session.before_launch()
    session.track(None)
    window = session.window(1.0, 2.0, 100)
    assert window.absent["energy_j"] == "the case ran on the CPU"
    assert window.findings == []


def test_a_cuda_case_without_nvml_is_told_why(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = NullBackend("NVIDIA driver and library versions differ", "Reboot.", code=18)
    with open_session("sampled", backend=backend) as session:
        session.track(DEVICE)
        (found,) = session.window(1.0, 2.0, 100).findings
    assert (found.code, found.hint) == ("GB401", "Reboot.")
    assert "versions differ" in found.message
    assert monkeypatch


def test_a_launch_gets_figures_and_the_state_around_it(session: TelemetrySession) -> None:
    window = launch(session)
    assert window.metrics["mean_power_w"] == pytest.approx(300.0, rel=window.detail["energy_uncertainty_pct"] / 100)
    assert window.metrics["energy_per_sample_j"] == pytest.approx(window.metrics["energy_j"] / 1000)
    assert window.metrics["process_memory_bytes"] == 0.0
    assert window.detail["device"] == {"uuid": f"GPU-{UUID}", "name": NAME}
    assert window.detail["power_limit_w"] == 700.0
    assert window.detail["other_processes"] == []
    assert window.series["power_instant_w"]
    assert set(codes(window)) - {"GB417"} == {"GB410"}


def test_a_burst_outside_the_window_has_its_clock_and_power(session: TelemetrySession) -> None:
    window = launch(session)
    now_s = time.monotonic()
    session.state_during(window, now_s - 0.2, now_s)
    assert window.metrics["burst_power_w"] == pytest.approx(300.0, rel=0.01)
    assert window.metrics["burst_sm_clock_mhz"]
    session.state_during(window, now_s + 100, now_s + 101)
    assert window.metrics["burst_power_w"] is None
    assert window.absent["burst_sm_clock_mhz"] == "no reading fell into the burst"
    session.track(None)
    session.state_during(window, now_s - 0.2, now_s)
    assert window.metrics["burst_power_w"] is None


def test_memory_of_the_process_is_what_came_on_top(card: Fake, session: TelemetrySession) -> None:
    card.state(used=2 * GIB)
    session.before_launch()
    session.track(DEVICE)
    card.state(used=7 * GIB)
    time.sleep(0.25)
    start_s = time.monotonic()
    time.sleep(0.25)
    window = session.window(start_s, time.monotonic(), 1)
    assert window.metrics["process_memory_bytes"] == 5 * GIB
    assert window.metrics["device_memory_used_bytes"] == 7 * GIB


def test_another_process_is_a_finding_with_its_name_and_its_memory(card: Fake, session: TelemetrySession) -> None:
    card.processes(4242, used=3 * GIB)
    window = launch(session)
    (found,) = [found for found in window.findings if found.code == "GB407"]
    assert found.message == "Process 4242 (process-4242) was on the GPU with 3.0 GiB."
    assert window.metrics["process_memory_bytes"] is None
    assert window.absent["process_memory_bytes"] == "other processes were on the GPU"


def test_a_process_that_starts_during_the_launch_is_found_after_it_once(card: Fake, session: TelemetrySession) -> None:
    window = launch(session)
    card.processes(5151)
    assert "GB407" not in codes(window)
    assert [found.code for found in session.after_launch()] == ["GB407"]
    assert session.after_launch() == ()


def test_a_lowered_power_limit_and_one_that_moved_are_findings(card: Fake, session: TelemetrySession) -> None:
    card.state(limit_w=500.0)
    window = launch(session)
    assert "GB408" in codes(window)
    card.state(limit_w=400.0)
    (found,) = session.after_launch()
    assert found.message == "The power limit went from 500 W to 400 W during the launch."


@pytest.mark.slow
def test_a_lost_gpu_spoils_its_window_and_no_other(card: Fake, session: TelemetrySession) -> None:
    card.add_device(OTHER_UUID)
    card.trace([(0.0, 200.0)], device=1)
    before = launch(session)
    assert before.metrics["mean_power_w"] is not None
    card.rule("*", 15, device=0)
    during = launch(session)
    assert codes(during)[0] == "GB413"
    assert all(during.metrics[name] is None for name in METRICS)
    assert during.absent["energy_j"].startswith("the GPU was lost")
    session.after_launch()
    session.before_launch()
    session.track(OTHER)
    time.sleep(0.15)
    start_s = time.monotonic()
    time.sleep(0.3)
    other = session.window(start_s, time.monotonic(), 10)
    assert other.metrics["mean_power_w"] == pytest.approx(200.0, rel=0.2)
    assert "GB413" not in codes(other)


@pytest.mark.parametrize("mode", ["boundary", "sampled"])
@pytest.mark.parametrize("code", [4, 15])
def test_a_neighbour_that_is_lost_or_forbidden_spoils_nothing(card: Fake, mode: Mode, code: int) -> None:
    card.add_device(OTHER_UUID)
    card.rule("*", code, device=1)
    with open_session(mode, backend=open_backend(), schedule=QUICK) as session:
        session.before_launch()
        session.track(DEVICE)
        session.phase("measuring")
        time.sleep(0.15)
        start_s = time.monotonic()
        time.sleep(0.3)
        window = session.window(start_s, time.monotonic(), 10)
    assert window.metrics["mean_power_w"] == pytest.approx(300.0, rel=0.2)
    assert not {"GB401", "GB413", "GB415"} & set(codes(window))


def test_a_card_that_cannot_be_matched_is_refused_with_a_finding(session: TelemetrySession) -> None:
    session.track({"uuid": "ffffffff-0000-4000-8000-00000000000f"})
    window = session.window(1.0, 2.0, 10)
    (found,) = window.findings
    assert found.code == "GB415"
    assert "no NVML device matches" in window.absent["energy_j"]


def test_boundary_mode_reads_at_the_phases_and_starts_no_thread(card: Fake) -> None:
    with open_session("boundary", backend=open_backend(), schedule=QUICK) as session:
        session.before_launch()
        session.track(DEVICE)
        session.phase("measuring")
        start_s = time.monotonic()
        time.sleep(0.4)
        end_s = time.monotonic()
        window = session.window(start_s, end_s, 100)
    assert window.detail["energy_source"] == "counter_delta"
    assert window.metrics["energy_j"] == pytest.approx(300 * (end_s - start_s), rel=0.1)
    assert window.detail["energy_valid"] is False
    assert window.detail["energy_minimum_window_s"] == 5.0
    assert [name for _, name in card.calls()].count("nvmlDeviceGetFieldValues") <= 6


class FallingCounter(Device):
    kind, key, name = "rapl", "cpu", "CPU packages"

    def __init__(self) -> None:
        super().__init__()
        self.counters_j = iter((100.0, 50.0, 50.0))

    def read_power(self) -> FastReading:
        return FastReading(counter_j=next(self.counters_j))


def test_a_cpu_counter_that_goes_backwards_gives_no_energy_and_a_finding() -> None:
    with TelemetrySession("boundary", NullBackend("no NVIDIA driver"), FallingCounter(), QUICK) as session:
        session.phase("measuring")
        start_s = time.monotonic()
        time.sleep(0.05)
        window = session.window(start_s, time.monotonic(), 1)
    assert window.metrics["cpu_energy_j"] is None
    assert "went backwards" in window.absent["cpu_energy_j"]
    assert codes(window) == ["GB412"]


def test_the_live_view_has_the_last_readings(card: Fake, session: TelemetrySession) -> None:
    card.state(reasons=0x4, temperature=64)
    launch(session)
    live = session.live()
    assert live["power_w"] == pytest.approx(300.0, rel=0.01)
    assert live["temperature_c"] == 64.0
    assert live["throttle"] == "power cap"
    assert live["memory_total_bytes"] == 80 * GIB


def test_a_sampler_pauses_while_another_device_is_used(card: Fake, session: TelemetrySession) -> None:
    launch(session)
    session.track(None)
    time.sleep(0.1)
    count = len(card.calls())
    time.sleep(0.2)
    assert len(card.calls()) == count


def test_what_the_parent_does_while_a_launch_measures_calls_no_driver(card: Fake, session: TelemetrySession) -> None:
    """So that a driver call of half a second holds up the sampler's thread, and neither the parent nor the worker."""
    launch(session)
    for opened in session._opened.values():
        opened.sampled.sampler.pause(True)  # type: ignore[union-attr]
    time.sleep(0.1)
    num_calls = len(card.calls())
    session.phase("warmup")
    session.phase("measuring")
    assert session.live()["power_w"] is not None
    assert len(card.calls()) == num_calls


def test_a_window_that_does_not_last_is_a_mistake(session: TelemetrySession) -> None:
    with pytest.raises(ValueError, match="a window must end after it starts"):
        session.window(2.0, 2.0, 1)


def test_an_identity_is_read_from_the_workers_mapping() -> None:
    assert Identity.of({**DEVICE, "unknown": 1}) == Identity(UUID, NAME, "0000:41:00.0", 79 * GIB)
    assert Identity.of({"uuid": "", "name": None}) == Identity()


def test_the_null_backend_opens_nothing() -> None:
    with pytest.raises(TelemetryError, match="no NVIDIA driver"):
        NullBackend("no NVIDIA driver").open(Identity())


def test_a_passing_fault_at_opening_is_tried_again_with_the_next_launch(card: Fake, session: TelemetrySession) -> None:
    without_pci = {**DEVICE, "pci": None}
    card.rule("nvmlDeviceGetHandleByUUID", 10)
    session.track(without_pci)
    assert codes(session.window(1.0, 2.0, 1)) == ["GB415"]
    card.clear_rules()
    session.track(without_pci)
    assert session.live() is not None
    assert "GB415" not in codes(launch(session))


def test_a_card_lost_at_opening_is_lost(card: Fake, session: TelemetrySession) -> None:
    card.rule("nvmlDeviceGetHandleByUUID", 15)
    card.rule("nvmlDeviceGetHandleByPciBusId_v2", 15)
    session.track(DEVICE)
    assert codes(session.window(1.0, 2.0, 1)) == ["GB413"]
