"""Work for the doctor, as a separate program: facts about torch and CUDA, and a load of known shape.

    python -m gpubench.worker.doctor_work facts
    python -m gpubench.worker.doctor_work load --device cuda:0 --parts steady:4,alternate:4

Each prints JSON lines on stdout; `load` says `{"ready": true}` when it is warm, then a line at the start and one at the
end of each part. Times are seconds of CLOCK_MONOTONIC.
"""

import argparse
import ctypes
import json
import sys
import time
from collections.abc import Callable
from typing import Any

from gpubench.worker.accelerator import DeviceEvent, accelerator_of, library_versions

PATTERN_PERIOD_S = 0.1
STEP_S = 0.005
_WARM_S = 1.0
_PERSISTING_L2 = 6
"""CU_LIMIT_PERSISTING_L2_CACHE_SIZE in cuda.h."""

_MOST_REPEATS = 10_000


def main(arguments: list[str]) -> int:
    """Runs one of the two; exit status 3 if the device cannot be used, with the reason as JSON."""
    parser = argparse.ArgumentParser(prog="gpubench.worker.doctor_work")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("facts")
    load = commands.add_parser("load")
    load.add_argument("--device", default="cuda:0")
    load.add_argument("--parts", default="steady:4", help="pattern:seconds, one after the other")
    chosen = parser.parse_args(arguments)
    try:
        import torch

        if chosen.command == "facts":
            _say(facts(torch))
        else:
            run_load(torch, chosen.device, parse_parts(chosen.parts))
    except (ImportError, RuntimeError, AssertionError, ValueError) as error:
        _say({"error": str(error).partition("\n")[0] or type(error).__name__})
        return 3
    return 0


def facts(torch: Any) -> dict[str, Any]:
    """Versions that torch was built with, and the devices it can use."""
    from gpubench.worker.process.device_query import ask

    found = ask(torch)
    caches = [_l2(torch, device["index"]) for device in found.devices]
    return {
        "torch": torch.__version__,
        **library_versions(torch, None),
        "cudnn": found.cudnn,
        "devices": [device | cache for device, cache in zip(found.devices, caches, strict=True)],
        "unavailable": found.unavailable,
    }


def _l2(torch: Any, index: int) -> dict[str, int | None]:
    """Size of the cache, and the part that the context of a new program sets aside for persisting accesses (None if the
    driver does not tell).
    """
    accelerator = accelerator_of(f"cuda:{index}")
    accelerator.select()
    torch.zeros(1, device=accelerator.device)  # creates the context
    return {"l2_bytes": accelerator.last_cache_bytes(), "persisting_l2_bytes": persisting_l2_bytes()}


def persisting_l2_bytes(load: Callable[[str], Any] = ctypes.CDLL) -> int | None:
    """Of the current context, by CUDA's driver; None if it does not tell."""
    size = ctypes.c_size_t()
    try:
        code = load("libcuda.so.1").cuCtxGetLimit(ctypes.byref(size), _PERSISTING_L2)
    except (OSError, AttributeError):
        return None
    return None if code else size.value


class MatrixLoad:
    """Matrix products on one device, in steps of about 5 ms."""

    def __init__(self, torch: Any, device: str) -> None:
        self._torch = torch
        self._accelerator = accelerator_of(device)
        self._accelerator.select()
        size, dtype = (4096, torch.bfloat16) if self._accelerator.asynchronous else (256, torch.float32)
        self._left = torch.randn(size, size, device=device).to(dtype)
        self._out = torch.empty_like(self._left)
        self.finish = self._accelerator.synchronize
        self.num_repeats = 1
        warm_s = time.monotonic() + _WARM_S
        while True:  # doubles the products of a step until it is long enough, which also warms up the device
            start_s = time.monotonic()
            self.launch()
            self.finish()
            took_s = time.monotonic() - start_s
            if took_s < STEP_S and self.num_repeats < _MOST_REPEATS:
                self.num_repeats *= 2
            elif time.monotonic() > warm_s:
                return

    def launch(self) -> None:
        for _ in range(self.num_repeats):
            self._torch.mm(self._left, self._left, out=self._out)

    def event(self) -> DeviceEvent | None:
        """A recorded event of the device; None on a CPU."""
        if not self._accelerator.asynchronous:
            return None
        event = self._accelerator.event()
        event.record()
        return event


def parse_parts(text: str) -> list[tuple[str, float]]:
    """(pattern, seconds) from `steady:4,alternate:2.5`. ValueError for an unknown pattern."""
    parts = []
    for part in text.split(","):
        pattern, _, seconds = part.partition(":")
        if pattern not in ("steady", "alternate"):
            raise ValueError(f"unknown pattern {pattern!r}")
        parts.append((pattern, float(seconds)))
    return parts


def run_load(torch: Any, device: str, parts: list[tuple[str, float]]) -> None:
    """Runs the parts, steadily or for 50 of every 100 ms, and reports each step's start and length.

    On CUDA two events enclose a part; their distance must agree with the wall clock's.
    """
    work = MatrixLoad(torch, device)
    _say({"ready": True})
    for pattern, seconds in parts:
        start_s = time.monotonic()
        _say({"part": pattern, "start_s": start_s, "seconds": seconds})
        first = work.event()
        steps: list[tuple[float, float]] = []
        if pattern == "steady":
            steps = _steady(work, start_s + seconds)
        else:
            # In the first half of every period, counted from the start so that nothing drifts.
            began_s, period = time.monotonic(), 0
            while (begin_s := began_s + period * PATTERN_PERIOD_S) < start_s + seconds:
                steps += _steady(work, begin_s + PATTERN_PERIOD_S / 2)
                time.sleep(max(0.0, begin_s + PATTERN_PERIOD_S - time.monotonic()))
                period += 1
        last = work.event()
        work.finish()
        end_s = time.monotonic()
        events_s = first.elapsed_time(last) / 1e3 if first is not None and last is not None else None
        _say({"end_s": end_s, "start_s": start_s, "events_s": events_s, "steps": steps})


def _steady(work: MatrixLoad, until_s: float) -> list[tuple[float, float]]:
    """Start and length of each step."""
    steps = []
    while (start_s := time.monotonic()) < until_s:
        work.launch()
        work.finish()
        steps.append((start_s, time.monotonic() - start_s))
    return steps


def _say(content: dict[str, Any]) -> None:
    print(json.dumps(content), flush=True)  # noqa: T201 - this program's output


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
