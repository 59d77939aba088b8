import json
import subprocess
from pathlib import Path

import pytest
from fakes.nvml.control import OTHER_UUID, UUID, Fake

from gpubench.core.anonymity import anonymise, hide_uuids
from gpubench.machine import control_groups, environment, host_facts, installed_software
from gpubench.machine.environment import performance_variables
from gpubench.telemetry.devices.nvml import card_facts, library

VERSIONS = {"torch": "2.15.0", "cuda": "13.2", "cudnn": 92600}


def test_without_a_driver_the_fingerprint_is_whole_but_for_the_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent() -> None:
        raise environment.TelemetryError("no NVIDIA driver")

    monkeypatch.setattr("gpubench.machine.environment.library.load", absent)
    env = environment.collect(VERSIONS)
    assert set(env) == {
        "schema",
        "hostname",
        "anonymous",
        "system",
        "cpu",
        "python",
        "packages",
        "worker",
        "git",
        "variables",
        "driver",
        "gpus",
        "self_test",
        "ceilings",
        "absent",
    }
    assert env["gpus"] == []
    assert env["absent"] == {"driver": "no NVIDIA driver", "gpus": "no NVIDIA driver"}
    assert env["worker"] == VERSIONS
    assert env["packages"]["torch"] == installed_software.packages()["torch"]
    assert json.loads(json.dumps(env)) == env


def test_a_card_is_described_with_limits_link_and_modes(fake: Fake) -> None:
    fake.add_device()
    fake.state(limit_w=500.0)
    env = environment.collect(VERSIONS)
    (gpu,) = env["gpus"]
    assert env["driver"] == {"driver": "580.00", "cuda_driver": "13.0", "nvml": "13.580.00", "absent": {}}
    assert gpu["uuid"] == f"GPU-{UUID}"
    wanted = {
        "name": "NVIDIA Fake 100",
        "power_limit_w": 500.0,
        "power_limit_default_w": 700.0,
        "sm_clock_max_mhz": 1980,
        "ecc": True,
        "mig": False,
        "persistence": True,
        "pcie_generation_max": 5,
        "pcie_width": 16,
        "pci": "00000000:41:00.0",
        "absent": {},
    }
    assert {name: gpu[name] for name in wanted} == wanted


def test_a_fact_that_cannot_be_read_is_none_with_its_reason(fake: Fake) -> None:
    fake.add_device()
    fake.rule("nvmlDeviceGetEccMode", 3)
    (gpu,) = environment.collect(VERSIONS)["gpus"]
    assert gpu["ecc"] is None
    assert gpu["absent"] == {"ecc": "nvmlDeviceGetEccMode: NOT_SUPPORTED (3)"}


