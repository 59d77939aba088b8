"""Publish the outcome of a check in files and on GitHub."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from gpubench.analysis.gate.gate_outcome import Checked
    from gpubench.report.model.report_model import ReportModel


def write_files(checked: "Checked", *, gate: Path | None, junit: Path | None) -> None:
    """`gate.json` and JUnit XML, each whole or not at all. StoreError if one cannot be written."""
    from gpubench.report.comparison.json_documents import gate_document, to_lines
    from gpubench.report.render.junit import junit_xml
    from gpubench.store.atomic_files import store_error, write_atomically

    texts = [] if gate is None else [(gate, to_lines(gate_document(checked)))]
    texts += [] if junit is None else [(junit, junit_xml(checked))]
    for path, text in texts:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise store_error("make", path.parent, error) from error
        write_atomically(path, text.encode())


def tell_github(checked: "Checked", model: "ReportModel") -> None:
    """The job's summary page and annotations, in a workflow. Annotations go to stderr: stdout is for results."""
    from gpubench.report.render.github import annotations, step_summary
    from gpubench.store.atomic_files import store_error

    summary = os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        try:
            with Path(summary).open("a", encoding="utf-8") as file:
                file.write(step_summary(model))
        except OSError as error:
            raise store_error("write", Path(summary), error) from error
    if os.environ.get("GITHUB_ACTIONS") == "true":
        for each in annotations(checked):
            click.echo(each, err=True)
