"""Invented runs as run folders, written by the real store."""

from pathlib import Path

from fakes.runs import FakeRun

from gpubench.report.view.samples import Samples
from gpubench.store.run_reader import Run, load_run
from gpubench.store.run_writer import RunWriter
from gpubench.store.sample_files import write_samples

START_S = 100.0


def stored(run: FakeRun, folder: Path, samples: Samples | None = None) -> Run:
    """The run as it is read back from `folder`. Launches keep the name of a samples file only where `samples` has them."""
    steps = {(index, launch.repeat): launch for index, launches in (samples or {}).items() for launch in launches}
    with RunWriter.create(folder, run.info) as writer:
        for record in run.records:
            launch = steps.get((record.case_index, record.repeat))
            name = None
            if launch is not None and record.series is not None:
                warmup = [launch.step_times_s[0]] * record.series.num_warmup
                telemetry = {
                    f"telemetry_{key}": [value + START_S for value in values]
                    if key.endswith("_time_s")
                    else list(values)
                    for key, values in launch.telemetry.items()
                }
                arrays = {"step_times_s": [*warmup, *launch.step_times_s], **telemetry}
                name = write_samples(folder, f"{record.case_index:04d}-{record.repeat}", arrays)
            writer.append(record.model_copy(update={"samples": name}))
        for contest in run.contests:
            writer.append_contest(contest)
    return load_run(folder)
