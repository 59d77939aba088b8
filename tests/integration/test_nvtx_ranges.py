"""The ranges of a profiled case as the recording tool sees them, with and without the newer extension."""

import json

import pytest
from fakes import nvtx_tool

pytestmark = pytest.mark.skipif(nvtx_tool.compiler() is None, reason="no C compiler")

PROGRAM = """
import sys
from gpubench.worker.profiling import profiled_steps as profilers
sys.exit(profilers.main([sys.argv[1]] if len(sys.argv) > 1 else [{job!r}]))
"""
STEPS = 3
PHASES = ["data", "h2d", "forward", "loss", "backward", "optimizer"]


@pytest.fixture(scope="module", params=["listening", "refusing the extension"])
def recorded(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    folder = tmp_path_factory.mktemp("ranges")
    library = nvtx_tool.build(folder, refuse_extension=request.param != "listening")
    job = {
        "tool": "nsys",
        "case": {"workload": "cnn", "batch_size": 4},
        "steps": STEPS,
        "warmup_steps": 2,
        "warmup_s": 0,
    }
    job |= {"suite": "my suite", "label": "train fp32 b4", "folder": str(folder)}
    (folder / "job.json").write_text(json.dumps(job))
    record = folder / "events.txt"
    program = PROGRAM.format(job=str(folder / "job.json"))
    events, _ = nvtx_tool.run(program, library, record, OMP_NUM_THREADS="1")
    return request.param, events, record, json.loads((folder / "worker.json").read_text())


def captured(events):
    """What lies after the start of `capture`."""
    names = [each.name for each in events]
    return events[names.index("capture") :]


def test_the_emitter_says_what_it_did(recorded):
    form, _, _, result = recorded
    assert result["status"] == "ok"
    assert result["emitter"] == ("on" if form == "listening" else "forced")


def test_capture_is_a_start_end_range_and_the_rest_is_pushed_inside_it(recorded):
    _, events, _, _ = recorded
    inside = captured(events)
    assert (inside[0].kind, inside[0].domain) == ("start", "gpubench")
    assert [(each.name, each.depth) for each in inside[1:4]] == [
        ("suite:my_suite", 0),
        ("case:train_fp32_b4", 1),
        ("steady", 2),
    ]


def test_every_step_has_its_index_and_its_phases_in_order(recorded):
    _, events, _, _ = recorded
    inside = captured(events)[4:]
    assert [(each.name, each.depth) for each in inside] == [("step", 3), *((phase, 4) for phase in PHASES)] * STEPS
    assert [each.payload for each in inside if each.name == "step"] == ["0", "1", "2"]


def test_no_step_is_marked_before_the_capture_opens(recorded):
    _, events, _, _ = recorded
    names = [each.name for each in events]
    assert "step" not in names[: names.index("capture")]


def test_all_that_is_opened_is_closed(recorded):
    _, _, record, _ = recorded
    assert nvtx_tool.balance(record) == {"push": 0, "start": 0}


def test_names_hold_only_characters_that_filters_take(recorded):
    _, events, _, _ = recorded
    allowed = set("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_.:=-")
    assert all(set(each.name) <= allowed for each in events if each.domain == "gpubench")


def test_for_ncu_phases_are_ranges_of_the_process(tmp_path):
    """It lists with a kernel the ranges of its own thread and of its process, and autograd has another thread."""
    job = {
        "tool": "ncu",
        "case": {"workload": "cnn", "batch_size": 4},
        "steps": 1,
        "warmup_steps": 1,
        "warmup_s": 0,
        "folder": str(tmp_path),
    }
    (tmp_path / "job.json").write_text(json.dumps(job))
    record = tmp_path / "events.txt"
    program = PROGRAM.format(job=str(tmp_path / "job.json"))
    events, _ = nvtx_tool.run(program, nvtx_tool.build(tmp_path), record, OMP_NUM_THREADS="1")
    inside = captured(events)
    assert [each.name for each in inside if each.kind == "start"] == ["capture", *PHASES]
    assert [each.name for each in inside if each.kind == "push"] == ["suite:", "case:", "steady", "step"]
    assert nvtx_tool.balance(record) == {"push": 0, "start": 0}
