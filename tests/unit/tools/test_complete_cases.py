import dataclasses
import importlib.util
from pathlib import Path

from fakes.runs import cpu_run
from fakes.stored import stored

ROOT = Path(__file__).parents[3]


def test_a_case_is_complete_when_it_has_all_its_launches(tmp_path):
    spec = importlib.util.spec_from_file_location("complete_cases", ROOT / "scripts" / "complete_cases.py")
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    run = cpu_run()
    stored(run, tmp_path / "whole")
    assert script.complete_cases(tmp_path / "whole") == (2, 2), "what the machine cannot run is not counted"
    last = max(record.repeat for record in run.records)
    cut = [record for record in run.records if (record.case_index, record.repeat) != (1, last)]
    stored(dataclasses.replace(run, records=tuple(cut)), tmp_path / "cut")
    assert script.complete_cases(tmp_path / "cut") == (1, 2)
