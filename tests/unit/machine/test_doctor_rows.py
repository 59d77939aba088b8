from pathlib import Path
from typing import Any

import pytest
from fakes.nvml.control import MPS_SERVER_PID, OTHER_UUID, UUID, Fake

from gpubench.machine.doctor import examination, gpu_rows, software_rows
from gpubench.machine.doctor import host_rows as check_host
from gpubench.machine.doctor_row import DoctorRow, Group, Level, fit


def level_of(rows: list[DoctorRow], name: str) -> Level:
    (row,) = [row for row in rows if row.name == name]
    return row.level


def row_of(rows: list[DoctorRow], name: str) -> DoctorRow:
    (row,) = [row for row in rows if row.name == name]
    return row


def test_a_quiet_card_is_ok_but_for_its_free_clocks(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 75.0)])
    fake.rule("nvmlDeviceGetUtilizationRates", zero=True)
    rows, driver, gpus = gpu_rows.rows()
    assert {row.name: row.level for row in rows} == {
        "driver": Level.OK,
        "GPU 0": Level.OK,
        "GPU 0 processes": Level.OK,
        "GPU 0 MPS": Level.OK,
        "GPU 0 load": Level.OK,
        "GPU 0 power limit": Level.OK,
        "GPU 0 clocks": Level.WARN,
        "GPU 0 throttling": Level.OK,
        "GPU 0 temperature": Level.OK,
        "GPU 0 energy": Level.OK,
        "GPU 0 ECC": Level.OK,
    }
    assert driver is not None
    assert driver["driver"] == "580.00"
    assert gpus[0]["uuid"] == f"GPU-{UUID}"


def test_what_spoils_a_card_is_bad_and_says_what_to_do(fake: Fake) -> None:
    fake.add_device()
    fake.trace([(0.0, 75.0)])
    fake.processes(4242)
    fake.state(limit_w=400.0, reasons=0x40, temperature=91)
    rows, _, _ = gpu_rows.rows()
    for name in ("GPU 0 processes", "GPU 0 load", "GPU 0 power limit", "GPU 0 throttling"):
        assert level_of(rows, name) is Level.BAD
        assert row_of(rows, name).remedy
    assert row_of(rows, "GPU 0 processes").text == "in use by 4242 process-4242"
    assert row_of(rows, "GPU 0 power limit").text == "400 W, below the default of 700 W"
    assert level_of(rows, "GPU 0 temperature") is Level.WARN
    assert not fit(rows)


def test_an_mps_server_on_the_card_is_named(fake: Fake) -> None:
    fake.add_device()
    fake.processes(MPS_SERVER_PID)
    row = row_of(gpu_rows.rows()[0], "GPU 0 MPS")
    assert (row.level, row.text) == (Level.WARN, "a server runs")
    fake.processes(4242)
    assert level_of(gpu_rows.rows()[0], "GPU 0 MPS") is Level.OK
    fake.rule("nvmlDeviceGetComputeRunningProcesses_v3", 3)
    assert level_of(gpu_rows.rows()[0], "GPU 0 MPS") is Level.NA


def test_ecc_is_told_whether_it_is_on_or_unknown(fake: Fake) -> None:
    fake.add_device()
    assert row_of(gpu_rows.rows()[0], "GPU 0 ECC").text == "on"
    fake.rule("nvmlDeviceGetEccMode", zero=True)
    assert row_of(gpu_rows.rows()[0], "GPU 0 ECC").text.startswith("off: compare only with")
    fake.clear_rules()
    fake.rule("nvmlDeviceGetEccMode", 3)
    assert level_of(gpu_rows.rows()[0], "GPU 0 ECC") is Level.NA


def test_clocks_held_by_a_setting_are_ok(fake: Fake) -> None:
    fake.add_device()
    fake.state(reasons=0x2)
    assert level_of(gpu_rows.rows()[0], "GPU 0 clocks") is Level.OK


