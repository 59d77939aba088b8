from pathlib import Path

import pytest

from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.rapl import PERIODS, open_rapl
from gpubench.telemetry.sampled_device import SampledDevice
from gpubench.telemetry.sampling.sampler import Schedule

RANGE_UJ = 262_143_328_850


def zone(root: Path, folder: str, name: str, energy_uj: int) -> Path:
    path = root / folder
    path.mkdir(parents=True)
    (path / "name").write_text(f"{name}\n")
    (path / "max_energy_range_uj").write_text(f"{RANGE_UJ}\n")
    (path / "energy_uj").write_text(f"{energy_uj}\n")
    return path / "energy_uj"


def test_the_packages_are_added_up_and_nothing_inside_them(tmp_path: Path) -> None:
    first = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    second = zone(tmp_path, "intel-rapl:1", "package-1", 5_000_000)
    core = zone(tmp_path, "intel-rapl:0:0", "core", 0)
    platform = zone(tmp_path, "intel-rapl:2", "psys", 0)
    duplicate = zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    device = open_rapl(tmp_path)
    first.write_text("3000000\n")
    second.write_text("5500000\n")
    for unread in (core, platform, duplicate):
        unread.write_text("900000000\n")
    assert device.read_fast().counter_j == pytest.approx(2.5)
    assert device.state()["zones"] == ["package-0", "package-1"]
    device.close()


