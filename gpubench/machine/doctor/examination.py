"""The doctor's examination: rows of every group, and the facts of the self-test."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from gpubench.machine import machine_cache
from gpubench.machine.doctor import gpu_rows, host_rows, software_rows
from gpubench.machine.doctor_row import DoctorRow, Level, fit
from gpubench.machine.selftest import gpu_selftest, host_selftest
from gpubench.machine.selftest.helper_program import Program, ProgramError
from gpubench.telemetry.devices.nvml import NvmlBackend, open_backend

SelfTest = Literal["auto", "always", "never"]
Say = Callable[[str], None]

_FACTS_TIMEOUT_S = 180.0


@dataclass(frozen=True)
class Examination:
    """The result. `facts` has the self-test's figures under `host` and under each card's UUID."""

    rows: list[DoctorRow]
    facts: dict[str, Any] = field(default_factory=dict)
    worker_versions: dict[str, Any] = field(default_factory=dict)

    @property
    def fit(self) -> bool:
        """Whether `--strict` accepts this machine."""
        return fit(self.rows)


def examine(self_test: SelfTest = "auto", say: Say = lambda _: None) -> Examination:
    """Looks at software, GPUs and host, and runs the self-test.

    `auto` uses the cached self-test of this host and of each card and driver, and runs missing ones; `always` repeats
    all, `never` runs none. Never raises for a broken machine: the rows describe it. `say` gets progress messages.
    """
    # First, because later it would show our own load.
    of_host = host_rows.rows()
    of_gpus, driver, gpus = gpu_rows.rows()
    say("torch and CUDA")
    torch = _torch_facts()
    of_software = software_rows.rows(torch, driver)
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
    return Examination([*of_software, *of_gpus, *of_host, *test_rows], facts, versions)


def unfit_rows(environment: Mapping[str, Any], *, uses_gpu: bool = True) -> list[str]:
    """Why `--strict` refuses this machine before a run, in short phrases; empty if it is fit. Takes half a second.

    These are the doctor's `bad` rows on variables, the host and, for a run on GPUs, the cards visible to CUDA.
    `environment` is the run's fingerprint; cards are checked only if it has any.
    """
    of_gpus = gpu_rows.rows(only_shown=True)[0] if uses_gpu and environment.get("gpus") else []
    rows = [*software_rows.variables(os.environ), *of_gpus, *host_rows.rows()]
    return [f"{row.name}: {row.text}" for row in rows if row.level is Level.BAD]


def self_test_rows(environment: Mapping[str, Any]) -> list[DoctorRow]:
    """The self-test's rows from a run's fingerprint; empty if none had been run by then."""
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
    """CUDA's number of the card, None if CUDA does not show it here."""
    bare = uuid.removeprefix("GPU-").lower()
    for device in torch.get("devices") or ():
        if str(device.get("uuid", "")).removeprefix("GPU-").lower() == bare:
            return int(device["index"])
    return None
