"""AMD's telemetry through a fake `amdsmi`: every quantity in its unit, and every call that fails with its reason."""

import sys

import pytest
from fakes.amdsmi_module import MIB, FakeAmdSmi, card

from gpubench.telemetry.devices.base import Identity, TelemetryError
from gpubench.telemetry.devices.open_backend import one_card_each, open_backend
from gpubench.telemetry.devices.rocm import RocmBackend, open_rocm
from gpubench.telemetry.monitor import Monitor
from gpubench.telemetry.sampling.sampler import Schedule
from gpubench.telemetry.window.counter_ticks import unwrap

UUID = "GPU-8d04fc29038c01f0"


@pytest.fixture
def smi(monkeypatch):
    fake = FakeAmdSmi(card(0), card(1))
    monkeypatch.setitem(sys.modules, "amdsmi", fake)
    return fake


@pytest.fixture
def clock():
    class Clock:
        now_s = 100.0

        def __call__(self):
            return self.now_s

    return Clock()


@pytest.fixture
def device(smi, clock):
    return open_rocm(clock=clock).open(Identity(uuid=UUID))


def test_power_is_in_watts_and_what_the_chip_lacks_has_its_reason(device):
    reading = device.read_power()
    assert (reading.power_instant_w, reading.power_average_w, reading.power_usage_w) == (551, None, 550)
    assert device.missing["power_average_w"] == "amdsmi says N/A for average_socket_power"


def test_energy_is_ticks_times_their_size_in_microjoules(device):
    assert device.read_power().counter_j == pytest.approx(15.259)


def test_an_energy_counter_of_an_older_amdsmi_is_read_too(device, smi):
    smi.cards[0]["energy_count"] = {"power": 2_000_000, "counter_resolution": 15.259}
    assert device.read_power().counter_j == pytest.approx(30.518)


@pytest.mark.parametrize(("before", "after", "wraps"), [(2**32 - 1000, 5000, 1), (2**31, 5000, 0)])
def test_an_energy_counter_of_32_bits_wraps_where_the_power_is_possible(device, smi, before, after, wraps):
    energy = smi.cards[0]["energy_count"]
    points = []
    for at_s, ticks in ((0.0, before - 1000), (0.05, before), (0.1, after), (0.15, after + 1000)):
        energy["energy_accumulator"] = ticks
        points.append((at_s, 0.0, device.read_power().counter_j))
    found = unwrap(points, wrap_j=device.counter_wrap_j, update_period_s=0.001)
    assert (found.num_wraps, found.reset_at_s) == ((1, None) if wraps else (0, 0.1))
    if wraps:
        assert found.points[-1][2] - found.points[0][2] == pytest.approx(8000 * 15.259e-6, rel=1e-6)


def test_clocks_are_in_megahertz_whatever_their_key(device, smi):
    smi.cards[0]["clock_info"][5] = {"cur_clk": 1300}
    assert device.read_fast().sm_clock_mhz == 2100
    assert device.read_slow().memory_clock_mhz == 1300


def test_memory_is_in_bytes_temperatures_in_celsius_and_activity_a_share(device):
    slow = device.read_slow()
    assert (slow.memory_used_bytes, slow.memory_total_bytes) == (300 * MIB, 192 * 1024 * MIB)
    assert (slow.temperature_c, slow.memory_temperature_c) == (61, 52)
    assert slow.utilization == pytest.approx(0.87)
    assert slow.pstate is None
    assert "no P-states" in device.missing["pstate"]


def test_a_chip_without_a_junction_sensor_is_read_at_its_edge(device, smi):
    smi.cards[0]["temp_metric"] = {0: 48}
    assert device.read_slow().temperature_c == 48
    assert device.read_slow().temperature_c == 48
    assert "temperature_c" not in device.missing


def test_throttle_times_are_shares_of_the_firmwares_cycles(device, smi, clock):
    assert device.read_fast().throttle_power_cap_s == 0
    smi.cards[0]["gpu_metrics_info"] |= {
        "accumulation_counter": 2000,
        "ppt_residency_acc": 350,
        "hbm_thm_residency_acc": 100,
    }
    clock.now_s += 2.0
    reading = device.read_fast()
    assert reading.throttle_power_cap_s == pytest.approx(0.5)
    assert reading.throttle_sw_thermal_s == pytest.approx(0.2)
    assert reading.throttle_hw_thermal_s == 0
    assert reading.reasons is None


