"""Finds other programs that use the CPUs, from two looks at /proc."""

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gpubench.core.process_tree import Listed, processes
from gpubench.core.units import format_percent
from gpubench.machine.host_facts import HostCpuTime, cpu_time, read_text

LEAST_SHARE = 0.1
"""Share of the CPUs; other programs that use less in total disturb little."""
LEAST_PAUSE_S = 0.3
_MOST_NAMED = 3
_NAMED_SHARE = 0.05


class ProgramTimes(NamedTuple):
    """CPU time of the machine and of each process, in clock ticks since boot; `seconds` of the monotonic clock."""

    seconds: float
    machine: HostCpuTime | None
    ticks: Mapping[int, int]


def look(root: Path = Path("/")) -> ProgramTimes:
    """CPU times now. Other users' processes count as well; those of another container cannot be seen."""
    found = {each.pid: _ticks(root / "proc" / str(each.pid) / "stat") for each in processes(root / "proc")}
    known = {pid: ticks for pid, ticks in found.items() if ticks is not None}
    return ProgramTimes(time.monotonic(), cpu_time(root), known)


def others(before: ProgramTimes, root: Path = Path("/"), *, named: bool = True) -> dict[str, Any] | None:
    """CPU use since `before` by other programs than this one and those it started: `share` of all CPUs, and `programs`,
    the busiest first, each with `pid`, `name` and `share`. `named=False` leaves `programs` out. None if /proc does not
    say.
    """
    time.sleep(max(0.0, before.seconds + LEAST_PAUSE_S - time.monotonic()))
    after = look(root)
    if before.machine is None or after.machine is None or after.machine.total <= before.machine.total:
        return None
    total = after.machine.total - before.machine.total
    ours = _own(list(processes(root / "proc")))
    used = {pid: ticks - before.ticks.get(pid, 0) for pid, ticks in after.ticks.items()}
    mine = sum(ticks for pid, ticks in used.items() if pid in ours)
    share = max(0.0, (after.machine.busy - before.machine.busy - mine) / total)
    busiest = sorted((pid for pid in used if pid not in ours), key=lambda pid: -used[pid])[:_MOST_NAMED]
    programs = [
        {
            "pid": pid,
            "name": read_text(root / "proc" / str(pid) / "comm") or "a program that has ended",
            "share": round(min(1.0, used[pid] / total), 4),
        }
        for pid in busiest
        if named and used[pid] >= _NAMED_SHARE * total
    ]
    return {"share": round(min(1.0, share), 4), "programs": programs}


def busy_text(found: Mapping[str, Any] | None) -> str:
    """`other programs took 67% of the CPUs (python3, pid 4242: 61%)`, from the answer of `others`; empty if less than a
    tenth, or unknown.
    """
    share = (found or {}).get("share")
    if not isinstance(share, float) or share < LEAST_SHARE:
        return ""
    named = "; ".join(
        f"{each['name']}, pid {each['pid']}: {format_percent(each['share'], decimals=0)}"
        for each in (found or {}).get("programs") or ()
    )
    return f"other programs took {format_percent(share, decimals=0)} of the CPUs{f' ({named})' if named else ''}"


def _ticks(stat: Path) -> int | None:
    """User and system time of a process (proc(5))."""
    fields = (read_text(stat) or "").rpartition(")")[2].split()
    return sum(map(int, fields[11:13])) if len(fields) > 12 else None


def _own(listed: list[Listed]) -> set[int]:
    """Process ids of this program and its descendants."""
    ours = {os.getpid()}
    while more := {each.pid for each in listed if each.parent in ours} - ours:
        ours |= more
    return ours
