"""Small traces to be damaged: by hand as torch.profiler writes them, by SQL as nsys exports them."""

import json
import sqlite3
from contextlib import closing
from pathlib import Path

from fakes import traces

from gpubench.profile.figures.summarize import summarize
from gpubench.profile.traces.read_trace import read_trace

T0 = 1_760_000_000_000_000  # us since 1970, as Kineto writes it
US = 1000


def event(
    category: str | None, name: str, ts: object, dur: object, *, pid: object = 40, tid: object = 40, **args
) -> dict:
    found = {"ph": "X", "name": name, "ts": ts, "dur": dur, "pid": pid, "tid": tid, "args": args}
    return found if category is None else {**found, "cat": category}


def rank_events(pid: object = 40, gpu_pid: object = 0, *, shift: int = 0) -> list[dict]:
    """Three steps of 1000 us, each with two kernels of 300 us that the host launched 50 us before."""
    events = []
    for index in range(3):
        base = T0 + 1000 * index + shift
        events.append(event("user_annotation", f"ProfilerStep#{index}", base, 1000, pid=pid, tid=pid))
        for half in range(2):
            at, number = base + 50 + 400 * half, 10 * index + half + 1
            place = {"device": 0, "stream": 7, "correlation": number}
            events.append(event("cuda_runtime", "cudaLaunchKernel", at, 5, pid=pid, tid=pid, correlation=number))
            events.append(event("kernel", traces.GEMM, at + 50, 300, pid=gpu_pid, tid=7, **place))
    return events


def kineto(folder: Path, events: list[dict], **head):
    path = folder / "t.json"
    path.write_text(json.dumps({"traceEvents": events, **head}))
    return summarize(read_trace(path))


def nsys(folder: Path, *statements: str, scenario: traces.Scenario | None = None, **options):
    (folder / "t.sqlite").unlink(missing_ok=True)
    path = traces.write_sqlite(scenario or traces.two_steps(), folder / "t.sqlite")
    with closing(sqlite3.connect(path)) as connection:
        for statement in statements:
            connection.execute(statement)
        connection.commit()
    return summarize(read_trace(path), **options)


def said(summary) -> dict[str, str]:
    return {each.code: each.message for each in summary.warnings}
