import ast
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
TABLE = (ROOT / "docs" / "gpu-evidence.md").read_text()
ROWS = [[cell.strip() for cell in line.strip("|").split("|")] for line in TABLE.splitlines() if line.startswith("| ")][
    1:
]


def _gpu_tests():
    return {
        node.name
        for path in (ROOT / "tests" / "gpu").glob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }


def _shown_by():
    return {name for row in ROWS for name in re.findall(r"`([^`]+)`", row[1])}


def test_every_gpu_test_stands_in_the_table_and_every_test_of_the_table_exists():
    assert {name for name in _shown_by() if name.startswith("test_")} == _gpu_tests()


def test_every_suite_and_command_of_the_table_exists():
    others = {name for name in _shown_by() if not name.startswith("test_")}
    for name in others:
        assert name.startswith("gpubench ") or (ROOT / name).is_file(), name


def test_the_acceptance_script_runs_every_suite_of_the_table_and_every_test_that_needs_a_gpu():
    script = (ROOT / "scripts" / "gpu_acceptance.sh").read_text()
    suites = {Path(name).stem for name in _shown_by() if name.startswith("suites/")}
    assert suites <= set(re.findall(r"^ .* suite ([a-z0-9-]+)", script, re.MULTILINE))
    assert re.search(r"^ .* tests tests/gpu tests/unit$", script, re.MULTILINE)


def test_a_claim_was_shown_in_a_run_that_is_published_or_not_yet():
    for claim, _, shown in ROWS:
        run = re.search(r"`(reports/[^`]+)`", shown)
        assert shown == "not yet shown" or (run and (ROOT / run[1] / "run.json").is_file()), claim