def test_a_clock_whose_maximum_is_unknown_is_not_called_none(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetMaxClockInfo", 3)
    assert row_of(gpu_rows.rows()[0], "GPU 0 clocks").text == "SM clock not locked (its maximum cannot be read)"
    fake.state(reasons=0x2)
    assert row_of(gpu_rows.rows()[0], "GPU 0 clocks").text == "held by a setting"


def test_no_row_shows_none_or_a_dict_whatever_is_missing(fake: Fake) -> None:
    fake.add_device()
    for call in (
        "nvmlDeviceGetName",
        "nvmlDeviceGetMemoryInfo_v2",
        "nvmlSystemGetDriverVersion",
        "nvmlDeviceGetMaxClockInfo",
    ):
        fake.rule(call, 3)
    fake.rule("nvmlSystemGetCudaDriverVersion_v2", 3)
    assert [row.text for row in gpu_rows.rows()[0] if "None" in row.text or "{" in row.text] == []


def test_reasons_that_cannot_be_read_are_no_card_at_ease(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetCurrentClocksEventReasons", 3)
    fake.rule("nvmlDeviceGetCurrentClocksThrottleReasons", 3)
    by_name = {row.name: row for row in gpu_rows.rows()[0]}
    assert (by_name["GPU 0 throttling"].level, by_name["GPU 0 throttling"].text) == (Level.NA, "cannot be read")
    assert by_name["GPU 0 clocks"].text.startswith("whether a setting holds them cannot be read")


@pytest.mark.parametrize(
    ("call", "code", "level", "text"),
    [
        (
            "nvmlDeviceGetHandleByIndex_v2",
            4,
            Level.NA,
            "not given to this process: nvmlDeviceGetHandleByIndex: NO_PERMISSION",
        ),
        ("nvmlDeviceGetHandleByIndex_v2", 15, Level.WARN, "cannot be read: nvmlDeviceGetHandleByIndex: GPU_IS_LOST"),
        ("*", 15, Level.WARN, "cannot be read: nvmlDeviceGetHandleByIndex: GPU_IS_LOST"),
        ("nvmlDeviceGetUUID", 999, Level.WARN, "cannot be read: nvmlDeviceGetUUID: UNKNOWN"),
    ],
)
def test_a_bad_neighbour_does_not_make_a_healthy_card_unfit(
    fake: Fake, call: str, code: int, level: Level, text: str
) -> None:
    fake.add_device(OTHER_UUID)
    fake.add_device(UUID)
    fake.rule("nvmlDeviceGetUtilizationRates", zero=True)
    fake.rule(call, code, device=0)
    rows, _, gpus = gpu_rows.rows()
    assert row_of(rows, "GPU 0").level is level
    assert row_of(rows, "GPU 0").text.startswith(text)
    assert row_of(rows, "GPU 1").level is Level.OK
    assert fit(rows)
    rows, _, gpus = gpu_rows.rows(only_shown=True)
    assert not [row for row in rows if row.name.startswith("GPU 0")]
    assert [gpu["uuid"] for gpu in gpus] == [f"GPU-{UUID}"]


def test_a_card_that_is_left_out_is_not_judged(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device(OTHER_UUID)
    fake.add_device(UUID)
    fake.rule("nvmlDeviceGetUtilizationRates", zero=True)
    fake.processes(4242, device=0)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    rows, _, gpus = gpu_rows.rows()
    assert row_of(rows, "GPU 0").text == "NVIDIA Fake 100, not used: CUDA_VISIBLE_DEVICES leaves it out"
    assert fit(rows)
    assert len(gpus) == 2


def test_a_job_that_was_given_no_card_is_not_unfit(fake: Fake) -> None:
    fake.add_device(OTHER_UUID)
    fake.add_device(UUID)
    fake.rule("nvmlDeviceGetHandleByIndex_v2", 4)
    rows, _, _ = gpu_rows.rows()
    assert level_of(rows, "GPU 0") is level_of(rows, "GPU 1") is Level.NA
    assert fit(rows)


def test_cards_that_are_all_lost_are_bad(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetHandleByIndex_v2", 15)
    (row,) = gpu_rows.rows()[0]
    assert (row.level, row.text) == (
        Level.BAD,
        "the cards could not be listed: nvmlDeviceGetHandleByIndex: GPU_IS_LOST (15)",
    )


def test_what_cannot_be_read_is_not_applicable(fake: Fake) -> None:
    fake.add_device()
    for call in (
        "nvmlDeviceGetComputeRunningProcesses_v3",
        "nvmlDeviceGetUtilizationRates",
        "nvmlDeviceGetTemperature",
        "nvmlDeviceGetEnforcedPowerLimit",
        "nvmlDeviceGetFieldValues",
        "nvmlDeviceGetPowerUsage",
        "nvmlDeviceGetTotalEnergyConsumption",
    ):
        fake.rule(call, 3)
    rows, _, _ = gpu_rows.rows()
    for name in ("processes", "load", "temperature", "power limit", "energy"):
        assert level_of(rows, f"GPU 0 {name}") is Level.NA


@pytest.mark.parametrize(("code", "level"), [(12, Level.NA), (9, Level.NA), (18, Level.BAD), (4, Level.BAD)])
def test_no_driver_is_no_fault_and_a_broken_one_is(fake: Fake, code: int, level: Level) -> None:
    fake.rule("nvmlInitWithFlags", code)
    (row,), driver, gpus = gpu_rows.rows()
    assert (row.level, driver, gpus) == (level, None, [])
    assert row.remedy


def sysroot(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


GOOD_HOST = {
    "proc/cpuinfo": "model name : X\nflags : avx2\n",
    "proc/stat": "cpu 100 0 0 5000 0 0 0 0 0 0\ncpu0 50 0 0 2500 0 0 0 0 0 0\n",
    "proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 900000 kB\nSwapTotal: 0 kB\nSwapFree: 0 kB\n",
    "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "performance\n",
    "sys/devices/system/cpu/cpufreq/boost": "0\n",
    "sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
    "sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "0\n",
    "sys/class/power_supply/AC/online": "1\n",
}


def host_rows(root: Path, busy: int = 0, stolen: int = 0) -> list[DoctorRow]:
    """`busy` and `stolen` of 1000 clock ticks pass while the CPUs are looked at."""
    stat = root / "proc/stat"

    def pass_time(_seconds: float) -> None:
        if stat.exists():
            stat.write_text(f"cpu {100 + busy} 0 0 {5000 + 1000 - busy - stolen} 0 0 0 {stolen} 0 0\n")

    return check_host.rows(root, pass_time)


def test_a_host_set_up_for_measuring_is_ok(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    rows = host_rows(sysroot(tmp_path, **GOOD_HOST))
    assert {row.name for row in rows if row.level is not Level.OK} == {"CPU energy"}


@pytest.mark.parametrize(
    ("files", "name", "level"),
    [
        ({"sys/devices/system/cpu/cpu0/cpufreq/scaling_governor": "powersave"}, "governor", Level.WARN),
        ({"sys/devices/system/cpu/cpufreq/boost": "1"}, "boost", Level.WARN),
        ({"sys/devices/system/clocksource/clocksource0/current_clocksource": "hpet"}, "clock source", Level.WARN),
        ({"proc/cpuinfo": "flags : hypervisor\n"}, "machine", Level.WARN),
        ({"sys/fs/cgroup/cpu.max": "50000 100000"}, "CPU quota", Level.WARN),
        ({"proc/meminfo": "MemTotal: 1000000 kB\nMemAvailable: 50000 kB\n"}, "memory", Level.BAD),
        (
            {"sys/class/power_supply/AC/online": "0", "sys/class/power_supply/BAT0/type": "Battery"},
            "power supply",
            Level.BAD,
        ),
        ({"sys/fs/cgroup/memory.max": "0", "sys/fs/cgroup/memory.current": "4096"}, "memory", Level.BAD),
        (
            {"proc/self/cgroup": "0::/job\n", "sys/fs/cgroup/job/cpu.max": "50000 100000"},
            "CPU quota",
            Level.WARN,
        ),
        (
            {"sys/fs/cgroup/memory.max": f"{2**20}", "sys/fs/cgroup/memory.current": f"{2**20 - 10}"},
            "memory",
            Level.BAD,
        ),
        ({"sys/devices/system/cpu/cpu0/thermal_throttle/package_throttle_count": "7"}, "CPU heat", Level.WARN),
    ],
)
def test_each_thing_that_spoils_a_host_is_seen_and_has_a_remedy(
    tmp_path: Path, files: dict[str, str], name: str, level: Level
) -> None:
    row = row_of(host_rows(sysroot(tmp_path, **{**GOOD_HOST, **files})), name)
    assert row.level is level
    assert row.remedy


def supplies(**by_name: str) -> dict[str, str]:
    """Files of supplies, each given as `type=Mains online=0`."""
    attributes = {name: dict(each.split("=") for each in text.split()) for name, text in by_name.items()}
    return {
        f"sys/class/power_supply/{name}/{attribute}": f"{value}\n"
        for name, values in attributes.items()
        for attribute, value in values.items()
    }


@pytest.mark.parametrize(
    ("files", "level", "text"),
    [
        (supplies(ucsi1="type=USB online=0", ucsi2="type=USB online=0"), Level.OK, "mains (there is no battery)"),
        (supplies(hidpp_battery_0="type=Battery scope=Device status=Discharging online=1"), Level.NA, "not visible"),
        (
            supplies(
                mouse="type=Battery scope=Device online=1", AC="type=Mains online=0", BAT0="type=Battery status=Full"
            ),
            Level.OK,
            "mains",
        ),
        (
            supplies(mouse="type=Battery scope=Device online=1", AC="type=Mains online=0"),
            Level.OK,
            "mains (there is no",
        ),
        (supplies(AC="type=Mains online=0", BAT0="type=Battery present=0"), Level.OK, "mains (there is no battery)"),
        (supplies(AC="type=Mains online=0", BAT0="type=Battery status=Unknown"), Level.BAD, "on battery"),
        (supplies(AC="type=Mains online=0", BAT0="type=Battery status=Discharging"), Level.BAD, "on battery"),
        (supplies(ucsi="type=USB online=0", BAT0="type=Battery status=Discharging"), Level.BAD, "on battery"),
        (supplies(BAT0="type=Battery status=Discharging present=1"), Level.BAD, "on battery"),
        (supplies(AC="type=Mains online=1", BAT0="type=Battery present=0"), Level.OK, "mains"),
        (supplies(ucsi="type=USB online=1", BAT0="type=Battery status=Charging"), Level.OK, "mains"),
        (supplies(AC="type=Mains online=0", ucsi="type=USB online=1"), Level.OK, "mains"),
        (
            supplies(AC="type=Mains online=1", BAT="type=Battery status=Discharging"),
            Level.WARN,
            "mains, and the battery",
        ),
        (supplies(BAT0="type=Battery status=Unknown"), Level.NA, "not visible"),
        ({}, Level.NA, "not visible"),
    ],
)
def test_the_power_supply_is_the_machines_own(tmp_path: Path, files: dict[str, str], level: Level, text: str) -> None:
    host = {name: content for name, content in GOOD_HOST.items() if "power_supply" not in name}
    row = row_of(host_rows(sysroot(tmp_path, **host, **files)), "power supply")
    assert row.level is level
    assert row.text.startswith(text)


@pytest.mark.parametrize(
    ("now", "level", "text"),
    [
        ("2000000", Level.OK, "RAPL readable"),
        ("1000000", Level.WARN, "RAPL readable, but the counter of package-0 stood still for 0.05 s"),
        ("", Level.NA, "RAPL cannot be read: energy_uj: invalid literal for int() with base 10: b''"),
    ],
)
def test_the_cpus_energy_counter_is_looked_at_twice(tmp_path: Path, now: str, level: Level, text: str) -> None:
    zone = {"name": "package-0\n", "energy_uj": "1000000\n", "max_energy_range_uj": "262143328850\n"}
    root = sysroot(tmp_path, **{f"sys/class/powercap/intel-rapl:0/{name}": value for name, value in zone.items()})
    row = check_host._rapl(root, lambda _s: sysroot(root, **{"sys/class/powercap/intel-rapl:0/energy_uj": now}))
    assert (row.level, row.text) == (level, text)


def test_a_package_whose_counter_stands_still_is_named(tmp_path: Path) -> None:
    zone = {"energy_uj": "1000000\n", "max_energy_range_uj": "262143328850\n"}
    files = {f"sys/class/powercap/intel-rapl:{i}/{name}": value for i in range(2) for name, value in zone.items()}
    names = {f"sys/class/powercap/intel-rapl:{i}/name": f"package-{i}\n" for i in range(2)}
    root = sysroot(tmp_path, **files, **names)
    row = check_host._rapl(root, lambda _s: sysroot(root, **{"sys/class/powercap/intel-rapl:0/energy_uj": "2000000"}))
    assert row.level is Level.WARN
    assert row.text == "RAPL readable, but the counter of package-1 stood still for 0.05 s"


@pytest.mark.parametrize(
    ("files", "level", "text"),
    [
        ({"proc/cpuinfo": "Features : asimd\n"}, Level.NA, "the kernel does not say whether it is virtual"),
        ({"proc/cpuinfo": "Features : asimd\n", "sys/hypervisor/type": "xen\n"}, Level.WARN, "virtual machine"),
        ({"proc/cpuinfo": "flags : avx2\n"}, Level.OK, "bare metal"),
    ],
)
def test_a_machine_is_bare_metal_only_where_the_kernel_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], level: Level, text: str
) -> None:
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    row = row_of(host_rows(sysroot(tmp_path, **{**GOOD_HOST, **files})), "machine")
    assert (row.level, row.text) == (level, text)


def test_control_groups_that_cannot_be_read_are_not_a_machine_without_quota(tmp_path: Path) -> None:
    row = row_of(host_rows(sysroot(tmp_path, **GOOD_HOST, **{"proc/self/cgroup": "0::/job\n"})), "CPU quota")
    assert (row.level, row.text) == (Level.NA, "control groups are not visible here (/sys/fs/cgroup)")


def test_a_host_that_shows_nothing_is_not_applicable_and_not_a_crash(tmp_path: Path) -> None:
    levels = {row.name: row.level for row in host_rows(tmp_path)}
    assert levels["governor"] is levels["memory"] is levels["clock source"] is levels["load"] is Level.NA


@pytest.mark.parametrize(("busy", "level"), [(0, Level.OK), (80, Level.OK), (200, Level.WARN), (700, Level.BAD)])
def test_a_busy_host_is_seen_by_what_its_cpus_do_now(tmp_path: Path, busy: int, level: Level) -> None:
    assert level_of(host_rows(sysroot(tmp_path, **GOOD_HOST), busy=busy), "load") is level


def test_time_that_other_virtual_machines_took_is_seen(tmp_path: Path) -> None:
    row = row_of(host_rows(sysroot(tmp_path, **GOOD_HOST), stolen=50), "stolen time")
    assert (row.level, row.text) == (Level.WARN, "5.0% of CPU time taken by other virtual machines")


TORCH = {"torch": "2.15.0", "cuda": "13.2", "cudnn": 92600, "devices": [{"index": 0}], "unavailable": None}
DRIVER = {"driver": "580.00", "cuda_driver": "13.0"}


def test_a_working_torch_is_ok_with_its_versions() -> None:
    rows = software_rows.rows(TORCH, DRIVER, {})
    assert row_of(rows, "torch").text == "2.15.0, CUDA 13.2"
    assert row_of(rows, "CUDA").text == "1 device(s), cuDNN 9.26.0"
    assert row_of(rows, "variables").level is Level.OK


def test_cuda_that_torch_cannot_use_is_bad_with_a_driver_and_not_applicable_without() -> None:
    broken = {**TORCH, "devices": [], "unavailable": "CUDA driver version is insufficient"}
    assert level_of(software_rows.rows(broken, DRIVER, {}), "CUDA") is Level.BAD
    assert level_of(software_rows.rows(broken, None, {}), "CUDA") is Level.NA


def test_an_nsys_that_is_named_or_on_path_is_shown_and_none_is_no_fault(tmp_path: Path) -> None:
    tool = tmp_path / "nsys"
    tool.write_text("#!/bin/sh\n")
    tool.chmod(0o755)
    for environ in ({"GPUBENCH_NSYS": str(tool)}, {"PATH": str(tmp_path)}):
        assert row_of(software_rows.rows(TORCH, DRIVER, environ), "nsys").text == str(tool)
    absent = row_of(software_rows.rows(TORCH, DRIVER, {"PATH": ""}), "nsys")
    assert absent.level is Level.NA
    assert "unless nsys is in a CUDA or Nsight folder" in absent.text


@pytest.mark.parametrize(
    ("built", "served", "remedy"),
    [
        (None, "13.0", "built for the CPU alone"),
        ("13.2", "13.0", "update the driver"),
        ("12.8", "13.0", "libcuda.so.1"),
    ],
)
def test_why_torch_cannot_use_a_working_driver_is_told_from_the_versions(
    built: str | None, served: str, remedy: str
) -> None:
    broken = {**TORCH, "cuda": built, "devices": [], "unavailable": "no CUDA"}
    row = row_of(software_rows.rows(broken, {"driver": "580.00", "cuda_driver": served}, {}), "CUDA")
    assert remedy in row.remedy


def test_profilers_that_are_attached_or_run_are_named(tmp_path: Path) -> None:
    quiet = sysroot(tmp_path, **{"proc/7/stat": "7 (python) S 1", "proc/7/comm": "python\n"})
    assert row_of(software_rows.rows(TORCH, DRIVER, {}, quiet), "profilers").level is Level.OK
    busy = sysroot(tmp_path, **{"proc/8/stat": "8 (nv-hostengine) S 1", "proc/8/comm": "nv-hostengine\n"})
    row = row_of(software_rows.rows(TORCH, DRIVER, {"CUDA_INJECTION64_PATH": "/x.so"}, busy), "profilers")
    assert (row.level, row.text) == (Level.WARN, "CUDA_INJECTION64_PATH=/x.so, nv-hostengine runs")
    assert row.remedy


@pytest.mark.parametrize(
    ("aside", "level", "text"),
    [
        (0, Level.OK, "50.0 MiB, none set aside for persisting accesses"),
        (2**20, Level.WARN, "50.0 MiB, 1.0 MiB set aside for persisting accesses"),
        (None, Level.NA, "50.0 MiB, whether a part is set aside cannot be read"),
    ],
)
def test_a_part_of_l2_that_is_set_aside_is_seen(aside: int | None, level: Level, text: str) -> None:
    facts = {**TORCH, "devices": [{"index": 0, "l2_bytes": 50 * 2**20, "persisting_l2_bytes": aside}]}
    row = row_of(software_rows.rows(facts, DRIVER, {}), "cuda:0 L2")
    assert (row.level, row.text) == (level, text)


@pytest.mark.parametrize(("code", "found"), [(0, 4096), (201, None)])
def test_the_driver_is_asked_what_a_new_context_sets_aside_of_l2(code: int, found: int | None) -> None:
    from gpubench.worker.doctor_work import persisting_l2_bytes

    class Driver:
        def cuCtxGetLimit(self, size: Any, limit: int) -> int:  # noqa: N802 - CUDA's name
            assert limit == 6
            size._obj.value = 4096
            return code

    assert persisting_l2_bytes(lambda _name: Driver()) == found
    assert persisting_l2_bytes(lambda _name: object()) is None


def test_a_torch_that_does_not_import_is_bad() -> None:
    row = row_of(software_rows.rows({"error": "No module named 'torch'"}, None, {}), "torch")
    assert (row.level, row.remedy) == (Level.BAD, "pip install torch")


@pytest.mark.parametrize(
    ("name", "value", "level"),
    [
        ("CUDA_LAUNCH_BLOCKING", "1", Level.BAD),
        ("PYTORCH_NO_CUDA_MEMORY_CACHING", "1", Level.BAD),
        ("NVIDIA_TF32_OVERRIDE", "0", Level.WARN),
        ("PYTHONDEVMODE", "1", Level.WARN),
        ("CUDA_MPS_ACTIVE_THREAD_PERCENTAGE", "50", Level.WARN),
        ("LD_PRELOAD", "/x.so", Level.WARN),
    ],
)
def test_a_variable_that_slows_things_down_is_named(name: str, value: str, level: Level) -> None:
    row = row_of(software_rows.rows(TORCH, DRIVER, {name: value}), name)
    assert row.level is level
    assert row.remedy
    assert row.group is Group.SOFTWARE


ENVIRONMENT = {"gpus": [{"uuid": f"GPU-{UUID}"}]}


@pytest.fixture
def quiet_host(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        check_host, "rows", lambda: [DoctorRow(Group.HOST, "load", Level.WARN, "CPUs busy 20% of the time")]
    )
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.delenv("CUDA_LAUNCH_BLOCKING", raising=False)


@pytest.mark.usefixtures("quiet_host")
def test_before_a_strict_run_what_is_bad_is_named_and_what_is_only_to_know_is_not(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetUtilizationRates", zero=True)
    assert examination.unfit_rows(ENVIRONMENT) == []
    fake.processes(4242)
    assert examination.unfit_rows(ENVIRONMENT) == ["GPU 0 processes: in use by 4242 process-4242"]


@pytest.mark.usefixtures("quiet_host")
def test_a_busy_card_that_the_run_does_not_use_does_not_make_it_unfit(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake.add_device()
    fake.add_device(OTHER_UUID)
    fake.rule("nvmlDeviceGetUtilizationRates", zero=True)
    fake.processes(4242, device=0)
    assert examination.unfit_rows(ENVIRONMENT, uses_gpu=False) == []
    assert examination.unfit_rows({"gpus": []}) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert examination.unfit_rows(ENVIRONMENT) == []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"GPU-{UUID}")
    assert len(examination.unfit_rows(ENVIRONMENT)) == 1


@pytest.mark.usefixtures("quiet_host")
def test_a_variable_that_slows_everything_down_makes_a_run_unfit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_LAUNCH_BLOCKING", "1")
    (found,) = examination.unfit_rows({})
    assert found == "CUDA_LAUNCH_BLOCKING: 1: makes every launch wait for the device"


def test_a_secret_in_the_text_of_a_row_is_withheld() -> None:
    from gpubench.machine.doctor.software_rows import variables

    (row,) = variables({"LD_PRELOAD": "libproxy.so https://user:geheim42@host"})
    assert "geheim42" not in row.text
    assert "libproxy.so" in row.text
