"""The doctor's examination: rows of every group, and the facts of the self-test."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gpubench.machine import machine_cache
from gpubench.machine.doctor import gpu_rows as check_gpu
from gpubench.machine.doctor import host_rows as check_host
from gpubench.machine.doctor import software_rows as check_software
from gpubench.machine.doctor_rows import DoctorRow, Level, fit
from gpubench.machine.selftest import gpu_selftest, host_selftest
from gpubench.machine.selftest.helper_program import Program, ProgramError
from gpubench.telemetry.devices.nvml import NvmlBackend, open_backend

SelfTest = Literal["auto", "always", "never"]
Say = Callable[[str], None]

_FACTS_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Examination:
    """What was seen. `facts` holds the self-test's figures under `host` and under each card's UUID."""

    rows: list[DoctorRow]
    facts: dict[str, Any] = field(default_factory=dict)
    worker_versions: dict[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> bool:
        """Whether `--strict` lets this machine measure."""
        return fit(self.rows)


def examine(self_test: SelfTest = "auto", say: Say = lambda _: None) -> Examination:
    """Looks at software, GPUs and host, and runs the self-test.

    `auto` quotes the cached self-test of this host and of each card and driver, and runs what has none; `always` runs
    it anew, `never` only quotes. Never raises for a broken machine: that is what the rows say. `say` hears what goes
    on.
    """
    # Before anything of ours runs: later it would be our own load.
    host_rows = check_host.rows()
    gpu_rows, driver, gpus = check_gpu.rows()
    say("torch and CUDA")
    torch = _torch_facts()
    software_rows = check_software.rows(torch, driver)
    facts: dict[str, Any] = {"host": _host_facts(self_test, say)}
    test_rows = host_selftest.rows(facts["host"])
    for gpu in gpus:
        uuid = gpu.get("uuid")
        if uuid:
            facts[uuid] = _card_facts(uuid, (driver or {}).get("driver"), torch, self_test, say)
            hidden = self_test != "never" and _cuda_number(uuid, torch) is None
            why_not = "not run: CUDA does not show this card here" if hidden else host_selftest.NOT_RUN
            test_rows += gpu_selftest.rows(f"GPU {gpu['nvml_index']}", facts[uuid], why_not)
    versions = {name: torch.get(name) for name in ("torch", "cuda", "cudnn")}
    return Examination([*software_rows, *gpu_rows, *host_rows, *test_rows], facts, versions)


def unfit_rows(environment: Mapping[str, Any], *, uses_gpu: bool = True) -> list[str]:
    """What makes this machine unfit before a run under `--strict`, a phrase each: the doctor's `bad` rows on variables,
    the host and, where the run computes on GPUs, the cards CUDA shows to it. Half a second; empty where it is fit.

    `environment` is the run's fingerprint: without a card in it there is nothing to look at.
    """
    gpu_rows = check_gpu.rows(only_shown=True)[0] if uses_gpu and environment.get("gpus") else []
    rows = [*check_software.variables(os.environ), *gpu_rows, *check_host.rows()]
    return [f"{row.name}: {row.text}" for row in rows if row.level is Level.BAD]


def self_test_rows(environment: Mapping[str, Any]) -> list[DoctorRow]:
    """What the self-test had found when a run was made, from the run's fingerprint; empty where none had been run."""
    quoted = environment.get("self_test") or {}
    found = host_selftest.rows(quoted["host"]) if quoted.get("host") else []
    for gpu in environment.get("gpus") or ():
        facts = quoted.get(gpu.get("uuid"))
        if facts:
            found += gpu_selftest.rows(f"GPU {gpu['nvml_index']}", facts)
    return found


def _torch_facts() -> dict[str, Any]:
    try:
        with Program("gpubench.worker.doctor_work", "facts") as program:
            return program.line(_FACTS_TIMEOUT_S)
    except ProgramError as error:
        return {"error": str(error)}


def _host_facts(self_test: SelfTest, say: Say) -> dict[str, Any] | None:
    known = host_selftest.cached() if self_test != "always" else None
    if known is not None or self_test == "never":
        return known
    facts = host_selftest.measure(say)
    if "error" not in facts:
        machine_cache.store(host_selftest.identity(), facts)
    return facts


def _card_facts(
    uuid: str, driver: str | None, torch: Mapping[str, Any], self_test: SelfTest, say: Say
) -> dict[str, Any] | None:
    known = gpu_selftest.cached(uuid, driver) if self_test != "always" else None
    if known is not None or self_test == "never":
        return known
    number = _cuda_number(uuid, torch)
    backend = open_backend()
    try:
        if number is None or not isinstance(backend, NvmlBackend):
            return None
        facts = gpu_selftest.measure(backend, uuid, f"cuda:{number}", say)
    finally:
        backend.close()
    if "error" not in facts:
        machine_cache.store(gpu_selftest.identity(uuid, driver), facts)
    return facts


def _cuda_number(uuid: str, torch: Mapping[str, Any]) -> int | None:
    """CUDA's number of the card, None for one that CUDA does not show here."""
    bare = uuid.removeprefix("GPU-").lower()
    for device in torch.get("devices") or ():
        if str(device.get("uuid", "")).removeprefix("GPU-").lower() == bare:
            return int(device["index"])
    return None
