"""The archive as bytes: blocks are found by their marks, damaged ones are passed over, harmful names are refused."""

import io
import json
import time
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec import archive_file
from nelbo.codec.archive_file import (
    BLOCK_MARK,
    HEAD_BYTES,
    Block,
    end,
    header,
    read_header,
    scan,
)
from nelbo.codec.archive_index import MOST_INDEX, Member, check_path
from nelbo.errors import CodecError

FINGERPRINT = bytes(range(8))
NAMES = st.text(st.characters(exclude_characters="/\\:", exclude_categories=("Cs", "Cc", "Zl", "Zp")), min_size=1)
MEMBERS = st.builds(
    Member,
    name=NAMES,
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    label=st.none() | NAMES,
    time=st.none() | st.integers(0, 2**33),
)


def archive(blocks: list[Block]) -> bytes:
    num = sum(len(block.members) for block in blocks)
    return header(FINGERPRINT) + b"".join(block.to_bytes() for block in blocks) + end(len(blocks), num)


def blocks_of(sizes: list[int]) -> list[Block]:
    """Return blocks with so many images each, whose content contains marks."""
    made, first = [], 0
    for number, size in enumerate(sizes):
        members = [Member(f"cat/{first + i}.png", 8, 8, None, 10**9 + i) for i in range(size)]
        content = bytes(np.random.default_rng(number).integers(0, 256, 50, dtype=np.uint8)) + BLOCK_MARK + b"abc"
        made.append(Block(number, first, members, content))
        first += size
    return made


@given(st.lists(st.tuples(st.lists(MEMBERS, max_size=5), st.binary(min_size=1, max_size=60)), max_size=4))
def test_what_is_written_is_found(parts):
    blocks, first = [], 0
    for number, (members, content) in enumerate(parts):
        blocks.append(Block(number, first, members, content))
        first += len(members)
    file = io.BytesIO(archive(blocks))
    assert read_header(file) == FINGERPRINT
    found = scan(file)
    assert found.complete and found.lost == 0
    for block, expected in zip(found.blocks, blocks, strict=True):
        assert list(block.members) == list(expected.members)
        assert block.read(file) == expected.content


def test_numbered_names_and_equal_fields_take_no_room():
    members = [Member(f"{i:05d}", 28, 28) for i in range(1000, 3000)]
    assert len(Block(0, 1000, members, b"").to_bytes()) < 150


@settings(max_examples=300)
@given(st.data())
def test_damage_loses_the_damaged_block_only(data):
    blocks = blocks_of([3, 1, 4])
    content = bytearray(archive(blocks))
    starts = [content.index(block.to_bytes()) for block in blocks]
    place = data.draw(st.integers(HEAD_BYTES, len(content) - 1))
    content[place] ^= data.draw(st.integers(1, 255))
    hit = sum(place >= start for start in starts) - 1
    hit = None if place >= starts[-1] + len(blocks[-1].to_bytes()) else hit
    file = io.BytesIO(bytes(content))
    found = scan(file)
    intact = []
    for block in found.blocks:
        try:
            intact.append((block.number, block.read(file)))
        except CodecError:
            assert block.number == hit
    assert intact == [(block.number, block.content) for block in blocks if block.number != hit]
    if hit is not None and len(found.blocks) < 3:
        assert not found.complete and found.lost == len(blocks[hit].members)


@pytest.mark.parametrize("cut", range(0, 400, 7))
def test_every_cut_is_noticed(cut):
    content = archive(blocks_of([3, 1, 4]))[: -1 - cut]
    file = io.BytesIO(content)
    if len(content) < HEAD_BYTES:
        with pytest.raises(CodecError):
            read_header(file)
        return
    found = scan(file)
    assert not found.complete and found.lost is None


@pytest.mark.parametrize("start", [b"", b"\x9d", b"\x9da" + bytes(8), b"\x89PNG\r\n\x1a\n" + bytes(20)])
def test_other_files_are_refused(start):
    with pytest.raises(CodecError, match="not an archive"):
        read_header(io.BytesIO(start))


