"""Folders of many invented runs, for histories: every tenth case loses 7 % halfway."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path

from fakes.gate_runs import ENVIRONMENT, STEADY, HandMade

FIRST = datetime(2026, 1, 1, 2, tzinfo=UTC)


def many_runs(store: Path, num_runs: int, num_cases: int, *, num_launches: int = 3) -> None:
    """Runs at intervals of six hours, on one machine, whose torch changes where the cases do."""
    noise = random.Random(1)
    for number in range(num_runs):
        later = number >= num_runs // 2
        git = {"commit": f"{number // 4:012x}", "dirty": False}
        worker = {"torch": "2.14.0" if later else "2.13.0", "cuda": "13.0"}
        made = HandMade(environment={**ENVIRONMENT, "git": git, "worker": worker})
        for case in range(num_cases):
            rate = 1000.0 * (case + 1) * (0.93 if later and case % 10 == 0 else 1.0) * noise.gauss(1, 0.01)
            made.measured(rate, STEADY[:num_launches], device="cuda", batch_size=case + 1)
        started = (FIRST + timedelta(hours=6 * number)).isoformat().replace("+00:00", "Z")
        made.write(store, f"run-{number:04d}", created=started)
