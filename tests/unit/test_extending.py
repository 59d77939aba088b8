"""docs/extending.md, as it stands there: a package outside adds a metric, a finding, a section and telemetry.

Its workload is run in tests/integration/test_extending.py.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.extension_package import add_distribution, install

from gpubench import extend
from gpubench.core.findings import FINDINGS
from gpubench.core.metrics import METRICS
from gpubench.report.build import ORDER, sections


def python(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(folder), str(Path(extend.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, **variables}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, capture_output=True, text=True, timeout=120, check=False
    )


@pytest.fixture(scope="module")
def package(tmp_path_factory) -> Path:
    return install(tmp_path_factory.mktemp("site"))


def test_an_added_metric_is_listed(package):
    done = python(package, "-m", "gpubench", "list", "metrics", "sparsity", "--json")
    (entry,) = json.loads(done.stdout)["metrics"]
    assert (entry["meaning"], entry["over_launches"]) == ("Share of the output that is zero.", "mean")


def test_an_added_finding_is_listed(package):
    done = python(package, "-m", "gpubench", "list", "findings", "ACME101", "--json")
    (entry,) = json.loads(done.stdout)["findings"]
    assert (entry["name"], entry["effect"]) == ("mostly-zero", "weakens")


REPORT = """
from fakes.runs import cpu_run
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.build import build_report
from gpubench.report.view.run_view import View

made = cpu_run(2)
for index, record in enumerate(made.records):
    record.metrics["sparsity"] = 0.5
report = build_report(View(summarise_run(made)))
(section,) = [each for each in report.sections if each.key == "sparsity"]
print(section.heading, section.tables[0].rows[0].cells[1].text)
(cases,) = [each for each in report.sections if each.key == "cases"]
print("sparsity" in [column.key for column in cases.tables[0].columns])
"""


def test_an_added_section_and_metric_are_in_the_report(package):
    done = python(package, "-c", f"import sys; sys.path.append({str(Path(__file__).parents[1])!r})\n{REPORT}")
    assert done.stdout.splitlines() == ["Sparsity 50%", "True"], done.stderr


TELEMETRY = """
import time
from gpubench.telemetry.devices import nvml, open_backend as opened
from gpubench.telemetry.devices.base import NullBackend
from gpubench.telemetry.monitor import Monitor

nvml.open_backend = lambda clock: NullBackend("no NVIDIA driver")
opened.open_rocm = lambda clock: None
with Monitor("board") as monitor:
    start_s = time.monotonic()
    time.sleep(0.5)
    window = monitor.window(start_s, time.monotonic())
print(monitor.name, window.mean_power_w)
"""


@pytest.mark.slow
def test_added_telemetry_is_opened_where_no_driver_is(package, tmp_path):
    power = tmp_path / "power1_average"
    power.write_text("42000000\n")
    done = python(package, "-c", TELEMETRY.replace("print(monitor.name", "print('ACME board'"), ACME_POWER=str(power))
    assert done.stdout.split() == ["ACME", "board", "42.0"], done.stderr


def test_telemetry_that_has_nothing_here_leaves_the_reason(package, tmp_path):
    program = TELEMETRY.split("with Monitor")[0] + "print(opened.open_backend().reason)"
    done = python(package, "-c", program, ACME_POWER=str(tmp_path / "none"))
    assert done.stdout.strip() == "no NVIDIA driver", done.stderr


BROKEN = {
    "one.py": "raise RuntimeError('no licence')",
    "two.py": "METRIC = 3",
    "three.py": "from gpubench.extend import MetricSpec\n"
    "TAKEN = MetricSpec('throughput', '1', 't', None, 'm')\nODD = MetricSpec('Odd-name', '1', 't', None, 'm')",
    "four.py": "from gpubench.extend import Effect, FindingSpec, Severity\n"
    "OURS = FindingSpec('GB999', 'n', Severity.INFO, Effect.NONE, 'm', 'm', 'r')",
}


def test_a_broken_package_is_named_and_left_out(tmp_path):
    for name, source in BROKEN.items():
        (tmp_path / name).write_text(source)
    metrics = {"a": "one:X", "b": "two:METRIC", "c": "three:TAKEN", "d": "three:ODD"}
    entries = {"gpubench.metrics": metrics, "gpubench.findings": {"e": "four:OURS"}}
    add_distribution(tmp_path, "broken-things", entries)
    program = "from gpubench.core.findings import FINDINGS\nfrom gpubench.core.metrics import METRICS\n"
    done = python(tmp_path, "-c", f"{program}print(len(METRICS.added), len(FINDINGS.added))")
    assert done.stdout.split() == ["0", "0"]
    for said in (
        "'a' of broken-things (gpubench.metrics) was left out: RuntimeError: no licence",
        "'b' of broken-things (gpubench.metrics) was left out: expected a MetricSpec, got 3",
        "'c' of broken-things (gpubench.metrics) was left out: 'throughput' exists already",
        "'d' of broken-things (gpubench.metrics) was left out: 'Odd-name' is not a metric name",
        "'e' of broken-things (gpubench.findings) was left out: GB999: codes that begin with GB are gpubench's own",
    ):
        assert said in done.stderr


def test_a_section_that_fails_does_not_fail_the_report(monkeypatch):
    from gpubench.core.extensions import Extension
    from gpubench.report import build

    def section(view):
        raise KeyError("sparsity")

    monkeypatch.setattr(build, "extensions", lambda _: (Extension("'acme' of acme-bench", section),))
    added = [topic for topic in sections() if topic not in ORDER.values()]
    with pytest.warns(extend.ExtensionWarning, match="'acme' of acme-bench was left out: KeyError: 'sparsity'"):
        assert added[0](None) is None


def test_the_help_page_reads_no_entry_points(package):
    program = (
        "import sys, importlib.metadata\n"
        "def refuse(**_): raise AssertionError('entry points were read')\n"
        "importlib.metadata.entry_points = refuse\n"
        "sys.argv = ['gpubench', '--help']\n"
        "from gpubench.cli.main import main\nmain()"
    )
    done = python(package, "-c", program)
    assert "Usage" in done.stdout or "usage" in done.stdout.lower(), done.stderr
    assert "AssertionError" not in done.stderr


def test_a_built_in_name_answers_without_entry_points(monkeypatch):
    monkeypatch.setattr("gpubench.core.extensions.extensions", None)
    assert METRICS["throughput"].unit == "samples/s"
    assert "GB301" in FINDINGS


def test_every_public_name_of_extend_can_be_imported():
    assert all(getattr(extend, name) is not None for name in extend.__all__)
    assert sorted(extend._HOMES) == sorted(extend.__all__)
