"""What reports and screens of many cases cost. That a report of 1,000 cases, page, Markdown and charts, takes under 10 s
of one core is promised, so it is asserted.
"""

import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes.matrix import matrix_run, samples_of
from fakes.stored import stored

from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.report.view.samples import wanted
from gpubench.report.write import report_of, write_both, write_html
from gpubench.store.run_reader import Run

LIMIT_S = 10.0
MOST_BYTES_OF_200 = 2_000_000


def a_run(folder: Path, seeds: int, batches: tuple[int, ...] = (64, 256, 1024, 4096)) -> Run:
    """36 cases per seed and batch size: modes, devices, precisions, layouts, autotuning."""
    run = matrix_run(batches=batches, oom_from=4096, seeds=range(seeds))
    return stored(run, folder, samples_of(run, [entry.planned.index for entry in wanted(summarise_run(run))]))


@pytest.fixture(scope="module")
def large(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return a_run(tmp_path_factory.mktemp("store") / "large", seeds=7)


def test_a_report_of_1000_cases_is_written_in_time(large: Run, benchmark) -> None:
    assert len(large.info.cases) > 1000
    spent_s = []

    def write() -> None:
        started = time.process_time()
        write_both(report_of(large), large.folder)
        spent_s.append(time.process_time() - started)

    benchmark.pedantic(write, rounds=2)
    benchmark.extra_info["cpu_s"] = spent_s
    assert min(spent_s) < LIMIT_S


def test_a_page_of_200_cases_is_under_2_mb(tmp_path: Path, benchmark) -> None:
    run = a_run(tmp_path / "run", seeds=2, batches=(64, 256, 1024))
    page = benchmark.pedantic(lambda: write_html(report_of(run), tmp_path / "page.html"), rounds=1)
    assert len(run.info.cases) > 200
    assert page.stat().st_size < MOST_BYTES_OF_200


@pytest.mark.parametrize("command", ["show", "report"])
def test_ten_thousand_cases_are_shown(tmp_path: Path, benchmark, command: str) -> None:
    """Seconds and MB, for comparison between versions: nothing is promised."""
    run = a_run(tmp_path / "run", seeds=70)
    assert len(run.info.cases) > 10_000
    del run
    arguments = [sys.executable, "-m", "gpubench", command, str(tmp_path / "run")]
    benchmark.pedantic(lambda: subprocess.run(arguments, stdout=subprocess.DEVNULL, check=True), rounds=1)
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    benchmark.extra_info.update(cpu_s=used.ru_utime + used.ru_stime, most_mb=used.ru_maxrss / 1024)