def test_cycles_that_wrap_at_32_bits_are_counted_on(device, smi, clock):
    metrics = smi.cards[0]["gpu_metrics_info"]
    metrics |= {"accumulation_counter": 2**32 - 500, "ppt_residency_acc": 2**32 - 100}
    device.read_fast()
    metrics |= {"accumulation_counter": 500, "ppt_residency_acc": 150}
    clock.now_s += 1.0
    assert device.read_fast().throttle_power_cap_s == pytest.approx(0.25)


def test_a_reading_before_the_firmware_accumulated_anything_says_nothing(device, smi, clock):
    device.read_fast()
    clock.now_s += 2.0
    assert device.read_fast().throttle_power_cap_s is None
    metrics = smi.cards[0]["gpu_metrics_info"]
    metrics |= {"accumulation_counter": metrics["accumulation_counter"] + 1000, "ppt_residency_acc": 10**6}
    assert device.read_fast().throttle_power_cap_s == pytest.approx(2.0)


def test_a_chip_that_accumulates_no_limits_says_so(device, smi):
    smi.cards[0]["gpu_metrics_info"]["ppt_residency_acc"] = "N/A"
    assert device.read_fast().throttle_power_cap_s is None
    assert "does not accumulate" in device.missing["reasons"]


def test_limits_and_link_are_in_the_units_of_their_names(device, smi):
    del smi.cards[0]["pcie_info"]
    state = device.state()
    assert (state["power_limit_w"], state["sm_clock_max_mhz"]) == (750, 2100)
    assert state["pcie_width"] is None
    assert "NOT_SUPPORTED" in state["absent"]["pcie_width"]


def test_processes_are_surveyed_with_their_memory(device):
    survey = device.survey()
    assert [tuple(each) for each in survey.processes] == [(41, 256 * MIB, "python")]
    assert (survey.memory_used_bytes, survey.why) == (300 * MIB, "")


@pytest.mark.parametrize(
    ("call", "field", "kind"),
    [
        ("amdsmi_get_energy_count", "counter_j", "fast"),
        ("amdsmi_get_power_info", "power_instant_w", "fast"),
        ("amdsmi_get_clock_info", "sm_clock_mhz", "fast"),
        ("amdsmi_get_gpu_metrics_info", "throttle_power_cap_s", "fast"),
        ("amdsmi_get_clock_info", "memory_clock_mhz", "slow"),
        ("amdsmi_get_temp_metric", "temperature_c", "slow"),
        ("amdsmi_get_gpu_memory_usage", "memory_used_bytes", "slow"),
        ("amdsmi_get_gpu_memory_total", "memory_total_bytes", "slow"),
        ("amdsmi_get_gpu_activity", "utilization", "slow"),
    ],
)
@pytest.mark.parametrize("status", [2, 8])
def test_a_call_that_fails_leaves_none_with_its_reason(device, smi, call, field, kind, status):
    smi.failing[call] = status
    read = device.read_fast if kind == "fast" else device.read_slow
    assert getattr(read(), field) is None
    reason = device.missing["reasons" if field.startswith("throttle") else field]
    assert reason.startswith(call)
    assert device.faults()[f"{call}: {status}"] >= 1
    asked = smi.calls.count(call)
    read()
    assert (smi.calls.count(call) > asked) is (status == 8), "what is not supported is asked for once only"
    assert device.lost is None


def test_the_power_of_a_gpu_and_cpu_in_one_socket_is_the_modules(smi):
    assert open_rocm().open(Identity(uuid=UUID)).scopes == {}
    smi.cards[0]["gpu_asic_info"]["market_name"] = "AMD Instinct MI300A"
    device = open_rocm().open(Identity(uuid=UUID))
    assert set(device.scopes.values()) == {"module"}
    assert {"counter_j", "power_instant_w"} <= set(device.scopes)


