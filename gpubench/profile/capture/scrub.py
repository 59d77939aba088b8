"""Takes secrets out of a report of nsys.

nsys lists every process that it may look at, with arguments and environment, whatever it was asked to trace: the shell
above, and the program next to it. That cannot be switched off, so the values are overwritten in the report, which keeps
its size and stays readable, and the report is then printed as text to see that none is left. Reports are compressed: a
value may be in there in pieces, each of which is copied from elsewhere. Where one could not be found, or the result not
be checked, the report is not clean.
"""

import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from gpubench.profile.capture.lz4_blocks import find_blocks, origins, unpack
from gpubench.profile.capture.profiler_tools import Tool, text_command
from gpubench.profile.capture.run_tool import run_tool, scratch_folder
from gpubench.profile.capture.secrets import secret_part, secrets_in_sight

LEAST = 6
"""Characters that a secret has at least; shorter values are switches (`1`, `true`), and shorter remains tell nothing.
"""

_MASK = b"*"
_MASKED = re.compile(rb"\*{%d,}" % LEAST)
_TIMEOUT_S = 300.0
_ENTRY = re.compile(rb"-{0,2}([A-Za-z_][\w-]*)=(.+)", re.DOTALL)
_ESCAPE = re.compile(rb"\\([0-7]{1,3}|.)")
_ESCAPED = {b"n": b"\n", b"r": b"\r", b"t": b"\t"}


@dataclass(frozen=True)
class Scrubbed:
    """`clean`: no secret is left that is known. `names` are the variables whose values were overwritten or should be."""

    clean: bool
    names: tuple[str, ...] = ()


def scrub(
    tool: Tool, report: Path, *, environ: Mapping[str, str], in_sight: Mapping[str, str] | None = None
) -> Scrubbed:
    """Overwrites secrets in `report` with as many asterisks. `in_sight` maps secrets to their variables (default: those
    of this machine's processes); more are found in the report itself. A report that is not clean afterwards must not be
    kept.
    """
    sought = dict(secrets_in_sight() if in_sight is None else in_sight)
    masked = mask_whole(report, sought)
    left = _left(tool, report, environ)
    if left:
        masked |= mask_whole(report, left) | mask_compressed(report, left)
        left = _left(tool, report, environ)
    if left:
        mask_pieces(report, left)
        left = _left(tool, report, environ)
    return Scrubbed(left is not None and not left, tuple(sorted(masked | set((left or {}).values()))))


def mask_whole(path: Path, secrets: Mapping[str, str]) -> set[str]:
    """Overwrites whole values; the names of those that were there."""
    content = path.read_bytes()
    found = set()
    for value, name in secrets.items():
        text = _bytes(value)
        if len(text) >= LEAST and text in content:
            content = content.replace(text, _MASK * len(text))
            found.add(name)
    if found:
        path.write_bytes(content)
    return found


def mask_compressed(path: Path, secrets: Mapping[str, str]) -> set[str]:
    """Overwrites what the report's LZ4 blocks make whole values from; the names of those that were there.

    Other strings that share a piece of a value lose it too: what is copied is stored once.
    """
    content = path.read_bytes()
    blocks = list(find_blocks(content))
    ends = list(accumulate(block.size for block in blocks))
    unpacked = b"".join(unpack(content, block) for block in blocks)
    sources: dict[int, list[int]] = {}
    masked, found = bytearray(content), set()
    for value, name in secrets.items():
        text = _bytes(value)
        for begin in _positions(unpacked, text) if len(text) >= LEAST else ():
            found.add(name)
            for at in range(begin, begin + len(text)):
                which = bisect_right(ends, at)
                if which not in sources:
                    sources[which] = origins(content, blocks[which])
                before_end = at - ends[which]
                masked[sources[which][before_end]] = _MASK[0]
    if found:
        path.write_bytes(masked)
    return found


def mask_pieces(path: Path, secrets: Iterable[str]) -> None:
    """Overwrites every piece of `LEAST` characters of the values: what compression has left of them."""
    original = path.read_bytes()
    content = bytearray(original)
    for value in secrets:
        text = _bytes(value)
        for begin in range(len(text) - LEAST + 1):
            for at in _positions(original, text[begin : begin + LEAST]):
                content[at : at + LEAST] = _MASK * LEAST
    path.write_bytes(content)


def _positions(content: bytes, piece: bytes) -> Iterator[int]:
    at = content.find(piece)
    while at >= 0:
        yield at
        at = content.find(piece, at + 1)


def _left(tool: Tool, report: Path, environ: Mapping[str, str]) -> dict[str, str] | None:
    """Secret -> variable, for those that the report still shows; None if it could not be printed."""
    with scratch_folder() as folder:
        text = folder / "report.txt"
        ended = run_tool(
            text_command(tool, report, text), log=folder / "export.log", environ=environ, timeout_s=_TIMEOUT_S
        )
        if ended.timed_out or not text.is_file() or not text.stat().st_size:
            return None
        return dict(exposed_in(text))


def exposed_in(text: Path) -> Iterator[tuple[str, str]]:
    """Secret and variable of each one exposed among the strings of a report printed as text."""
    with text.open("rb") as lines:
        for line in lines:
            if b'"' not in line or b"=" not in line:
                continue
            quoted = line[line.find(b'"') + 1 : line.rfind(b'"')]
            for part in _ESCAPE.sub(_unescaped, quoted).split(b"\0"):
                yield from _exposed(part)


def _exposed(part: bytes) -> Iterator[tuple[str, str]]:
    entry = _ENTRY.fullmatch(part)
    if entry is None:
        return
    name = entry[1].decode().replace("-", "_")
    secret = secret_part(name, entry[2].decode(errors="surrogateescape"))
    if secret is not None and any(len(rest) >= LEAST for rest in _MASKED.split(_bytes(secret))):
        yield secret, name


def _unescaped(match: re.Match[bytes]) -> bytes:
    code = match[1]
    return bytes([int(code, 8) & 0xFF]) if code.isdigit() else _ESCAPED.get(code, code)


def _bytes(value: str) -> bytes:
    return value.encode(errors="surrogateescape")
