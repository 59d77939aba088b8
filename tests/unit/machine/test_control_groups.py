"""Limits of the process's own control group and of those above it, as the kernel lays them out."""

from pathlib import Path

import pytest

from gpubench.machine import control_groups
from gpubench.machine.control_groups import MemoryLimit

V2 = "35 24 0:30 / /sys/fs/cgroup rw,nosuid shared:9 - cgroup2 cgroup2 rw,nsdelegate\n"
V1 = "34 30 0:29 {first} /sys/fs/cgroup/{name} ro,nosuid master:12 - cgroup cgroup rw,{controllers}\n"
MIB = 2**20
NO_LIMIT = "9223372036854771712\n"


def tree(root: Path, own: str, mounts: str | None, files: dict[str, str]) -> Path:
    """A root folder: the process's groups, where hierarchies are mounted, and files below /sys/fs/cgroup."""
    proc = root / "proc/self"
    proc.mkdir(parents=True)
    (proc / "cgroup").write_text(own)
    if mounts is not None:
        (proc / "mountinfo").write_text("22 30 0:20 / /proc rw - proc proc rw\n" + mounts)
    for name, text in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


SCOPE = "user.slice/user-1000.slice/run-r1.scope"
JOB = "system.slice/slurmstepd.scope/job_7"


@pytest.mark.parametrize("mounts", [V2, None], ids=["mountinfo", "no mountinfo"])
@pytest.mark.parametrize(
    ("own", "files", "quota"),
    [
        pytest.param("0::/\n", {"cpu.max": "200000 100000\n"}, 2.0, id="container with its own namespace"),
        pytest.param(f"0::/{SCOPE}\n", {f"{SCOPE}/cpu.max": "50000 100000\n"}, 0.5, id="systemd scope"),
        pytest.param(
            f"0::/{JOB}/step_0/user/task_0\n",
            {f"{JOB}/cpu.max": "400000 100000\n", f"{JOB}/step_0/cpu.max": "max 100000\n"},
            4.0,
            id="job above the step",
        ),
        pytest.param(
            "0::/a/b\n",
            {"a/cpu.max": "150000 100000\n", "a/b/cpu.max": "300000 100000\n"},
            1.5,
            id="the smallest counts",
        ),
        pytest.param(
            "0::/a\n", {"a/cpu.max": "max\n", "b/cpu.max": "1000 100000\n"}, None, id="a neighbour's is not ours"
        ),
        pytest.param("0::/a\n", {"a/cpu.max": "25000 50000\n"}, 0.5, id="another period"),
        pytest.param("0::/../other\n", {"cpu.max": "100000 100000\n"}, None, id="outside the namespace"),
    ],
)
def test_the_smallest_cpu_quota_on_the_path_counts(
    tmp_path: Path, own: str, files: dict[str, str], quota: float | None, mounts: str | None
) -> None:
    files = {"cgroup.controllers": "cpu memory\n"} | files
    assert control_groups.cpu_quota(tree(tmp_path, own, mounts, files)) == quota


@pytest.mark.parametrize(
    ("first", "path", "folder"),
    [
        pytest.param("/", "/docker/abc", "docker/abc", id="the host's namespace"),
        pytest.param("/docker/abc", "/docker/abc", "", id="the mount begins with the container's group"),
        pytest.param("/docker/abc", "/docker/abc/inner", "inner", id="a group inside the container"),
        pytest.param("/kubepods/pod1/c1", "/", "", id="a namespace, mounted from outside"),
        pytest.param("/", "/machine.slice/x\\040y", "", id="a folder that is not there"),
    ],
)
def test_a_quota_of_version_1_is_found_where_it_is_mounted(tmp_path: Path, first: str, path: str, folder: str) -> None:
    mounts = V1.format(first=first, name="cpu,cpuacct", controllers="cpu,cpuacct")
    own = f"4:cpu,cpuacct:{path}\n1:name=systemd:/elsewhere\n0::/\n"
    files = {f"{folder}/cpu.cfs_quota_us": "150000\n", f"{folder}/cpu.cfs_period_us": "100000\n"}
    files = {f"cpu,cpuacct/{name}": text for name, text in files.items()}
    assert control_groups.cpu_quota(tree(tmp_path, own, mounts, files)) == 1.5


def test_the_smallest_memory_limit_counts_and_idle_file_pages_are_free(tmp_path: Path) -> None:
    files = {
        "a/memory.max": f"{1000 * MIB}\n",
        "a/memory.current": f"{700 * MIB}\n",
        "a/memory.stat": f"anon {100 * MIB}\ninactive_file {500 * MIB}\n",
        "a/b/memory.max": "max\n",
        "a/b/memory.high": f"{900 * MIB}\n",
        "a/b/memory.current": f"{300 * MIB}\n",
    }
    root = tree(tmp_path, "0::/a/b\n", V2, files)
    assert control_groups.memory_limit(root) == MemoryLimit(900 * MIB, 600 * MIB)


def test_a_memory_limit_above_what_a_container_shows_is_known_to_version_1(tmp_path: Path) -> None:
    mounts = V1.format(first="/docker/abc", name="memory", controllers="memory")
    files = {
        "memory/memory.limit_in_bytes": NO_LIMIT,
        "memory/memory.usage_in_bytes": f"{500 * MIB}\n",
        "memory/memory.stat": f"hierarchical_memory_limit {2048 * MIB}\ninactive_file 0\ntotal_inactive_file {100 * MIB}\n",
    }
    root = tree(tmp_path, "9:memory:/docker/abc\n", mounts, files)
    assert control_groups.memory_limit(root) == MemoryLimit(2048 * MIB, 1648 * MIB)


def test_a_group_above_that_does_not_count_what_is_below_sets_no_limit(tmp_path: Path) -> None:
    mounts = V1.format(first="/", name="memory", controllers="memory")
    files = {
        "memory/slurm/memory.limit_in_bytes": f"{100 * MIB}\n",
        "memory/slurm/memory.use_hierarchy": "0\n",
        "memory/slurm/job/memory.limit_in_bytes": f"{300 * MIB}\n",
        "memory/slurm/job/memory.use_hierarchy": "0\n",
    }
    root = tree(tmp_path, "9:memory:/slurm/job\n", mounts, files)
    assert control_groups.memory_limit(root) == MemoryLimit(300 * MIB, None)


def test_without_a_limit_there_is_none(tmp_path: Path) -> None:
    files = {"a/memory.max": "max\n", "a/memory.current": "5\n", "a/cpu.max": "max 100000\n"}
    root = tree(tmp_path, "0::/a\n", V2, files)
    assert control_groups.memory_limit(root) is None
    assert control_groups.cpu_quota(root) is None
    assert not control_groups.hidden("cpu", root)


def test_groups_that_are_mounted_nowhere_are_hidden(tmp_path: Path) -> None:
    root = tree(tmp_path, "3:cpu:/job\n0::/\n", V2, {"cgroup.controllers": "\n"})
    assert control_groups.hidden("cpu", root)
    assert not control_groups.hidden("memory", root)
    assert not control_groups.hidden("cpu", tmp_path / "a kernel without control groups")


def test_a_namespace_that_sees_the_mount_of_another_hides_the_group(tmp_path: Path) -> None:
    mounts = V2.replace(" / /sys", " /../.. /sys")
    root = tree(tmp_path, "0::/\n", mounts, {"cpu.max": "100000 100000\n"})
    assert control_groups.hidden("cpu", root)
    assert control_groups.cpu_quota(root) == 1.0, "a group above the namespace limits it as well"
