"""Where in a file the bytes of its LZ4 blocks come from.

nsys stores what it lists of processes as a chain of LZ4 blocks, each after its compressed and its raw size, both as
varints (seen with 2023.4; the format of a block: https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md). A byte
of text lies in the file once, as a literal; wherever it appears again, it is copied from there. A library unpacks such
a block but does not say which literal a byte was copied from; that is what one has to overwrite to take it out without
packing anything anew.
"""

from collections.abc import Iterator
from dataclasses import dataclass

_LEAST = 16
"""Bytes of a block at least: shorter ones are found in any data by chance."""

_MOST = 2**26
_MATCH = 4
"""Bytes that a copy has at least."""


class _NotABlockError(ValueError):
    """What stands there is not packed."""


@dataclass(frozen=True)
class Block:
    """From `start` to `end` in the file; `size` bytes when unpacked."""

    start: int
    end: int
    size: int


@dataclass(frozen=True)
class _Sequence:
    """`length` literals from `start` in the file, then `copied` bytes from `offset` before the end of what is unpacked."""

    start: int
    length: int
    offset: int
    copied: int


def find_blocks(content: bytes) -> Iterator[Block]:
    """Every block in a file, by its sizes: what follows them has to unpack to exactly one of them in exactly the other."""
    at = 0
    while at < len(content) - _LEAST:
        block = _block_at(content, at)
        if block is not None:
            yield block
        at = at + 1 if block is None else block.end


def unpack(content: bytes, block: Block) -> bytes:
    unpacked = bytearray()
    for part in _sequences(content, block.start, block.end):
        unpacked += content[part.start : part.start + part.length]
        begin = len(unpacked) - part.offset
        if part.offset >= part.copied:
            unpacked += unpacked[begin : begin + part.copied]
        else:
            unpacked += (bytes(unpacked[begin:]) * (part.copied // part.offset + 1))[: part.copied]
    return bytes(unpacked)


def origins(content: bytes, block: Block) -> list[int]:
    """For each byte of what the block unpacks to, where in the file its literal is."""
    found: list[int] = []
    for part in _sequences(content, block.start, block.end):
        found += range(part.start, part.start + part.length)
        for _ in range(part.copied):
            found.append(found[-part.offset])
    return found


def _block_at(content: bytes, at: int) -> Block | None:
    try:
        length, at = _varint(content, at)
        size, at = _varint(content, at)
        if (
            not _LEAST <= length <= min(_MOST, len(content) - at)
            or not length - 16 - size // 255 <= size <= 255 * length
        ):
            return None
        unpacked = 0
        for part in _sequences(content, at, at + length):
            unpacked += part.length
            if part.copied and not 0 < part.offset <= unpacked:
                return None
            unpacked += part.copied
    except _NotABlockError:
        return None
    return Block(at, at + length, size) if unpacked == size else None


def _sequences(content: bytes, at: int, end: int) -> Iterator[_Sequence]:
    """The last one copies nothing."""
    while at < end:
        token = content[at]
        length, start = _extended(content, at + 1, end, token >> 4)
        at = start + length
        if at == end:
            yield _Sequence(start, length, 0, 0)
            return
        if at + 2 > end:
            raise _NotABlockError
        offset = content[at] | content[at + 1] << 8
        copied, at = _extended(content, at + 2, end, token & 15)
        yield _Sequence(start, length, offset, copied + _MATCH)
    raise _NotABlockError


def _extended(content: bytes, at: int, end: int, value: int) -> tuple[int, int]:
    """A length whose four bits are all set goes on in the bytes that follow; with the position after it."""
    more = 255 if value == 15 else 0
    while more == 255:
        if at >= end:
            raise _NotABlockError
        more = content[at]
        value += more
        at += 1
    return value, at


def _varint(content: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(4):
        if at >= len(content):
            raise _NotABlockError
        value |= (content[at] & 127) << 7 * place
        at += 1
        if content[at - 1] < 128:
            return value, at
    raise _NotABlockError