def test_later_versions_are_refused():
    with pytest.raises(CodecError, match="version 2 of the format, and this nelbo reads version 1"):
        read_header(io.BytesIO(b"\x9d\x72" + FINGERPRINT))


@pytest.mark.parametrize(
    "path",
    ["/etc/passwd", "../x", "a/../../x", "a//b", "", ".", "a/./b", "C:/x", "a\\b", "a\0b", "a\nb", ".. /x", "a/"],
)
def test_paths_out_of_the_folder_are_refused(path):
    with pytest.raises(CodecError, match=r"relative path|control characters, backslashes"):
        check_path(path)


@pytest.mark.parametrize(
    "path",
    [
        "a.png",
        "cat/a b.png",
        "é/ü.jpg",
        "..a/b..",
        ".hidden/x",
        "at 3.04\u202fPM.png",
        "\u3000.png",
        "12:30.png",
        "👩\u200d🚀",
    ],
)
def test_plain_paths_are_accepted(path):
    assert check_path(path) == path


def made(index: object, num: int = 1, length: int = 10) -> bytes:
    """Return an archive whose block has an index of our choice, with every check sum right."""
    packed = zlib.compress(json.dumps(index).encode())
    head = BLOCK_MARK + b"".join(map(archive_file.varint, (0, num, len(packed), length))) + packed
    block = head + archive_file._check(head) + bytes(length) + archive_file._check(bytes(length))
    return header(FINGERPRINT) + block + end(1, num)


PLAIN = {"first": 0, "name": "a", "height": 8, "width": 8, "label": None, "time": None}


def test_plain_index_is_accepted():
    assert scan(io.BytesIO(made(PLAIN))).blocks[0].members == [Member("a", 8, 8)]


@pytest.mark.parametrize(
    "change",
    [
        {"height": 0},
        {"width": -1},
        {"height": 2**20, "width": 2**20},
        {"height": 8.0},
        {"height": "8"},
        {"name": 3},
        {"label": []},
        {"time": 1.5},
        {"name": ["a", "b"]},
        {"first": "x"},
        {"first": -1},
        {"first": True},
        {"time": 10**30},
        {"height": [[8]]},
        {"width": True},
    ],
)
def test_indices_that_make_no_sense_are_passed_over(change):
    found = scan(io.BytesIO(made(PLAIN | change)))
    assert not found.blocks and not found.complete


def test_index_that_unpacks_to_too_much_is_passed_over():
    bomb = zlib.compress(b" " * (MOST_INDEX + 10) + json.dumps(PLAIN).encode())
    head = BLOCK_MARK + b"".join(map(archive_file.varint, (0, 1, len(bomb), 0))) + bomb
    content = header(FINGERPRINT) + head + archive_file._check(head) + archive_file._check(b"") + end(1, 1)
    assert not scan(io.BytesIO(content)).blocks


def test_many_images_in_an_index_of_a_few_bytes_are_refused():
    """A block states 10 bytes of content and 81 images, in one value each."""
    assert scan(io.BytesIO(made(PLAIN, num=80))).blocks
    assert not scan(io.BytesIO(made(PLAIN, num=81))).blocks


def test_content_beyond_the_end_is_not_allocated():
    """A length of 2^35 - 1 with every check sum of the head right."""
    packed = zlib.compress(json.dumps(PLAIN).encode())
    head = BLOCK_MARK + b"".join(map(archive_file.varint, (0, 1, len(packed), 2**35 - 1))) + packed
    file = io.BytesIO(header(FINGERPRINT) + head + archive_file._check(head))
    with pytest.raises(CodecError, match="check sum"):
        scan(file).blocks[0].read(file)


def test_scanning_in_vain_ends():
    """Marks whose heads claim 4 MB each are given up soon."""
    claim = BLOCK_MARK + b"".join(map(archive_file.varint, (0, 1, 2**18, 10)))
    began = time.monotonic()
    assert not scan(io.BytesIO(header(FINGERPRINT) + claim * 30_000)).complete
    assert time.monotonic() - began < 60


def test_blocks_that_are_repeated_are_not_complete():
    first = blocks_of([2, 2])[0].to_bytes()
    assert not scan(io.BytesIO(header(FINGERPRINT) + first + first + end(2, 4))).complete