def test_a_call_that_works_again_has_no_reason_left(device, smi):
    smi.failing["amdsmi_get_energy_count"] = 8
    device.read_power()
    smi.failing.clear()
    assert device.read_power().counter_j is not None
    assert "counter_j" not in device.missing


def test_a_device_that_is_gone_is_lost_for_good(device, smi):
    smi.failing["amdsmi_get_energy_count"] = 31
    device.read_power()
    asked = len(smi.calls)
    assert device.lost == "amdsmi_get_energy_count: status 31"
    assert device.read_fast().power_instant_w is None
    assert len(smi.calls) == asked


def test_a_survey_that_fails_says_why(device, smi):
    smi.failing |= {"amdsmi_get_gpu_process_list": 10, "amdsmi_get_gpu_memory_usage": 10}
    survey = device.survey()
    assert (survey.processes, survey.memory_used_bytes) == (None, None)
    assert survey.why == "amdsmi_get_gpu_process_list: status 10; amdsmi_get_gpu_memory_usage: status 10"


def test_a_partition_shares_the_power_of_its_chip(smi):
    smi.cards[0]["gpu_compute_partition"] = "CPX"
    assert open_rocm().open(Identity(uuid=UUID)).parent_shared
    assert not open_rocm().open(Identity(pci="0000:06:00.0")).parent_shared


@pytest.mark.parametrize(
    "identity", [Identity(uuid=UUID), Identity(uuid=UUID.removeprefix("GPU-").upper()), Identity(pci="0000:05:00.0")]
)
def test_a_device_is_found_by_uuid_or_pci_address(smi, identity):
    device = open_rocm().open(identity)
    assert (device.key, device.name, device.kind) == (UUID, "AMD Instinct MI300X", "rocm")


def test_a_device_that_amdsmi_does_not_list_is_refused(smi):
    with pytest.raises(TelemetryError, match="0 of 2 AMD GPUs match GPU-77"):
        open_rocm().open(Identity(uuid="GPU-77"))


@pytest.mark.parametrize(
    ("device", "environ", "pci"),
    [
        (0, {}, "0000:05:00.0"),
        ("cuda:1", {}, "0000:06:00.0"),
        (0, {"HIP_VISIBLE_DEVICES": "1"}, "0000:06:00.0"),
        (0, {"CUDA_VISIBLE_DEVICES": "1"}, "0000:06:00.0"),
        (0, {"HIP_VISIBLE_DEVICES": "0", "CUDA_VISIBLE_DEVICES": "1"}, "0000:05:00.0"),
        (0, {"ROCR_VISIBLE_DEVICES": "GPU-8d04fc29038c01f1"}, "0000:06:00.0"),
        (1, {"ROCR_VISIBLE_DEVICES": "1,0"}, "0000:05:00.0"),
        (0, {"ROCR_VISIBLE_DEVICES": "1,0", "HIP_VISIBLE_DEVICES": "1"}, "0000:05:00.0"),
        ("0000:06:00.0", {"HIP_VISIBLE_DEVICES": "0"}, "0000:06:00.0"),
        (0, {"HIP_VISIBLE_DEVICES": "1-0"}, "0000:06:00.0"),
        (0, {"HIP_VISIBLE_DEVICES": "GPU-8d04fc29038c01f1,0"}, "0000:06:00.0"),
    ],
)
def test_a_number_counts_what_the_variables_leave_visible(smi, device, environ, pci):
    assert open_rocm().identify(device, environ).pci == pci


def test_a_lost_neighbour_has_no_number_and_spoils_nothing(smi):
    del smi.cards[0]["gpu_device_bdf"]
    backend = open_rocm()
    assert backend.identify(0, {}).pci == "0000:06:00.0"
    assert backend.open(Identity(pci="0000:06:00.0")).read_power().power_instant_w == 551
    assert set(backend.survey()) == {"GPU-8d04fc29038c01f1"}


def test_numbers_are_hips_and_not_amdsmis(smi):
    for each, number in zip(smi.cards, (1, 0), strict=True):
        each["gpu_enumeration_info"] = {"hip_id": number}
    assert open_rocm().identify(0, {}).pci == "0000:06:00.0"


