"""Assigns work to processes in a file with the traces of several ranks, each of which numbers devices and launches from
the same number.
"""

import re
from bisect import bisect_right
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from gpubench.profile.traces.chrome_json import integer, is_name
from gpubench.profile.traces.trace import MOST_DEVICES, UNNUMBERED, Operation, Trace, TracedDevice

_RANK = re.compile(r"(?<![^\W_])rank\D{0,3}(\d+)", re.IGNORECASE)
_DIGITS = re.compile(r"([0-9]+)")
_WORDS = re.compile(r"[^\W_]+")
_LETTERS = re.compile(r"[^\W\d_]")
_KINDS_OF_TRACKS = frozenset(("gpu", "device", "pid", "process"))
_PID_BITS = 24
_NO_PROCESS = -1


class Named(NamedTuple):
    """How a file names a process or a track of device work: the label that tells whose it is (`host1 rank 0`, empty for
    a plain number) and the number. Tools that merge the traces of several ranks join both into one text.
    """

    label: str
    number: int | None


def named(pid: Any) -> Named:
    """`40` is a number; `[rank1] 40`, `rank1_40` and `host1 rank 0, GPU 2` are a label and a number. `40_1` is
    ambiguous.
    """
    number = integer(pid)
    if number is not None or not is_name(pid) or not _LETTERS.search(pid):
        return Named("", number)
    words = _WORDS.findall(_RANK.sub(r"rank\1", str(pid)))
    if len(words) > 1 and words[-1].isascii() and words[-1].isdigit():
        number = integer(words.pop())
    label = " ".join(word for word in words if word.lower() not in _KINDS_OF_TRACKS)
    return Named(re.sub(r"\brank(\d+)", r"rank \1", label), number)


class DrawnWork(NamedTuple):
    """Device work to be linked when all launches are known. `track`: the process under which the file shows it;
    `position`: its place in the file; `drawn_as`: the device number comes from the track alone.
    """

    position: int
    track: str
    label: str
    correlation: int | None
    device: int | None
    drawn_as: bool
    operation: Operation

    @classmethod
    def at(cls, position: int, pid: Any, correlation: int | None, device: Any, operation: Operation) -> "DrawnWork":
        """`device` is its number in the file (`...`: none given, take the track's)."""
        label, number = named(pid)
        if device is not ...:
            number = integer(device)
        number = number if number is not None and 0 <= number < MOST_DEVICES else None
        return cls(position, str(pid), label, correlation, number, device is ..., operation)


@dataclass
class HostProcesses:
    """The processes with host events: their numbers by name in the file, their labels, and the places of their first
    and last event in the file.
    """

    trace: Trace
    numbers: dict[int | str, int] = field(default_factory=dict)
    labels: dict[int, str] = field(default_factory=dict)
    extent: dict[int, tuple[int, int]] = field(default_factory=dict)

    def see(self, position: int, pid: Any) -> int:
        """The number of an event's process; events without one share a number."""
        key = pid if type(pid) in (int, str) else ""
        if (process := self.numbers.get(key)) is None:
            process = self.numbers[key] = self._new(key)
        self.extent[process] = (self.extent.get(process, (position, position))[0], position)
        return process

    def _new(self, pid: int | str) -> int:
        if integer(pid) is None and not is_name(pid):
            self.trace.process_ids[_NO_PROCESS] = None
            return _NO_PROCESS
        label, number = named(pid)
        if number is not None and number == integer(pid) and 0 <= number < 1 << _PID_BITS:
            return number
        process = (len(self.numbers) + 1) << _PID_BITS
        self.trace.process_ids[process] = number
        if label:
            self.labels[process] = label
        if isinstance(pid, str) and pid != str(number):
            self.trace.process_names[process] = label if _RANK.search(label) else pid
        return process

    def leave_out_nameless(self) -> None:
        """Drops events without a process if others have one, as they may belong to any."""
        if _NO_PROCESS not in self.extent or len(self.extent) == 1:
            return
        del self.extent[_NO_PROCESS]
        trace = self.trace
        launches = {key: call for key, call in trace.launches.items() if call.process != _NO_PROCESS}
        ranges = [each for each in trace.ranges if each.process != _NO_PROCESS]
        if count := len(trace.launches) + len(trace.ranges) - len(launches) - len(ranges):
            trace.unread["events of the host without a process"] += count
        trace.launches, trace.ranges = launches, ranges

    def name(self, process: int) -> str:
        """`rank 1`, or `process 40`."""
        number = self.trace.process_ids.get(process, process)
        unnamed = "a process without an id" if number is None else f"process {number}"
        return self.trace.process_names.get(process, unnamed)


