"""The archive as bytes: blocks are found by their marks, damaged ones are passed over, harmful names are refused."""

import io
import json
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
    Member,
    check_path,
    end,
    header,
    read_header,
    scan,
)
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


@given(st.lists(st.tuples(st.lists(MEMBERS, max_size=5), st.binary(max_size=60)), max_size=4))
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
    with pytest.raises(CodecError, match="relative path"):
        check_path(path)


@pytest.mark.parametrize("path", ["a.png", "cat/a b.png", "é/ü.jpg", "..a/b..", ".hidden/x"])
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
        {"height": 2**13, "width": 2**13},  # too many pixels for a block of 10 bytes
        {"height": 8.0},
        {"height": "8"},
        {"name": 3},
        {"label": []},
        {"time": 1.5},
        {"name": ["a", "b"]},
        {"first": "x"},
        {"height": [[8]]},
        {"width": True},
    ],
)
def test_indices_that_make_no_sense_are_passed_over(change):
    found = scan(io.BytesIO(made(PLAIN | change)))
    assert not found.blocks and not found.complete


def test_index_that_unpacks_to_too_much_is_passed_over():
    bomb = zlib.compress(b" " * (archive_file.MOST_INDEX + 10) + json.dumps(PLAIN).encode())
    head = BLOCK_MARK + b"".join(map(archive_file.varint, (0, 1, len(bomb), 0))) + bomb
    content = header(FINGERPRINT) + head + archive_file._check(head) + archive_file._check(b"") + end(1, 1)
    assert not scan(io.BytesIO(content)).blocks


def test_many_images_in_an_index_of_a_few_bytes_are_refused():
    """A block states few bytes of content and 60,000 images, in one value each."""
    assert not scan(io.BytesIO(made(PLAIN | {"height": 2**9, "width": 2**9}, num=60_000))).blocks
