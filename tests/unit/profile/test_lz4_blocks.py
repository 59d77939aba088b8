"""Blocks packed by the reference library, found in a file and followed back to their literals."""

import random

import lz4.block
from hypothesis import given
from hypothesis import strategies as st

from gpubench.profile.capture.lz4_blocks import find_blocks, origins, unpack

WORDS = [
    b"PATH=/usr/bin",
    b"HOME=/root",
    b"LANG=C.UTF-8",
    b"\n\x12\x08\x01",
    b"python",
    b"-m",
    b"gpubench",
    b"aaaaaaaaaaaaaaaaaaaa",
]
PIECES = st.lists(st.one_of(st.sampled_from(WORDS), st.binary(max_size=12)), min_size=5, max_size=300)


def varint(value: int) -> bytes:
    low = value & 127
    return bytes([low]) if value < 128 else bytes([low | 128]) + varint(value >> 7)


def packed(raw: bytes) -> bytes:
    block = lz4.block.compress(raw, store_size=False)
    return varint(len(block)) + varint(len(raw)) + block


@given(PIECES)
def test_a_block_unpacks_to_what_was_packed_and_each_byte_has_a_literal(pieces):
    raw = b"".join(pieces) + b"and an end that makes it long enough"
    content = b"NVIDIA\xff\xff" + packed(raw)
    (block,) = find_blocks(content)
    assert (block.end, block.size) == (len(content), len(raw))
    assert unpack(content, block) == raw
    assert bytes(content[at] for at in origins(content, block)) == raw


def test_a_chain_of_blocks_is_found_amid_other_data():
    rng = random.Random(5)
    parts = [b" ".join(rng.choices(WORDS, k=200)) for _ in range(3)]
    content = b"head of the file " * 20 + b"".join(map(packed, parts)) + b"\xff its tail" * 9
    found = [unpack(content, block) for block in find_blocks(content)]
    assert [each for each in found if len(each) > 400] == parts


def test_a_literal_that_is_overwritten_changes_every_copy_and_nothing_else():
    raw = b"TOKEN=hunter2-and-more LANG=C.UTF-8 TOKEN=hunter2-and-more HOME=/root"
    content = bytearray(packed(raw))
    (block,) = find_blocks(bytes(content))
    for at in origins(bytes(content), block)[6:22]:
        content[at] = ord("*")
    assert unpack(bytes(content), block) == raw.replace(b"hunter2-and-more", b"*" * 16)


def test_what_is_no_block_is_none():
    assert list(find_blocks(b"")) == []
    assert list(find_blocks(b"\x00" * 5000)) == []
    assert list(find_blocks(b"A plain text that has nothing packed in it. " * 200)) == []
    whole = packed(b"PATH=/usr/bin HOME=/root " * 40)
    assert list(find_blocks(whole[:-1])) == []
