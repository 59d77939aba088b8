"""What the kernel's control groups allow this process: CPU time and memory (cgroups(7), both versions).

A process is in one group of each hierarchy (/proc/self/cgroup), and each group on the path from there to the root may
set a limit: the smallest counts. /proc/self/mountinfo says where a hierarchy is mounted, and with which group the mount
begins (in a container not the root). `root` is `/`, or a folder with a test's files.
"""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_UNLIMITED = 2**60
"""Version 1 shows "no limit" as the largest number of whole pages."""

_DEFAULT_PERIOD_US = 100_000


class _Mount(NamedTuple):
    """`first_group` is the group that the mount's root shows; `controllers` is empty for version 2."""

    folder: Path
    first_group: str
    controllers: frozenset[str]


class MemoryLimit(NamedTuple):
    """`limit_bytes`: the smallest on the path. `left_bytes`: the least left in any group on it, counting as free what
    the kernel can reclaim (file cache not used recently); None if no group reports its use.
    """

    limit_bytes: int
    left_bytes: int | None


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPUs that may be used at once: the smallest quota divided by its period; None if unlimited or unknown."""
    quotas = []
    for group in _groups("cpu", root):
        quota_us, _, period_us = (_read(group / "cpu.max") or "").partition(" ")
        if not quota_us:
            quota_us, period_us = (_read(group / f"cpu.cfs_{name}_us") or "" for name in ("quota", "period"))
        if quota_us.isdecimal():
            quotas.append(int(quota_us) / ((period_us.isdecimal() and int(period_us)) or _DEFAULT_PERIOD_US))
    return min(quotas, default=None)


def memory_limit(root: Path = Path("/")) -> MemoryLimit | None:
    """None if unlimited or unknown. `memory.high` counts as well: above it the kernel slows a process down."""
    found = []
    for group in _groups("memory", root):
        lines = [line.split() for line in (_read(group / "memory.stat") or "").splitlines()]
        stat = {words[0]: words[1] for words in lines if len(words) == 2}
        shown = [_read(group / name) or "" for name in ("memory.max", "memory.high", "memory.limit_in_bytes")]
        # Version 1 only; it includes the groups above, which a container does not show.
        shown.append(stat.get("hierarchical_memory_limit", ""))
        limits = [int(text) for text in shown if text.isdecimal() and int(text) < _UNLIMITED]
        used = _read(group / "memory.current") or _read(group / "memory.usage_in_bytes") or ""
        if limits:
            idle_files = stat.get("total_inactive_file") or stat.get("inactive_file") or "0"
            left = max(0, min(limits) - max(0, int(used) - int(idle_files))) if used.isdecimal() else None
            found.append(MemoryLimit(min(limits), left))
    if not found:
        return None
    left_bytes = [each.left_bytes for each in found if each.left_bytes is not None]
    return MemoryLimit(min(each.limit_bytes for each in found), min(left_bytes, default=None))


def hidden(controller: str, root: Path = Path("/")) -> bool:
    """Whether this process is in groups that cannot be read here: there may then be limits that are not seen."""
    own = _own_groups(root)
    version = controller if controller in own else ""
    mounts = [mount for mount in _mounts(root) if version in (mount.controllers or {""})]
    outside = bool(mounts) and all(".." in mount.first_group for mount in mounts)  # a namespace without its own mount
    return bool(own) and (outside or not _groups(controller, root))


def _groups(controller: str, root: Path) -> list[Path]:
    """The folders of the process's own group and those above it, in every hierarchy that may have the controller."""
    own, found = _own_groups(root), []
    # A controller is in one hierarchy: in version 1 if named there.
    for version in ([controller] if controller in own else [""]) if own else (controller, ""):
        mounts = [mount for mount in _mounts(root) if version in (mount.controllers or {""})]
        path = own.get(version) if own else "/"
        if path is None or ".." in path.split("/"):  # outside the namespace
            continue
        below = [mount for mount in mounts if f"{path}/".startswith(f"{mount.first_group.rstrip('/')}/")]
        folders = [mount.folder / path[len(mount.first_group.rstrip("/")) :].strip("/") for mount in below]
        tops = [mount.folder for mount in mounts]
        for folder in folders or tops:  # a mount that begins elsewhere shows a container's own group
            for group in (folder, *folder.parents):
                if group != folder and _read(group / "memory.use_hierarchy") == "0":
                    break  # in version 1, groups above do not count those below
                if group.is_dir():
                    found.append(group)
                if group in tops:
                    break
    return found


def _own_groups(root: Path) -> dict[str, str]:
    """The process's group by controller; an empty name for version 2."""
    groups = {}
    for line in (_read(root / "proc/self/cgroup") or "").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        groups.update(dict.fromkeys(controllers.split(","), path))
    return groups


def _mounts(root: Path) -> Iterator[_Mount]:
    """From /proc/self/mountinfo (proc(5)), or the usual places if that cannot be read."""
    table = _read(root / "proc/self/mountinfo")
    for line in (table or "").splitlines():
        fields, _, rest = line.partition(" - ")
        kind, _, options = rest.partition(" ")
        if kind in {"cgroup", "cgroup2"}:
            first_group, folder = (
                re.sub(r"\\([0-7]{3})", lambda octal: chr(int(octal[1], 8)), text) for text in fields.split()[3:5]
            )
            controllers = frozenset(options.split()[-1].split(",") if kind == "cgroup" else ())
            yield _Mount(root / folder.lstrip("/"), first_group, controllers)
    if table is None:
        top = root / "sys/fs/cgroup"
        yield from (_Mount(folder, "/", frozenset()) for folder in (top, top / "unified") if folder.is_dir())
        for hierarchy in sorted(top.glob("*")):
            names = frozenset({"cpu", "memory"} & set(hierarchy.name.split(",")))
            if names and hierarchy.is_dir():
                yield _Mount(hierarchy, "/", names)


def _read(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None
