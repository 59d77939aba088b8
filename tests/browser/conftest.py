"""A real browser: Debian's chromium and its driver, through selenium. Skipped with the reason where there is none."""

import itertools
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.matrix import matrix_run, samples_of
from fakes.runs import NO_DRIVER, NO_GPU_ENVIRONMENT, FakeRun, Invented, cpu_run, in_turns
from fakes.stored import stored

from gpubench.analysis.insight.decision import Decision
from gpubench.analysis.summary.run_summary import summarise_run
from gpubench.core.records import Status
from gpubench.report.comparison.versus import runs_report
from gpubench.report.model.report_model import ReportModel
from gpubench.report.view.samples import wanted
from gpubench.report.write import report_of, write_html

selenium = pytest.importorskip("selenium", reason="selenium is not installed (the `test` extra brings it)")

from selenium import webdriver  # noqa: E402
from selenium.webdriver.chrome.options import Options  # noqa: E402
from selenium.webdriver.chrome.service import Service  # noqa: E402

Driver = webdriver.Chrome
ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
    "--no-first-run",
    "--disable-quic",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
"""Nothing of the browser's own goes to the network: what leaves would be the page's doing."""

SMALL = {"batches": (64, 256), "oom_from": 256}


def _program(*names: str) -> str | None:
    return next((path for name in names if (path := shutil.which(name))), None)


@pytest.fixture(scope="session")
def browser() -> Iterator[Driver]:
    chromium, driver = _program("chromium", "chromium-browser", "google-chrome"), _program("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no browser: install chromium and chromium-driver to test the page in one")
    options = Options()
    options.binary_location = chromium
    for argument in ARGUMENTS:
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    opened = webdriver.Chrome(options=options, service=Service(driver))
    opened.set_script_timeout(60)
    yield opened
    opened.quit()


def long_names() -> FakeRun:
    """Cases whose workload has a long name, in two sizes, one of which is far from the others in one launch."""
    made = Invented()
    workload = "a_package_of_models.vision.transformers:VisionTransformerLargePatch16WithRegisters"
    for precision, batch in itertools.product(("fp32", "amp-bf16"), (32, 64)):
        where = {"workload": workload, "mode": "train", "device": "cuda", "precision": precision, "batch_size": batch}
        made.measured(f"{workload} {precision} b{batch}", 100.0 * batch, spread=0.2, **where)
        made.measured(f"cnn {precision} b{batch}", 900.0 * batch, **{**where, "workload": "cnn"})
    return made.run()


def skipped() -> FakeRun:
    made = Invented()
    for precision in ("fp32", "tf32", "amp-fp16", "amp-bf16"):
        skip = (Status.SKIPPED, f"no CUDA device: {NO_DRIVER}")
        made.plan(f"cuda {precision}", skip=skip, device="cuda", precision=precision, batch_size=64)
    return made.run(environment=NO_GPU_ENVIRONMENT)


class Pages(dict[str, Path]):
    """Pages by what they show, each written when it is first asked for."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __missing__(self, name: str) -> Path:
        self[name] = write_html(self._model(name), self.folder / f"{name}.html")
        return self[name]

    def _model(self, name: str) -> ReportModel:
        if name == "versus":
            after = matrix_run(**SMALL, tag="after", modes=("train",), seed=9, speed={"amp-bf16": 0.9})
            return runs_report(after, [matrix_run(**SMALL, tag="before")], allow_unpaired=True)
        run, samples = RUNS[name](), None
        if name == "run":
            chosen = [entry.planned.index for entry in wanted(Decision(summarise_run(run)))]
            samples = samples_of(run, chosen, num_steps=100)
        return report_of(stored(run, self.folder / name, samples), "before")


RUNS: dict[str, Callable[[], FakeRun]] = {
    "run": lambda: in_turns(matrix_run(**SMALL, tag="before")),
    "no contest": lambda: cpu_run(3),
    "many": lambda: matrix_run(seeds=range(2), oom_from=1024),
    "long": long_names,
    "skipped": skipped,
}


@pytest.fixture(scope="session")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run with everything, one without a contest, of many cases, of long names, with no figure; a comparison."""
    return Pages(tmp_path_factory.mktemp("pages"))


@pytest.fixture(scope="session")
def axe() -> str:
    """The source of axe-core, fetched by npm into a cache folder."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "gpubench-tests"
    script = cache / "node_modules" / "axe-core" / "axe.min.js"
    if not script.is_file():
        npm = shutil.which("npm")
        if npm is None:
            pytest.skip("no accessibility check: npm is not installed, which fetches axe-core")
        cache.mkdir(parents=True, exist_ok=True)
        command = [npm, "install", "--no-save", "--no-audit", "--no-fund", "--prefix", str(cache), "axe-core@4"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
        if done.returncode != 0 or not script.is_file():
            pytest.skip(f"no accessibility check: npm cannot fetch axe-core ({done.stderr.strip()[-200:]!r})")
    return script.read_text(encoding="utf-8")
