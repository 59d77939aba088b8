"""Does `--why` name the cause? Eleven slow-downs of a known cause on a CPU, and an arm against itself.

    python scripts/why_seeds.py [NAME ...]

Prints the table of docs/profiling.md: exit status 1 if a cause was not named first, or anything else was named. The
part of a seed that is named must be in its phase and bear its name.
"""

import sys
from pathlib import Path
from typing import NamedTuple

from gpubench.core.units import format_percent
from gpubench.profile.capture.capture_arms import explain_arms
from gpubench.profile.figures.explain_change import ChangeExplained
from gpubench.profile.figures.step_tree import OUTSIDE
from gpubench.protocol.messages import JobArm
from gpubench.protocol.profile_job import ProfileJob
from gpubench.report.comparison.why_slower import change_text, part_name
from gpubench.suite.model.case import Case

TIMEOUT_S = 900.0


class Seed(NamedTuple):
    """What is slower, the phase that it is in, and what the name of the part must contain."""

    what: str
    phase: str
    part: str


SEEDS = {
    "operator": Seed("an operator along the other dimension", "forward", "aten::cumsum"),
    "copy": Seed("one more copy", "forward", "new: aten::clone"),
    "dtype": Seed("an operator in fp64", "forward", "aten::exp"),
    "layout": Seed("pooling in NCHW", "forward", "aten::max_pool2d"),
    "algorithm": Seed("a convolution without oneDNN", "forward", "conv"),
    "fusion": Seed("a chain that is not compiled", "forward", "became aten::sin"),
    "input": Seed("input that is waited for", "data", "no operator"),
    "optimizer": Seed("more passes of the optimizer", "optimizer", "Optimizer.step#SGD.step"),
    "python": Seed("Python between steps", OUTSIDE, "no operator"),
    "evaluation": Seed("an evaluation in every step", OUTSIDE, "new: aten::"),
    "intermediate": Seed("an intermediate twice as large", "forward", "aten::"),
    "": Seed("nothing (an arm against itself)", "", ""),
}


def main(names: list[str]) -> int:
    wrong = 0
    print("| slower | named | of a step | of the windows' change | also different |\n|---|---|---|---|---|")
    for name in names or SEEDS:
        found = explained(name)
        right = is_right(found, SEEDS[name])
        wrong += not right
        print(f"| {SEEDS[name].what} | {row(found)} |{'' if right else ' WRONG'}", flush=True)
    return int(wrong > 0)


def explained(name: str) -> ChangeExplained:
    folder = Path(__file__).resolve().parent
    cases = [Case(workload="why_workload:seeded", cpu_threads=1, params={"slower": slower}) for slower in ("", name)]
    job = ProfileJob(tool="torch", case=cases[0], steps=50, folder=folder, search_path=(str(folder),))
    arms = [JobArm(name=arm, case=case) for arm, case in zip(("base", "head"), cases, strict=True)]
    return explain_arms(job, arms, one_process=True, timeout_s=TIMEOUT_S)


def is_right(found: ChangeExplained, seed: Seed) -> bool:
    if not seed.phase:
        return not found.parts
    phases = {part.phase for part in found.parts}
    return phases == {seed.phase} and seed.part in part_name(found.parts[0])


def row(found: ChangeExplained) -> str:
    named = "; ".join(f"{part.phase}: `{part_name(part)}`" for part in found.parts) or "nothing"
    changes = "; ".join(change_text(part.change) for part in found.parts)
    named_share = sum(part.change.value for part in found.parts)
    share = format_percent(named_share / found.profiled.value) if found.parts else ""
    return f"{named} | {changes} | {share} | {'; '.join(note for part in found.parts for note in part.notes)}"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
