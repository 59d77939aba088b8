"""The comparison with other tools: what it reads from stored pairs. The tools themselves are not run here."""

import importlib.util
import json
import re
import sys
from dataclasses import asdict
from pathlib import Path

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[3]


@pytest.fixture
def peers(monkeypatch):
    spec = importlib.util.spec_from_file_location("peers", ROOT / "scripts" / "peers.py")
    script = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "peers", script)
    spec.loader.exec_module(script)
    return script


def test_a_table_has_a_row_per_tool_with_changes_and_its_own_verdicts(peers, tmp_path):
    pairs = [
        peers.Pair("one", "identical", 0.012, "not significant", "", 10.0),
        peers.Pair("one", "slower", 0.03, "slower", "", 20.0),
        peers.Pair("two", "identical", -0.004, None, "", 5.0),
    ]
    (tmp_path / "pairs.jsonl").write_text("".join(json.dumps(asdict(pair)) + "\n" for pair in pairs))
    done = CliRunner().invoke(peers.main, ["report", "--folder", str(tmp_path)])
    assert done.output.splitlines()[2:] == [
        "| one | +1.2%: not significant | +3.0%: slower | 15 |",
        "| two | -0.4%: no verdict |  | 5 |",
    ]


def test_the_published_table_is_made_from_the_stored_pairs(peers):
    done = CliRunner().invoke(peers.main, ["report", "--folder", str(ROOT / "reports" / "peers")])
    page = (ROOT / "docs" / "peers.md").read_text(encoding="utf-8")
    assert done.output.strip() in page


def test_a_tool_that_is_not_installed_is_left_out_and_said_to_be(peers, tmp_path, monkeypatch):
    (tmp_path / "step.json").write_text('{"median_s": 0.01}')
    monkeypatch.setattr(peers, "TOOLS", {"absent": ("no_such_module", None)})
    done = CliRunner().invoke(peers.main, ["measure", "--folder", str(tmp_path), "--pairs", "1"])
    assert re.search("absent is not installed: left out", done.output)
    assert done.exit_code == 0
