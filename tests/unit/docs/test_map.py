"""The map of the code names files that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[3]
GONE = {"cli/exit_status.py"}
"""Names that the page says were guessed and are no more."""


def test_every_file_on_the_map_exists():
    page = (ROOT / "docs" / "map.md").read_text(encoding="utf-8")
    named = {name for name in re.findall(r"`([\w/]+\.py)`", page) if "/" in name} - GONE
    assert len(named) > 40
    assert [name for name in sorted(named) if not (ROOT / "gpubench" / name).exists()] == []
