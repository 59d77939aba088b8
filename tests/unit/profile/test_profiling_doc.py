"""The worked session of `docs/profiling.md`, on its stored trace."""

import json
from pathlib import Path

import pytest
from fakes import traces

from gpubench.cli.main import main
from gpubench.core.findings import FINDINGS
from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace

DOCS = Path(__file__).parents[3] / "docs"
TRACE = DOCS / "traces" / "bf16-no-faster.json"


def test_the_stored_trace_is_the_synthetic_one_it_is_said_to_be(tmp_path: Path):
    made = traces.write_kineto(traces.bf16_no_faster(), tmp_path / "t.json")
    assert json.loads(TRACE.read_text()) == json.loads(made.read_text())
    assert "synthetic" in json.loads(TRACE.read_text())["deviceProperties"][0]["name"]


def test_the_screen_in_the_page_is_what_the_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.chdir(DOCS.parent)
    assert main(["profile", "read", "docs/traces/bf16-no-faster.json"]) == 0
    shown = (DOCS / "profiling.md").read_text().split("```text\nProfile\n")[1].split("```")[0]
    assert capsys.readouterr().out == f"Profile\n{shown}"


def test_the_cause_that_the_page_names_is_the_one_the_trace_shows():
    summary = summarize(read_trace(TRACE))
    device = summary.devices[0]
    assert device.bound == "input"
    assert device.tensor_core_share == pytest.approx(2400 / 3620)
    assert device.idle_reasons.input > 0.9 * device.idle
    assert device.copies["h2d"].pageable_bytes == device.copies["h2d"].bytes
    assert {each.code for each in summary.warnings} == {"GB504", "GB506", "GB510"}


def test_every_failure_in_the_page_is_a_message_of_the_code():
    page = (DOCS / "profiling.md").read_text()
    profile = DOCS.parent / "gpubench" / "profile"
    sources = " ".join([*FINDINGS, *(path.read_text() for path in profile.rglob("*.py"))])
    messages = [
        line.split("`")[1] for line in page.split("## When it does not work")[1].splitlines() if line.startswith("| `")
    ]
    assert len(messages) == 13
    for message in messages:
        words = message.removeprefix("nsys ")
        assert words in sources, message
