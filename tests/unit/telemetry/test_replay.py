import math
from pathlib import Path

import pytest

from gpubench.telemetry.devices.base import FastReading, Identity, SlowReading
from gpubench.telemetry.devices.replay import Recording, ReplayBackend, load_recording

FAST = {"time_s": [100.0, 100.1, 100.2], "power_instant_w": [300.0, None, 320.0], "counter_j": [0.0, 30.0, 62.0]}
SLOW = {"time_s": [100.0], "temperature_c": [51.0]}


def test_the_reading_of_the_moment_is_played_back() -> None:
    clock = [7.0]
    device = ReplayBackend(Recording("card", FAST, SLOW), clock=lambda: clock[0]).open(Identity())
    assert device.read_fast() == FastReading(power_instant_w=300.0, counter_j=0.0)
    assert device.read_slow() == SlowReading(temperature_c=51.0)
    clock[0] = 7.15
    assert device.read_fast() == FastReading(power_instant_w=None, counter_j=30.0)
    clock[0] = 7.2
    assert device.read_fast().counter_j == 62.0


def test_after_its_end_a_recording_gives_nothing_and_says_why() -> None:
    clock = [0.0]
    device = ReplayBackend(Recording("card", FAST, SLOW), clock=lambda: clock[0]).open(Identity())
    clock[0] = 1.0
    assert device.read_fast() == FastReading()
    assert device.missing["counter_j"] == "the recording is over"


def test_a_recording_survives_its_file_and_keeps_gaps(tmp_path: Path) -> None:
    path = tmp_path / "recording.json"
    Recording("card", {**FAST, "power_average_w": [math.nan, 1.0, 2.0]}, SLOW).save(path)
    loaded = load_recording(path)
    assert loaded.fast == {**FAST, "power_average_w": [None, 1.0, 2.0]}
    assert (loaded.name, loaded.slow) == ("card", SLOW)
    assert loaded.duration_s == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("fast", "message"),
    [
        ({}, "no fast readings"),
        ({"time_s": [1.0], "watts": [2.0]}, "unknown fast columns"),
        ({"time_s": [1.0, 2.0], "counter_j": [2.0]}, "one length"),
        ({"counter_j": [2.0]}, "time_s among them"),
    ],
)
def test_what_is_no_recording_is_refused(fast: dict[str, list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Recording("card", fast, {})


def test_another_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "other.json"
    path.write_text('{"schema": 7}')
    with pytest.raises(ValueError, match="not a telemetry recording"):
        load_recording(path)
