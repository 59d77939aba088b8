"""The machine and the software a run was made on, as a list of facts."""

from collections import Counter
from collections.abc import Mapping
from typing import Any

from gpubench.analysis.summary.run_summary import RunSummary
from gpubench.core.units import format_bytes
from gpubench.machine.doctor.examination import self_test_rows
from gpubench.machine.doctor_row import Level
from gpubench.machine.other_programs import busy_text
from gpubench.report.model.report_model import Fact, Line, Section, line, lines, muted
from gpubench.report.model.words import count, sentence
from gpubench.report.view.run_view import View
from gpubench.store.run_info import RunInfo

_WORKER = ("torch", "torchvision", "cuda", "cudnn", "triton")
_NAMES = {"cuda": "CUDA", "cudnn": "cuDNN"}
_SHOWN_VARIABLES = 12


def section(view: View) -> Section:
    info = view.summary.info
    return Section("environment", "Set-up", facts=environment_facts(view.summary), gist=sentence(machine_line(info)))


def environment_facts(summary: RunSummary) -> tuple[Fact, ...]:
    """The environment of the run; what is absent is shown with its reason."""
    info, env = summary.info, summary.info.environment
    gpus = env.get("gpus") or ()
    facts = [Fact(f"GPU {position}", line(_gpu(gpu))) for position, gpu in enumerate(gpus)]
    if not gpus and env:
        reason = (env.get("absent") or {}).get("gpus")
        facts.append(Fact("GPU", line(f"none ({reason})" if reason else "none")))

    driver = env.get("driver") or {}
    cuda = f"CUDA up to {driver['cuda_driver']}" if driver.get("cuda_driver") else ""
    python = (env.get("python") or {}).get("version")
    software = [
        *_versions(info, ("gpubench",)),
        f"Python {python}" if python else "",
        *_versions(info, _WORKER),
        *_versions(info, ("numpy",)),
    ]
    facts += [
        Fact("Driver", line(", ".join(map(str, filter(None, [driver.get("driver"), cuda]))))),
        _cpu(env),
        Fact("System", line(_system(env))),
        Fact("Software", line(", ".join(filter(None, software)))),
    ]

    git = env.get("git") or {}
    if git.get("commit"):
        branch = f" on {git['branch']}" if git.get("branch") else ""
        changes = ", with changes" if git.get("dirty") else ""
        facts.append(Fact("Git", line(f"{str(git['commit'])[:12]}{branch}{changes}")))
    variables = [f"{name}={value}" for name, value in sorted((env.get("variables") or {}).items())]
    more = f" and {len(variables) - _SHOWN_VARIABLES} more" if len(variables) > _SHOWN_VARIABLES else ""
    facts.append(Fact("Variables", line(", ".join(variables[:_SHOWN_VARIABLES]) + more)))
    # What `gpubench doctor` had measured of this machine before the run.
    rows = [row for row in self_test_rows(env) if row.level is not Level.NA]
    facts.append(Fact("Self-test", line("; ".join(f"{row.name}: {row.text}" for row in rows))))
    return tuple(fact for fact in facts if fact.text)


def machine_line(info: RunInfo) -> str:
    """The device and software in one line: `NVIDIA H100 80GB HBM3, driver 580.95.05, CUDA 13.0, torch 2.13.0`."""
    env = info.environment
    gpus = [str(gpu["name"]) for gpu in env.get("gpus") or () if gpu.get("name")]
    names = [f"{number} x {name}" if number > 1 else name for name, number in Counter(gpus).items()]
    cpu, driver = env.get("cpu") or {}, (env.get("driver") or {}).get("driver")
    if not names and cpu:
        threads = cpu.get("num_threads_usable")
        usable = f" ({count(threads, 'thread')})" if threads else ""
        names = [f"no GPU, {cpu.get('model') or 'CPU'}{usable}"]
    return ", ".join(filter(None, [*names, f"driver {driver}" if driver else "", *_versions(info, _WORKER)]))


def state_lines(summary: RunSummary) -> tuple[Line, ...]:
    """What may have disturbed the figures: programs that used the CPUs when the run began, and contests that left CPUs
    to them.
    """
    busy = busy_text(summary.info.environment.get("others"))
    limited = [contest.threads for contest in summary.contests if contest.threads is not None]
    said = [f"Busy machine: {busy} as the run began."] if busy else []
    if limited:
        used = count(min(limited), "CPU thread")
        said.append(f"Other programs used the CPUs, so cases took turns with {used}.")
    return lines(*said)


def _gpu(gpu: Mapping[str, Any]) -> str:
    if not gpu.get("uuid") and (gpu.get("absent") or {}).get("handle"):
        return f"not readable ({gpu['absent']['handle']})"
    parts = [str(gpu.get("name") or "unnamed")]
    if gpu.get("memory_total_bytes"):
        parts.append(format_bytes(gpu["memory_total_bytes"]))
    if gpu.get("power_limit_w"):
        parts.append(f"power limit {gpu['power_limit_w']:.0f} W")
    if gpu.get("sm_clock_max_mhz"):
        parts.append(f"SM clock up to {gpu['sm_clock_max_mhz']:.0f} MHz")
    parts += [
        f"{name} {gpu[key]}"
        for name, key in (("ECC", "ecc"), ("MIG", "mig"), ("VBIOS", "vbios"))
        if gpu.get(key) is not None
    ]
    return ", ".join(parts)


def _cpu(env: Mapping[str, Any]) -> Fact:
    cpu = env.get("cpu") or {}
    if not cpu:
        return Fact("CPU", ())
    parts = [str(cpu.get("model") or "unknown")]
    if cpu.get("num_threads_usable"):
        parts.append(f"{cpu['num_threads_usable']} of {cpu.get('num_threads') or '?'} hardware threads")
    parts += [f"governor {cpu['governor']}"] if cpu.get("governor") else []
    flags = [str(flag) for flag in cpu.get("flags") or () if flag != "hypervisor"]
    return Fact("CPU", line(", ".join(parts), muted(f" ({' '.join(flags)})") if flags else ""))


def _system(env: Mapping[str, Any]) -> str:
    system = env.get("system") or {}
    parts = [str(system[name]) for name in ("distribution", "kernel", "libc") if system.get(name)]
    parts += [f"in a container ({system['container']})"] if system.get("container") else []
    parts += ["a virtual machine"] if system.get("virtual") else []
    parts += [f"{format_bytes(system['memory_bytes'])} memory"] if system.get("memory_bytes") else []
    parts += [f"limited to {system['cpu_quota']:g} CPUs"] if system.get("cpu_quota") else []
    limit = system.get("memory_limit_bytes")
    parts += [f"limited to {format_bytes(limit)} memory"] if limit is not None else []
    if env.get("hostname"):
        parts.append(f"host {env['hostname']}")
    return ", ".join(parts)


def _versions(info: RunInfo, names: tuple[str, ...]) -> list[str]:
    env, own = info.environment, info.versions
    known = {**(env.get("packages") or {}), **(env.get("worker") or {}), **{k: v for k, v in own.items() if v}}
    said = []
    for name in names:
        value = known.get(name)
        if isinstance(value, str | int | float) and value != "":
            text = str(value)
            if name == "cudnn" and text.isdigit() and len(text) >= 5:  # one number: 91500 is 9.15.0
                number = int(text)
                text = f"{number // 10000}.{number // 100 % 100}.{number % 100}"
            said.append(f"{_NAMES.get(name, name)} {text}")
    return said