@pytest.mark.parametrize(
    ("device", "environ"),
    [
        (2, {}),
        (1, {"HIP_VISIBLE_DEVICES": "0"}),
        (0, {"ROCR_VISIBLE_DEVICES": ""}),
        (0, {"HIP_VISIBLE_DEVICES": "1,1"}),
    ],
)
def test_a_number_beyond_the_visible_devices_is_refused(smi, device, environ):
    with pytest.raises(TelemetryError, match="HIP has no device"):
        open_rocm().identify(device, environ)


def test_without_amdsmi_the_reason_is_that_of_nvml(monkeypatch):
    monkeypatch.setitem(sys.modules, "amdsmi", None)
    monkeypatch.setitem(sys.modules, "pynvml", None)
    assert open_rocm() is None
    assert open_backend().reason == "nvidia-ml-py is not installed"


@pytest.mark.parametrize("error", [OSError("libamd_smi.so: cannot open shared object file"), SystemExit(1)])
def test_an_amdsmi_that_cannot_be_loaded_says_why(monkeypatch, error):
    def refuse(name):
        raise error

    monkeypatch.setattr("gpubench.telemetry.devices.rocm.importlib.import_module", refuse)
    backend = open_rocm()
    assert (backend.available, backend.reason) == (False, f"amdsmi cannot be loaded: {error}")
    assert "/opt/rocm" in backend.remedy


def test_a_part_of_amdsmi_that_is_missing_is_no_missing_amdsmi(monkeypatch):
    def refuse(name):
        raise ModuleNotFoundError("No module named 'yaml'", name="yaml")

    monkeypatch.setattr("gpubench.telemetry.devices.rocm.importlib.import_module", refuse)
    assert open_rocm().reason == "amdsmi cannot be loaded: No module named 'yaml'"


def test_two_drivers_that_refuse_both_say_why(smi, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    smi.cards.clear()
    assert open_backend().reason == "nvidia-ml-py is not installed; no AMD GPU"


def test_where_nvml_is_not_amdsmi_is_opened(smi, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    backend = open_backend()
    assert isinstance(backend, RocmBackend)
    assert set(backend.survey()) == {UUID, "GPU-8d04fc29038c01f1"}
    backend.close()
    assert smi.calls[-1] == "amdsmi_shut_down"


def test_an_amdsmi_that_cannot_start_says_why(smi):
    smi.failing["amdsmi_init"] = 34
    backend = open_rocm()
    assert (backend.available, backend.reason) == (False, "amdsmi_init: status 34")
    assert "amdgpu" in backend.remedy


def test_a_machine_without_a_card_says_so(smi):
    smi.cards.clear()
    assert open_rocm().reason == "no AMD GPU"


@pytest.mark.slow
def test_a_monitor_reads_an_amd_device_by_its_number(smi, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with Monitor(device=1, schedule=Schedule()) as monitor:
        assert monitor.available
        assert monitor.uuid == "GPU-8d04fc29038c01f1"


def test_each_amd_card_of_a_fleet_is_shown_alone_by_its_uuid(smi):
    environ = {"ROCR_VISIBLE_DEVICES": "1,0", "HIP_VISIBLE_DEVICES": "0,1", "HOME": "/"}
    assert one_card_each(environ) == [
        {"ROCR_VISIBLE_DEVICES": "GPU-8d04fc29038c01f1", "HOME": "/"},
        {"ROCR_VISIBLE_DEVICES": "GPU-8d04fc29038c01f0", "HOME": "/"},
    ]
    for alone in one_card_each(environ):
        assert open_rocm().identify(0, alone).uuid == alone["ROCR_VISIBLE_DEVICES"]


@pytest.mark.parametrize("serial", ["0x8D04FC29038C01F0", "N/A"])
def test_amd_cards_without_uuids_of_their_own_are_no_fleet(smi, serial):
    smi.cards[1]["gpu_asic_info"]["asic_serial"] = serial
    with pytest.raises(TelemetryError, match=r"cannot be told apart, which a fleet needs: GPU-8d04fc29038c01f0, "):
        one_card_each({})
