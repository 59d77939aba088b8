"""A stored run as a sink gets it."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from gpubench.analysis.compare.run_sides import arms_of, commit_of
from gpubench.analysis.summary.case_summary import CaseSummary
from gpubench.analysis.summary.run_summary import RecordedRun, RunSummary, summarise_run
from gpubench.report.render.json_document import run_document, to_json
from gpubench.report.write import REPORT_NAME, RunInFolder, report_of, write_html
from gpubench.store.run_info import RunInfo
from gpubench.store.run_reader import RECORDS_NAME


@dataclass(frozen=True)
class ExportedRun:
    """`sides`: the summary of each arm by its name; that of a run without arms is under the empty name."""

    stored: RunInFolder
    sides: Mapping[str, RunSummary]

    @property
    def info(self) -> RunInfo:
        return self.stored.info

    def cases(self) -> Iterator[tuple[str, CaseSummary]]:
        """Every measured case and quality entry with its arm."""
        for arm, summary in self.sides.items():
            yield from ((arm, case) for case in summary.cases)
            yield from ((arm, entry.summary) for entry in summary.quality)

    def facts(self) -> dict[str, str]:
        """What identifies the run, its code and its machine; only what is known."""
        environment = self.info.environment
        versions = {**(environment.get("packages") or {}), **(environment.get("worker") or {})}
        gpus = [gpu.get("name") for gpu in environment.get("gpus") or ()]
        found = {
            "suite": self.info.suite_name,
            "run": self.info.run,
            "tag": self.info.tag,
            "created": self.info.created,
            "commit": commit_of(self.stored),
            "host": environment.get("hostname"),
            "gpu": ", ".join(dict.fromkeys(name for name in gpus if name)),
            "cpu": (environment.get("cpu") or {}).get("model"),
            "driver": (environment.get("driver") or {}).get("driver"),
            **{name: versions.get(name) for name in ("gpubench", "torch", "cuda", "cudnn")},
        }
        return {name: str(value) for name, value in found.items() if value}

    @contextmanager
    def documents(self) -> Iterator[tuple[Path, ...]]:
        """The HTML report and a JSON document per side, as files that last as long as the context.

        A report in the run's folder is used unless the run has grown since; else one is made.
        """
        with TemporaryDirectory(prefix="gpubench-") as scratch:
            paths = [_current_report(self.stored.folder) or self._write_report(Path(scratch))]
            for arm, summary in self.sides.items():
                name = f"run-{re.sub(r'[^A-Za-z0-9_.-]', '_', arm)}.json" if arm else "run.json"
                path = Path(scratch) / name
                path.write_text(to_json(run_document(summary)), encoding="utf-8")
                paths.append(path)
            yield tuple(paths)

    def _write_report(self, folder: Path) -> Path:
        model = report_of(self.stored, self.info.run, self.sides.get(""))
        return write_html(model, folder / f"{REPORT_NAME}.html")


def summarise_sides(run: RecordedRun, *, price_per_hour: float | None = None) -> dict[str, RunSummary]:
    """The `sides` of an `ExportedRun`."""
    arms = arms_of(run) or (None,)
    return {arm or "": summarise_run(run, arm=arm, price_per_hour=price_per_hour) for arm in arms}


def _current_report(folder: Path) -> Path | None:
    report, records = folder / f"{REPORT_NAME}.html", folder / RECORDS_NAME
    try:
        return report if report.stat().st_mtime_ns >= records.stat().st_mtime_ns else None
    except OSError:
        return None
