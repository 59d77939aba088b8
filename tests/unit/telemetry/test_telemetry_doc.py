"""The documentation's example runs as it stands there."""

import re
from pathlib import Path

import pytest
from fakes.nvml.control import Fake

from gpubench.telemetry.monitor import MonitorWindow

PAGE = Path(__file__).parents[3] / "docs" / "telemetry.md"
EXAMPLE = re.search(r"```python\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL)


def run_example(capsys: pytest.CaptureFixture[str]) -> str:
    assert EXAMPLE is not None
    worked = []
    exec(compile(EXAMPLE[1], str(PAGE), "exec"), {"work": lambda: worked.append(sum(range(3_000_000)))})
    assert worked
    return capsys.readouterr().out


def test_the_example_prints_energy_with_its_uncertainty(
    fake: Fake, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("gpubench.telemetry.devices.cuda_visible._ask_cuda", lambda _number, _environ: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    fake.add_device()
    fake.trace([(0.0, 333.0)])
    said = run_example(capsys)
    found = re.match(
        r"\d+ J ± (\d+\.\d) % from counter_ticks\n(\d+) W mean, valid: False \(the window of .* is shorter", said
    )
    assert found is not None, said
    assert float(found[2]) == pytest.approx(333.0, rel=float(found[1]) / 100 + 0.01)


def test_the_example_says_why_there_is_nothing(fake: Fake, capsys: pytest.CaptureFixture[str]) -> None:
    fake.rule("nvmlInitWithFlags", 12)
    assert run_example(capsys) == "energy: n/a, no NVIDIA driver\n"


def test_every_field_in_the_table_is_a_field_of_a_window() -> None:
    rows = re.findall(r"^\| (`.+?) \|", PAGE.read_text(encoding="utf-8").split("## How energy")[0], re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    fields = set(MonitorWindow.__dataclass_fields__) - {"start_s", "end_s", "detail"}
    assert named == fields
