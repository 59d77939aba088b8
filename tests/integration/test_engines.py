"""Agents started by real programs, where they are installed: Ray, Open MPI and Slurm, with two nodes on this machine."""

import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from fakes.hosting import NEEDS_TWO_RANKS

from gpubench.core.records import Status
from gpubench.store.run_reader import load_run

ROOT = Path(__file__).parents[2]

pytestmark = [NEEDS_TWO_RANKS, pytest.mark.timeout(300)]

SUITE = """\
schema: 1
name: engines
cluster: {engine: local, nodes: 2, ranks_per_node: 1, wait: 90s}
defaults: {workload: "collectives:all_reduce", mode: infer, shape: 4KiB, batch_size: 1, cpu_threads: 1, world_size: 2}
measure: {min_time: 50ms, max_time: 100ms, min_steps: 10, target_rel_ci: 50%, repeats: 1, timeout: 60s}
contest: off
"""


def working_in(folder):
    """Processes that were started in a folder: the run, its agents and their workers all are."""
    found = []
    for each in Path("/proc").glob("[0-9]*/cwd"):
        try:
            found += [each.parent.name] if each.readlink() == folder else []
        except OSError:
            continue
    return found


@pytest.fixture
def measure(tmp_path):
    """Runs a case of two ranks, one on each node; afterwards nothing that the engine started is left."""
    (tmp_path / "suite.yaml").write_text(SUITE)

    def measured(*options, **variables):
        command = [sys.executable, "-m", "gpubench", "run", "suite.yaml", "--out", "run", "--no-report", *options]
        environ = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
        done = subprocess.run(
            command, cwd=tmp_path, env=environ, capture_output=True, text=True, timeout=200, check=False
        )
        logs = "\n".join(path.read_text(errors="replace") for path in (tmp_path / "run").glob("nodes*"))
        assert done.returncode == 0, done.stdout + done.stderr + logs
        assert working_in(tmp_path) == []
        (record,) = load_run(tmp_path / "run").records
        assert record.status is Status.OK, record.reason
        assert [(rank.rank, rank.node) for rank in record.ranks] == [(0, 0), (1, 1)]
        return record

    return measured


@pytest.fixture(scope="module")
def ray_cluster():
    """The address of Ray's own local cluster of two nodes."""
    cluster_utils = pytest.importorskip("ray.cluster_utils", reason="ray is not installed")
    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20}
    cluster = cluster_utils.Cluster()
    try:
        try:
            cluster.add_node(**node, include_dashboard=False)
            cluster.add_node(**node)
        except Exception as error:  # Ray has no class of its own for it
            pytest.skip(f"Ray's cluster did not start on this machine: {error}")
        yield cluster.address
    finally:
        cluster.shutdown()


def test_ray_starts_an_agent_on_every_node(measure, ray_cluster):
    measure("--engine", "ray", RAY_ADDRESS=ray_cluster)


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="there is no mpirun here")
def test_mpirun_starts_an_agent_for_every_node(measure, tmp_path):
    (tmp_path / "hosts").write_text("localhost slots=2\n")
    measure("--engine", "mpi", "-s", "cluster.interface=lo", "-s", "cluster.options=--hostfile,hosts")


@pytest.fixture
def slurm(tmp_path):
    """The configuration of a Slurm of two nodes, made by our script from what is installed."""
    missing = [name for name in ("slurmctld", "slurmd", "srun", "munged") if shutil.which(name) is None]
    if missing or os.geteuid() != 0:
        pytest.skip(f"not here: {', '.join(missing) or 'root'}")
    script = [ROOT / "scripts" / "slurm_two_nodes.sh"]
    done = subprocess.run([*script, "up", tmp_path / "slurm"], capture_output=True, text=True, timeout=120, check=False)
    try:
        if done.returncode != 0:
            pytest.skip(f"Slurm did not start here: {done.stderr or done.stdout}")
        yield str(tmp_path / "slurm" / "slurm.conf")
    finally:
        subprocess.run([*script, "down", tmp_path / "slurm"], timeout=60, check=True)


def test_srun_starts_an_agent_on_every_node(measure, slurm):
    measure("--engine", "slurm", "-s", "cluster.interface=lo", SLURM_CONF=slurm)


def test_pods_that_all_run_the_same_command_find_each_other(tmp_path):
    """The engine env as a TrainJob starts it: two processes that differ in PET_NODE_RANK alone."""
    (tmp_path / "suite.yaml").write_text(SUITE)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [sys.executable, "-m", "gpubench", "run", "suite.yaml", "--no-report", "--engine", "env"]
    pods = []
    for number in ("1", "0"):
        place = {"PET_NNODES": "2", "PET_NODE_RANK": number, "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "GPUBENCH_NODE_KEY": "a" * 64, **place}
        out = ["--out", f"run{number}", "-s", "cluster.nodes=2"]
        pods.append(subprocess.Popen([*command, *out], cwd=tmp_path, env=environ, stderr=subprocess.PIPE, text=True))
    ends = [pod.communicate(timeout=200)[1] for pod in pods]
    assert [pod.returncode for pod in pods] == [0, 0], ends
    assert not (tmp_path / "run1").exists()
    (record,) = load_run(tmp_path / "run0").records
    assert [(rank.rank, rank.node) for rank in record.ranks] == [(0, 0), (1, 1)]
