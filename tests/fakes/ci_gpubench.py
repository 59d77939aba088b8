"""Stands in for `gpubench` and `python` where the steps of a CI example are run: nothing is installed or measured.

    ci_gpubench.py gpubench run SUITE --arm ... --out DIR      a hand-made run with two arms
    ci_gpubench.py gpubench check ...                          the real command; `--confirm` sees the same regression again
    ci_gpubench.py python -m pip|venv|pytest ...               nothing | stubs in DIR/bin | a hand-made JSON file

`HEAD_RATE` is what the head reaches of the base's 1000 samples/s. Every command is written to `$CI_LOG`.
PYTHONPATH must hold the repository and its tests.
"""

import json
import os
import shutil
import sys
from pathlib import Path


def head_rate() -> float:
    return float(os.environ.get("HEAD_RATE", "1000"))


def value_of(arguments: list[str], option: str) -> str:
    return arguments[arguments.index(option) + 1]


def make_run(folder: Path, rounds: int) -> Path:
    from fakes.gate_runs import STEADY, two_arms

    made = two_arms(given={"base": {"git": os.environ["BASE"]}, "head": {"git": os.environ.get("HEAD", "HEAD")}})
    for batch_size in (64, 128):
        made.measured(1000.0, STEADY[:rounds], head=head_rate(), batch_size=batch_size)
    return made.write(folder.parent, folder.name)


def gpubench(arguments: list[str]) -> int:
    if arguments[0] == "run":
        arms = [arguments[at + 1] for at, each in enumerate(arguments) if each == "--arm"]
        assert len(arms) == 2, arms
        make_run(Path(value_of(arguments, "--out")), int(value_of(arguments, "--rounds")))
        return int(os.environ.get("RUN_STATUS", "0"))
    from gpubench.cli.gate import remeasure as confirm
    from gpubench.cli.main import main

    confirm.remeasure = remeasure  # type: ignore[assignment]
    return main(arguments)


def remeasure(run, compared, *, allow_unpaired, force):  # type: ignore[no-untyped-def]
    from gpubench.cli.gate import remeasure as confirm
    from gpubench.store.run_reader import load_run

    def again(_changes, rounds):  # type: ignore[no-untyped-def]
        fresh = load_run(make_run(run.folder / "confirm-1", rounds))
        return confirm.fresh_comparison(run, fresh, compared, allow_unpaired=allow_unpaired)

    return again


def python(arguments: list[str]) -> int:
    module = arguments[1]
    if module == "venv":
        place = Path(arguments[2]) / "bin"
        place.mkdir(parents=True)
        for name in ("python", "gpubench"):
            shutil.copy(Path(os.environ["CI_STUBS"]) / name, place / name)
    elif module == "pytest":
        from fakes.pytest_json import steady, write_pytest_json

        written = next(each.partition("=")[2] for each in arguments if each.startswith("--benchmark-json="))
        number = len(Path(os.environ["CI_LOG"]).read_text().splitlines())
        rate = 1000.0 if Path.cwd().name == "base-tree" else head_rate()
        assert Path(written).parent.is_dir(), written
        write_pytest_json(
            Path(written),
            {
                "benchmarks/test_a.py::test_sort": steady(10.0 / rate),
                "benchmarks/test_a.py::test_startup_of_the_package": steady(0.5),
            },
            created=f"2026-11-24T10:{number:02d}:00+00:00",
        )
    else:
        assert module == "pip", arguments
    return 0


if __name__ == "__main__":
    program, *rest = sys.argv[1:]
    with Path(os.environ["CI_LOG"]).open("a", encoding="utf-8") as log:
        log.write(json.dumps([program, *rest]) + "\n")
    sys.exit({"gpubench": gpubench, "python": python}[program](rest))
