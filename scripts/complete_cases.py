"""`python scripts/complete_cases.py RUN` says how many cases of a run have all their launches."""

import sys
from pathlib import Path

from gpubench.runner.schedule import LaunchSchedule
from gpubench.store.run_reader import load_run
from gpubench.suite.model.suite import Suite


def complete_cases(folder: Path) -> tuple[int, int]:
    """Of the cases that the machine can run, those with nothing left to measure, and all of them."""
    run = load_run(folder)
    suite = Suite.model_validate(run.info.suite)
    schedule = LaunchSchedule(
        run.info.cases,
        repeats=run.info.repeats,
        quality_seeds=1 if suite.quality is None else suite.quality.seeds,
        arms=[arm.name for arm in run.info.arms] or [None],
        records=run.records,
    )
    return sum(map(schedule.over, schedule.cases)), len(schedule.cases)


if __name__ == "__main__":
    print("{} of {} cases complete".format(*complete_cases(Path(sys.argv[1]))))
