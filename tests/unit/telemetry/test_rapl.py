from pathlib import Path

import pytest

from gpubench.telemetry.devices.base import TelemetryError
from gpubench.telemetry.devices.rapl import open_rapl

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


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    with pytest.raises(TelemetryError, match="no RAPL counters on this machine"):
        open_rapl(tmp_path / "nothing")


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
