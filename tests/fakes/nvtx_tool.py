"""Builds the recording NVTX tool of `nvtx_injection/` with the machine's compiler, and runs programs under it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).parent / "nvtx_injection" / "injection.c"


@dataclass(frozen=True)
class Event:
    """A push or start range as the tool saw it; `depth` is its nesting on its thread (of push ranges)."""

    kind: str
    domain: str
    name: str
    depth: int
    category: int
    payload: str
    thread: int


def compiler() -> str | None:
    return shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")


def build(folder: Path, *, refuse_extension: bool = False) -> Path:
    library = folder / ("refusing.so" if refuse_extension else "listening.so")
    flags = ["-DREFUSE_EXTENSION"] if refuse_extension else []
    found = compiler()
    assert found is not None
    subprocess.run(
        [
            found,
            "-std=gnu11",
            "-O1",
            "-Wall",
            "-Wextra",
            "-Werror",
            "-shared",
            "-fPIC",
            *flags,
            "-o",
            str(library),
            str(SOURCE),
            "-lpthread",
        ],
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )
    return library


def run(program: str, library: Path, record: Path, **environ: str) -> tuple[list[Event], str]:
    """Runs Python text under the tool; the ranges opened, in order, and what the program printed."""
    record.unlink(missing_ok=True)
    done = subprocess.run(
        [sys.executable, "-c", program],
        check=True,
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "NVTX_INJECTION64_PATH": str(library), "NVTX_RECORD": str(record), **environ},
    )
    return read(record), done.stdout


def read(record: Path) -> list[Event]:
    events = []
    for line in record.read_text().splitlines() if record.exists() else []:
        kind, *fields = line.split("\t")
        if kind in ("push", "start"):
            domain, number, category, payload, name, thread = fields
            events.append(
                Event(kind, domain, name, int(number) if kind == "push" else 0, int(category), payload, int(thread))
            )
    return events


def balance(record: Path) -> dict[str, int]:
    """Opened less closed, per kind: 0 everywhere after a program that closes what it opens."""
    kinds = [line.split("\t")[0] for line in record.read_text().splitlines()]
    return {"push": kinds.count("push") - kinds.count("pop"), "start": kinds.count("start") - kinds.count("end")}
