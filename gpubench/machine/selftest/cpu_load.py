"""A CPU load of equal steps, as a program of its own: what the sampler's cost and this machine's steadiness show on.

`python -m gpubench.machine.selftest.cpu_load SECONDS` prints `{"ready": true}`, and at its end each step's start and
length in seconds of CLOCK_MONOTONIC. Only the standard library: it starts at once and runs where torch does not.
"""

import hashlib
import json
import sys
import time

STEP_S = 0.002
_BUFFER = bytes(64 * 1024)


def calibrate(step_s: float = STEP_S) -> int:
    """How many hashes of 64 KiB take about `step_s` seconds here."""
    count = 1
    while True:
        start_s = time.perf_counter()
        work(count)
        if time.perf_counter() - start_s >= step_s:
            return count
        count *= 2


def work(count: int) -> None:
    for _ in range(count):
        hashlib.sha256(_BUFFER).digest()


def run(seconds: float) -> list[tuple[float, float]]:
    """(start, length) of every step until `seconds` have passed."""
    count = calibrate()
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