def test_a_driver_that_hangs_does_not_hold_the_fingerprint_up(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gpubench.machine.environment._DRIVER_TIMEOUT_S", 0.1)
    fake.add_device()
    fake.rule("nvmlDeviceGetCount_v2", delay_s=1.0)
    env = environment.collect(VERSIONS)
    assert env["absent"]["gpus"] == "NVML did not answer within 0.1 s"


def test_anonymous_hides_who_and_keeps_what(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    fake.add_device()
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.setenv("CUDA_CACHE_PATH", "/home/somebody/cuda")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"GPU-{UUID}")
    env = environment.collect(VERSIONS, anonymous=True)
    text = json.dumps(env)
    assert "somebody" not in text
    assert UUID not in text
    assert env["hostname"] is None
    assert env["gpus"][0]["uuid"] == anonymise(f"GPU-{UUID}") == env["variables"]["CUDA_VISIBLE_DEVICES"]
    assert env["variables"]["CUDA_CACHE_PATH"] == "~/cuda"
    assert env["gpus"][0]["name"] == "NVIDIA Fake 100"


def test_a_hashed_uuid_is_the_same_in_every_run_and_tells_cards_apart() -> None:
    assert anonymise(f"GPU-{UUID}") == anonymise(f"GPU-{UUID.upper()}")
    assert anonymise("GPU-a") != anonymise("GPU-b")
    assert anonymise("MIG-a").startswith("MIG-")
    assert (
        hide_uuids(f"card GPU-{UUID} and MIG-{UUID}")
        == f"card {anonymise(f'GPU-{UUID}')} and {anonymise(f'MIG-{UUID}')}"
    )


def test_variables_that_change_performance_are_kept_and_secrets_never() -> None:
    environ = {
        "CUDA_VISIBLE_DEVICES": "1",
        "NVIDIA_TF32_OVERRIDE": "0",
        "OMP_NUM_THREADS": "4",
        "PYTORCH_CUDA_ALLOC_CONF": "x:1",
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "TORCH_LOGS": "dynamo",
        "CUDNN_LOGLEVEL_DBG": "1",
        "AWS_SECRET_ACCESS_KEY": "s",
        "PATH": "/bin",
        "TORCH_HUB_TOKEN": "s",
        "OMP_API_KEY": "s",
        "HF_TOKEN": "s",
    }
    assert performance_variables(environ) == {
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        "CUDA_VISIBLE_DEVICES": "1",
        "CUDNN_LOGLEVEL_DBG": "1",
        "NVIDIA_TF32_OVERRIDE": "0",
        "OMP_NUM_THREADS": "4",
        "PYTORCH_CUDA_ALLOC_CONF": "x:1",
        "TORCH_LOGS": "dynamo",
    }


def test_the_comparable_part_leaves_identity_and_the_moment_out(fake: Fake) -> None:
    fake.add_device()
    env = environment.collect(VERSIONS)
    flat = environment.comparable(env)
    assert flat["gpu0.name"] == "NVIDIA Fake 100"
    assert flat["gpu0.power_limit_w"] == 700.0
    assert flat["driver.driver"] == "580.00"
    assert flat["worker.torch"] == "2.15.0"
    assert flat["packages.torch"] == env["packages"]["torch"]
    assert UUID not in json.dumps(flat)
    assert not {"gpu0.uuid", "gpu0.pci", "gpu0.pcie_generation", "gpu0.memory_used_bytes"} & set(flat)
    assert env["hostname"] not in flat.values()


def test_two_equal_cards_compare_and_another_limit_does_not(fake: Fake) -> None:
    fake.add_device()
    one = environment.comparable(environment.collect(VERSIONS))
    fake.reset()
    fake.add_device("fa4e0000-0000-4000-8000-000000000077", pci="00000000:c1:00.0")
    assert environment.comparable(environment.collect(VERSIONS)) == one
    fake.state(limit_w=450.0)
    other = environment.comparable(environment.collect(VERSIONS))
    assert {name for name in one if one[name] != other[name]} == {"gpu0.power_limit_w"}


def test_an_empty_fingerprint_compares_as_nothing() -> None:
    assert environment.comparable({}) == {}


def git(*arguments: str, cwd: Path) -> None:
    identity = ["-c", "user.name=a", "-c", "user.email=a@b"]
    subprocess.run(["git", *identity, *arguments], cwd=cwd, check=True, capture_output=True)


def test_the_commit_is_that_of_the_folder_and_dirty_once_a_tracked_file_changed(tmp_path: Path) -> None:
    git("init", "-q", "-b", "trunk", cwd=tmp_path)
    (tmp_path / "file").write_text("one")
    git("add", ".", cwd=tmp_path)
    git("commit", "-q", "-m", "first", cwd=tmp_path)
    clean = installed_software.git(tmp_path)
    assert (clean["dirty"], clean["branch"], clean["reason"]) == (False, "trunk", None)
    assert len(clean["commit"]) == 40
    (tmp_path / "untracked").write_text("x")
    assert installed_software.git(tmp_path)["dirty"] is False
    (tmp_path / "file").write_text("two")
    assert installed_software.git(tmp_path)["dirty"] is True


def test_outside_a_checkout_the_commit_is_none_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = installed_software.git(tmp_path)
    assert found["commit"] is None
    assert "not a git repository" in found["reason"]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert installed_software.git(tmp_path)["reason"] == "git is not installed"


def sysroot(root: Path, **files: str) -> Path:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return root


def test_the_cpu_is_described_from_proc_and_sys(tmp_path: Path) -> None:
    cpu0 = "sys/devices/system/cpu/cpu0"
    files = {
        "proc/cpuinfo": "model name\t: Fake CPU 9000\nflags\t\t: fpu avx2 avx512f hypervisor\nmicrocode : 0x1\n\nprocessor : 1\n",
        f"{cpu0}/cpufreq/scaling_governor": "powersave\n",
        f"{cpu0}/cpufreq/cpuinfo_max_freq": "3500000\n",
        f"{cpu0}/topology/thread_siblings_list": "0-1\n",
        f"{cpu0}/topology/physical_package_id": "0\n",
        "sys/devices/system/cpu/smt/active": "1\n",
        "sys/devices/system/cpu/intel_pstate/no_turbo": "1\n",
    }
    found = host_facts.cpu(sysroot(tmp_path, **files))
    wanted = {
        "model": "Fake CPU 9000",
        "flags": ["avx2", "avx512f", "hypervisor"],
        "governor": "powersave",
        "max_mhz": 3500.0,
        "num_cores": 1,
        "num_sockets": 1,
        "smt": True,
        "boost": False,
        "microcode": "0x1",
    }
    assert {name: found[name] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({"run/.containerenv": ""}, "podman"),
        ({".dockerenv": ""}, "docker"),
        ({"proc/1/cgroup": "0::/kubepods.slice/pod1"}, "kubernetes"),
        ({"proc/version": "Linux version 4.4.0 gVisor"}, "gvisor"),
        ({"proc/1/cgroup": "0::/init.scope"}, None),
    ],
)
def test_the_container_is_recognised(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], expected: str | None
) -> None:
    for name in ("KUBERNETES_SERVICE_HOST", "APPTAINER_CONTAINER", "SINGULARITY_CONTAINER"):
        monkeypatch.delenv(name, raising=False)
    assert host_facts.container(sysroot(tmp_path, **files)) == expected


def test_a_lost_card_is_not_asked_for_every_fact(fake: Fake) -> None:
    fake.add_device()
    fake.add_device(OTHER_UUID)
    fake.rule("nvmlDeviceGetName", 15, device=0)
    lost, healthy = card_facts.read_gpus(library.load())
    assert lost["power_limit_w"] is None
    assert lost["absent"]["power_limit_w"] == "nvmlDeviceGetName: GPU_IS_LOST (15)"
    assert healthy["power_limit_w"] == 700.0
    assert [name for _, name in fake.calls()].count("nvmlDeviceGetEnforcedPowerLimit") == 1


def test_a_cpu_quota_is_read_from_either_cgroup_version(tmp_path: Path) -> None:
    assert control_groups.cpu_quota(sysroot(tmp_path / "v2", **{"sys/fs/cgroup/cpu.max": "150000 100000"})) == 1.5
    assert control_groups.cpu_quota(sysroot(tmp_path / "none", **{"sys/fs/cgroup/cpu.max": "max 100000"})) is None
    v1 = {"sys/fs/cgroup/cpu/cpu.cfs_quota_us": "50000", "sys/fs/cgroup/cpu/cpu.cfs_period_us": "100000"}
    assert control_groups.cpu_quota(sysroot(tmp_path / "v1", **v1)) == 0.5
    assert control_groups.cpu_quota(tmp_path / "nothing") is None