def test_a_wrap_is_undone_by_the_counters_range(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", RANGE_UJ - 1_000_000)
    device = open_rapl(tmp_path)
    counter.write_text("999999\n")
    assert device.read_fast().counter_j == pytest.approx(2.0)
    counter.write_text("2999999\n")
    assert device.read_fast().counter_j == pytest.approx(4.0)
    device.close()


@pytest.mark.parametrize(
    ("last_uj", "now_uj", "after_s", "joules"),
    [
        pytest.param(RANGE_UJ - 1_000_000, 999_999, 0.05, 2.0, id="a wrap"),
        pytest.param(40_900_000_000, 0, 0.05, None, id="from zero after a suspend"),
        pytest.param(40_900_000_000, 40_899_999_939, 0.05, None, id="a unit back"),
        pytest.param(5_000_000, 90_000_000_000, 0.05, None, id="a step that no package makes"),
        pytest.param(5_000_000, 6_000_000, 600.0, None, id="so late that it may have wrapped"),
        pytest.param(5_000_000, 6_000_000, 60.0, 1.0, id="late"),
    ],
)
def test_a_wrap_is_believed_only_where_its_power_is_possible(
    tmp_path: Path, last_uj: int, now_uj: int, after_s: float, joules: float | None
) -> None:
    now_s = [0.0]
    counter = zone(tmp_path, "intel-rapl:0", "package-0", last_uj - 50_000_000 if last_uj > 50_000_000 else last_uj)
    device = open_rapl(tmp_path, clock=lambda: now_s[0])
    now_s[0] = 1.0
    counter.write_text(f"{last_uj}\n")
    before_j = device.read_fast().counter_j
    now_s[0] += after_s
    counter.write_text(f"{now_uj}\n")
    after_j = device.read_fast().counter_j
    assert before_j is not None
    assert after_j == (0.0 if joules is None else pytest.approx(before_j + joules))
    device.close()


def test_a_suspend_inside_a_window_leaves_no_energy_and_says_why(tmp_path: Path) -> None:
    now_s, total_uj = [0.0], 40_000_000_000
    counter = zone(tmp_path, "intel-rapl:0", "package-0", total_uj)
    device = open_rapl(tmp_path, clock=lambda: now_s[0])
    sampled = SampledDevice(device, "sampled", Schedule(clock=lambda: now_s[0], probe_periods=False), periods=PERIODS)
    for tick in range(800):
        now_s[0] = 0.05 * tick
        total_uj = 0 if tick == 300 else total_uj + 3_000_000
        counter.write_text(f"{total_uj}\n")
        sampled.sampler.tick()
    during, after = sampled.summarise(10.0, 14.5, 0), sampled.summarise(20.0, 30.0, 0)
    assert during.metrics["energy_j"] == pytest.approx(270.0, rel=0.01)
    assert after.metrics["energy_j"] == pytest.approx(600.0, rel=0.01)
    across = sampled.summarise(10.0, 30.0, 0)
    assert across.metrics["energy_j"] is None
    assert across.absent["energy_j"] == "the energy counter went backwards during the window"
    assert [found.code for found in across.findings] == ["GB412"]


def test_a_package_that_stands_still_beside_another_leaves_no_energy_and_is_named(tmp_path: Path) -> None:
    now_s, total_uj = [0.0], 40_000_000_000
    counter = zone(tmp_path, "intel-rapl:0", "package-0", total_uj)
    zone(tmp_path, "intel-rapl:1", "package-1", 7)
    device = open_rapl(tmp_path, clock=lambda: now_s[0])
    sampled = SampledDevice(device, "sampled", Schedule(clock=lambda: now_s[0], probe_periods=False), periods=PERIODS)
    for tick in range(400):
        now_s[0] = 0.05 * tick
        total_uj += 3_000_000
        counter.write_text(f"{total_uj}\n")
        sampled.sampler.tick()
    early, late = sampled.summarise(0.2, 4.2, 0), sampled.summarise(10.0, 14.5, 0)
    assert early.absent["energy_j"] == "the counter of package-1 stands still"
    assert late.metrics["energy_j"] is None
    assert late.absent["energy_j"].endswith("(counter: the counter of package-1 stands still)")


def test_a_counter_without_its_range_is_read(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 1_000_000)
    (tmp_path / "intel-rapl:0" / "max_energy_range_uj").unlink()
    device = open_rapl(tmp_path)
    counter.write_text("3000000\n")
    assert device.read_fast().counter_j == pytest.approx(2.0)
    device.close()


def refused(root: Path) -> TelemetryError:
    with pytest.raises(TelemetryError) as raised:
        open_rapl(root)
    return raised.value


def test_a_machine_without_powercap_says_so(tmp_path: Path) -> None:
    error = refused(tmp_path / "nothing")
    assert str(error) == "no RAPL counters: this kernel or virtual machine shows no powercap"
    assert "modprobe" in error.remedy
    assert str(refused(tmp_path)) == "no RAPL counters: /sys/class/powercap is empty"


def test_links_that_lead_nowhere_are_a_container_that_hides_the_counters(tmp_path: Path) -> None:
    for name in ("intel-rapl", "intel-rapl:0", "intel-rapl:0:0"):
        (tmp_path / name).symlink_to(f"../../devices/virtual/powercap/intel-rapl/{name}")
    error = refused(tmp_path)
    assert str(error) == "RAPL is hidden: the links in /sys/class/powercap lead nowhere, as in a container"
    assert "-v /sys/devices/virtual/powercap:/sys/devices/virtual/powercap:ro" in error.remedy


def test_counters_that_are_masked_in_place_are_hidden_as_well(tmp_path: Path) -> None:
    (tmp_path / "empty" / "intel-rapl:0").mkdir(parents=True)
    assert str(refused(tmp_path / "empty")).startswith("RAPL is hidden: the zones in /sys/class/powercap are empty")
    zone(tmp_path / "null", "intel-rapl:0", "package-0", 0).write_text("")
    assert str(refused(tmp_path / "null")).startswith("RAPL is hidden: energy_uj holds no number")


def test_zones_that_are_no_package_are_named(tmp_path: Path) -> None:
    zone(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    zone(tmp_path, "intel-rapl:0", "psys", 0)
    expected = "RAPL shows no CPU package, only intel-rapl-mmio:0 (package-0), intel-rapl:0 (psys)"
    assert str(refused(tmp_path)) == expected


def test_a_control_type_without_zones_says_so(tmp_path: Path) -> None:
    (tmp_path / "intel-rapl").mkdir()
    assert str(refused(tmp_path)) == "powercap shows no RAPL zone"


def test_counters_that_only_root_may_read_say_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zone(tmp_path, "intel-rapl:0", "package-0", 0)

    def denied(*_args: object) -> int:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("gpubench.telemetry.devices.rapl.os.open", denied)
    with pytest.raises(TelemetryError, match="RAPL needs root") as raised:
        open_rapl(tmp_path)
    assert "chmod" in raised.value.remedy


def test_a_counter_that_breaks_later_is_a_missing_reading(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", "package-0", 0)
    device = open_rapl(tmp_path)
    counter.write_text("not a number\n")
    assert device.read_fast().counter_j is None
    assert "not a number" in device.missing["counter_j"]
    device.close()
