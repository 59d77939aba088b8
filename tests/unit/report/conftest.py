import pytest
from fakes.matrix import matrix_run, samples_of
from fakes.runs import FakeRun

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import RunSummary, summarise_run
from gpubench.report.build import build_report
from gpubench.report.model.report_model import ReportModel
from gpubench.report.view.run_view import View
from gpubench.report.view.samples import Samples, wanted


@pytest.fixture(scope="session")
def matrix() -> FakeRun:
    """GPU and CPU, two modes, four batch sizes, fp32 out of memory at the largest."""
    return matrix_run(batches=(64, 256, 1024, 4096), oom_from=4096)


@pytest.fixture(scope="session")
def matrix_summary(matrix: FakeRun) -> RunSummary:
    return summarise_run(matrix)


@pytest.fixture(scope="session")
def matrix_samples(matrix: FakeRun, matrix_summary: RunSummary) -> Samples:
    return samples_of(matrix, [entry.planned.index for entry in wanted(Decision(matrix_summary))])


@pytest.fixture(scope="session")
def matrix_model(matrix_summary: RunSummary, matrix_samples: Samples) -> ReportModel:
    return build_report(View(matrix_summary, name="20261123", samples=matrix_samples, charts=True, most_rows=40))
