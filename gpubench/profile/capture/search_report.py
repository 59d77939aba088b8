"""Searches an nsys report for secrets, to decide whether it may be kept."""

import re
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path

from gpubench.core.secrets import secret_part
from gpubench.profile.capture.profiler_tools import Tool, text_command
from gpubench.profile.capture.run_tool import run_tool, scratch_folder

SHORTEST = 6
"""Least length of a secret in bytes; shorter values are switches (`1`, `true`)."""

_ENTRY = re.compile(rb"-{0,2}([A-Za-z_][\w-]*)=(.+)", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}
_PRINT_TIMEOUT_S = 300.0


def secrets_in_report(
    tool: Tool, report: Path, withheld: Mapping[str, str], *, environ: Mapping[str, str], passed: Collection[str] = ()
) -> tuple[str, ...] | None:
    """Names of variables whose secrets an nsys report holds: those withheld, and any other that looks like one.

    Searches the file and, because reports are compressed, its text as printed by nsys. `passed` are values that may be
    in it, `environ` is the environment for nsys. None if the report could not be printed.
    """
    with scratch_folder() as folder:
        text = folder / "report.txt"
        ended = run_tool(
            text_command(tool, report, text), log=folder / "export.log", environ=environ, timeout_s=_PRINT_TIMEOUT_S
        )
        if ended.timed_out or not text.is_file() or not text.stat().st_size:
            return None
        sought = {}
        for name, value in withheld.items():
            secret = (secret_part(name, value) or value).encode(errors="surrogateescape")
            if len(secret) >= SHORTEST and value not in passed:
                sought[name] = secret
        content = report.read_bytes()
        found = {name for name, secret in sought.items() if secret in content}
        with text.open("rb") as lines:
            for line in lines:
                quoted = _ESCAPE.sub(_unescaped, line[line.find(b'"') + 1 : line.rfind(b'"')])
                found.update(name for name, secret in sought.items() if secret in quoted)
                found.update(_named_secrets(quoted, passed, arguments=line.lstrip().startswith(b"Args")))
    return tuple(sorted(found))


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if code.isdigit() else _ESCAPED.get(code, code)


def _named_secrets(strings: bytes, passed: Collection[str], *, arguments: bool) -> Iterator[str]:
    """Names of values that look like secrets, in zero-separated strings `NAME=value`; in arguments also `--name=value`
    or a value alone.
    """
    for part in (*strings.split(b"\0"), *(strings.split() if arguments else ())):
        entry = _ENTRY.fullmatch(part)
        name = entry[1].decode().replace("-", "_") if entry else "an argument"
        value = (entry[2] if entry else part).decode(errors="surrogateescape")
        secret = secret_part(name, value) if entry or arguments else None
        if secret and len(secret.encode(errors="surrogateescape")) >= SHORTEST and value not in passed:
            yield name