def link(trace: Trace, work: Sequence[DrawnWork], hosts: HostProcesses, gpu_names: Mapping[int, str]) -> None:
    """Links each piece of work to its launch, and gives devices that several processes number separate keys.

    torch.profiler records one process; a file with events of several was merged from the files of several ranks.
    """
    processes = sorted(hosts.extent, key=lambda each: (_natural(hosts.name(each)), each))
    labels = set(hosts.labels.values())
    drawn = {str(pid) for pid in hosts.numbers}
    work = [each._replace(device=None) if each.drawn_as and each.track in drawn else each for each in work]
    shared = any(each.label in labels for each in work)
    work = [
        each._replace(label="") if each.label and not shared and not _RANK.search(each.label) else each for each in work
    ]
    strangers = list(dict.fromkeys(each.label for each in work if each.label and each.label not in labels))
    merged = len(processes) > 1 or bool(processes and strangers) or len(strangers) > 1
    only = processes[0] if processes else None
    owners = _Owners(trace, work, hosts, processes).of_work() if merged else [only] * len(work)
    alone = not merged or (not strangers and len(set(owners)) == 1 and owners[0] is not None)
    unclear: Counter[str] = Counter()  # work by track, if the track's owner is unknown
    for process, (_, track, label, correlation, number, _, operation) in zip(owners, work, strict=True):
        owner, name, place = None, None, 0
        if alone:
            name = None if number is None else gpu_names.get(number)  # a merged file has the head of one rank
        elif process is not None:
            owner, place = hosts.name(process), processes.index(process) + 1
        elif label in strangers:
            owner, place = label, len(processes) + 1 + strangers.index(label)
        else:
            unclear[track] += 1
            owner = "an unknown process" + ("" if track == str(number) else f", drawn as {track}")
            place = len(processes) + 1 + len(strangers) + list(unclear).index(track)
        device = (place, UNNUMBERED if number is None else number)
        trace.devices[device] = TracedDevice(number, name, owner)
        key = None if process is None or correlation is None else (process, correlation)
        found = key if key in trace.launches else None
        trace.operations.append(
            operation._replace(device=device, process=process, launch=found, correlation=correlation)
        )
    if merged:
        for process in processes:
            trace.process_names.setdefault(process, hosts.name(process))
    if unclear:
        trace.messages.append(
            f"Several processes use the same correlation numbers, and nothing tells which of them launched "
            f"{unclear.total()} pieces of GPU work."
        )


def _natural(name: str) -> list[tuple[int, str]]:
    """Sort key that puts `rank 2` before `rank 10`."""
    return [(int(part), "") if part.isdecimal() else (-1, part) for part in _DIGITS.split(name)]


class _Owners:
    """Finds the process of each piece of work in a file of several processes."""

    def __init__(self, trace: Trace, work: Sequence[DrawnWork], hosts: HostProcesses, processes: Sequence[int]) -> None:
        self._launches = trace.launches
        self._callers = {process for process, _ in trace.launches}
        self._work, self._hosts, self._processes = work, hosts, processes

    def of_work(self) -> list[int | None]:
        """The process of the work's track, if known; else the process whose part of the file contains it; else the only
        one that has a launch of its number.
        """
        of_track = self._of_tracks()
        loose = [at for at, each in enumerate(self._work) if of_track[each.track] is None and not each.label]
        blocks = self._blocks()
        by_block: dict[int, int | None] = {}
        if blocks:
            by_block = {
                at: blocks[max(0, bisect_right(blocks, (self._work[at].position, 1 << 62)) - 1)][1] for at in loose
            }
            if not all(self._fits(process, self._work[at]) for at, process in by_block.items()):
                by_block = {}
        owners = [of_track[each.track] for each in self._work]
        for at in loose:
            owners[at] = by_block[at] if by_block else self._only_launcher(self._work[at])
        return owners

    def _only_launcher(self, work: DrawnWork) -> int | None:
        able = [each for each in self._processes if work.correlation is not None and self._fits(each, work)]
        return able[0] if len(able) == 1 else None

    def _of_tracks(self) -> dict[str, int | None]:
        """The process of each track of device work: the one with the track's label, or the only one left that can have
        launched all of its work. Tracks that share correlation numbers belong to different processes.
        """
        tracks: defaultdict[str, list[DrawnWork]] = defaultdict(list)
        for each in self._work:
            tracks[each.track].append(each)
        numbers = {track: {each.correlation for each in work} - {None} for track, work in tracks.items()}
        able: dict[str, set[int]] = {}
        for track, work in tracks.items():
            alike = [process for process, label in self._hosts.labels.items() if label == work[0].label]
            among = alike if work[0].label else self._processes
            able[track] = {each for each in among if len(among) == 1 or all(self._fits(each, item) for item in work)}
        left = {track for track in tracks if numbers[track] or tracks[track][0].label}
        owners: dict[str, int | None] = dict.fromkeys(tracks)
        while clear := [track for track in left if len(able[track]) == 1]:
            left.discard(clear[0])
            (process,) = able[clear[0]]
            owners[clear[0]] = process
            for track in left:
                if numbers[track] & numbers[clear[0]]:
                    able[track].discard(process)
        return owners

    def _fits(self, process: int | None, work: DrawnWork) -> bool:
        """Whether the process can have launched the work: it has an earlier launch of that number. Processes without
        calls fit all.
        """
        if process is None or work.correlation is None or process not in self._callers:
            return True
        call = self._launches.get((process, work.correlation))
        return call is not None and call.start <= work.operation.start

    def _blocks(self) -> list[tuple[int, int]]:
        """Where the events of each process begin, if the file holds one rank after the other; else empty."""
        parts = sorted((*self._hosts.extent[process], process) for process in self._processes)
        if any(before[1] > after[0] for before, after in pairwise(parts)):
            return []
        return [(first, process) for first, _, process in parts]
