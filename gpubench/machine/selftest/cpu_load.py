"""A CPU load of equal steps, run as a separate program to measure the sampler's cost and the machine's steadiness.

`python -m gpubench.machine.selftest.cpu_load SECONDS` prints `{"ready": true}`, and at its end each step's start and
length in seconds of CLOCK_MONOTONIC. Uses only the standard library, so it starts at once and runs without torch.
"""

import hashlib
import json
import sys
import time
from functools import partial
from timeit import timeit

STEP_S = 0.002
_BUFFER = bytes(64 * 1024)


def work(count: int) -> None:
    for _ in range(count):
        hashlib.sha256(_BUFFER).digest()


def run(seconds: float) -> list[tuple[float, float]]:
    """(start, length) of every step until `seconds` have passed. A step hashes 64 KiB 2^n times."""
    count = 1
    while timeit(partial(work, count), number=1) < STEP_S:
        count *= 2
    print(json.dumps({"ready": True}), flush=True)  # noqa: T201 - this program's output
    steps = []
    until_s = time.monotonic() + seconds
    while (start_s := time.monotonic()) < until_s:
        work(count)
        steps.append((start_s, time.monotonic() - start_s))
    return steps


if __name__ == "__main__":
    duration_s = float(sys.argv[1])
    print(json.dumps({"steps": run(duration_s)}), flush=True)  # noqa: T201
