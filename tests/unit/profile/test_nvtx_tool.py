"""The recording tool itself, against the real nvtx package: what it reports is what a profiler would see."""

from pathlib import Path

import pytest
from fakes import nvtx_tool

pytestmark = pytest.mark.skipif(nvtx_tool.compiler() is None, reason="no C compiler")

PROGRAM = """
import nvtx
domain = nvtx.get_domain("gpubench")
print(type(domain).__name__)
step = domain.get_event_attributes(message="step", category="phase", payload=3)
inner = domain.get_event_attributes(message="forward")
capture = domain.start_range(domain.get_event_attributes(message="capture"))
domain.push_range(step)
domain.push_range(inner)
domain.pop_range()
domain.pop_range()
domain.end_range(capture)
"""


def test_domain_nesting_category_and_payload_are_seen(tmp_path: Path):
    record = tmp_path / "events.txt"
    events, printed = nvtx_tool.run(PROGRAM, nvtx_tool.build(tmp_path), record)
    assert printed.strip() == "Domain"
    assert [(each.kind, each.domain, each.name, each.depth, each.payload) for each in events] == [
        ("start", "gpubench", "capture", 0, "-"),
        ("push", "gpubench", "step", 0, "3"),
        ("push", "gpubench", "forward", 1, "-"),
    ]
    assert events[1].category != events[2].category
    assert "category\tgpubench\t" in record.read_text()
    assert nvtx_tool.balance(record) == {"push": 0, "start": 0}


def test_a_tool_that_refuses_the_extension_silences_newer_packages(tmp_path: Path):
    """What nsys 2022.4 and 2023.4 do to nvtx 0.2.12 and newer: a dummy domain, and not one event."""
    from importlib.metadata import version

    if tuple(int(part) for part in version("nvtx").split(".")[:3]) < (0, 2, 12):
        pytest.skip(f"nvtx {version('nvtx')} does not ask for the extension")
    events, printed = nvtx_tool.run(PROGRAM, nvtx_tool.build(tmp_path, refuse_extension=True), tmp_path / "events.txt")
    assert printed.strip() == "DummyDomain"
    assert events == []
