"""Damaged files of version 2 and damaged archives: no wrong pixel without an error, no crash, no large allocation."""

import io

import numpy as np
import pytest
import torch

from nelbo.codec import ArchiveCodec, Bitstream, RawImage
from nelbo.codec.archive_file import Block, end, header, scan
from nelbo.codec.archive_index import Member
from nelbo.errors import CodecError
from tests.codec.test_damage import damaged, outcome
from tests.lattice.tiny import digits, tiny_model

FINGERPRINT = bytes(range(8))
FEW, MANY = 150, pytest.param(10_000, marks=pytest.mark.slow)


@pytest.mark.parametrize("times", [FEW, MANY])
def test_damaged_files_give_no_wrong_pixels(integer_run, times):
    codec, images, generator = integer_run.codec(), digits(4, first=50), np.random.default_rng(0)
    files = codec.encode(list(images), raw=False)
    contents = [file.to_bytes() for file in files]
    places = [turn % len(files) for turn in range(times)]
    seen = [outcome(codec, damaged(contents[place], generator), images[place]) for place in places]
    assert set(seen) <= {"refused", "exact", "truncated"} and seen.count("refused") > times / 2


@pytest.mark.parametrize("times", [FEW // 3, pytest.param(5_000, marks=pytest.mark.slow)])
def test_damaged_previews_with_valid_sums_are_pictures(integer_run, times):
    """The check sum of a prefix is computed anew, so that the decoder behind it sees the damage."""
    codec, image, generator = integer_run.codec(), digits(1, first=50)[0], np.random.default_rng(0)
    whole = codec.encode([image], raw=False)[0]
    cut = whole.cut(len(whole.to_bytes()) - 4)
    for _ in range(times):
        message = damaged(cut.message, generator)
        file = Bitstream(cut.fingerprint, cut.effort, None, None, message, len(message), prefix=True, version=2)
        found = codec.decode([Bitstream.from_bytes(file.to_bytes())])[0]
        assert found.status == "lossy" and int(found.image.max()) <= 16


@pytest.mark.parametrize("times", [FEW // 3, MANY])
def test_damaged_archives_give_no_wrong_pixels(times):
    """Every second damage is within the content of a block whose check sum is computed anew."""
    codec, images, generator = ArchiveCodec(tiny_model(), FINGERPRINT), digits(12), np.random.default_rng(1)
    members = [Member(f"{i}.png", 8, 8) for i in range(6)]
    contents = [codec._with_model(list(images[i : i + 6]), None) for i in (0, 6)]
    refused = 0
    for turn in range(times):
        some = list(contents)
        if turn % 2:
            some[turn // 2 % 2] = damaged(some[turn // 2 % 2], generator)
        blocks = [Block(i, 6 * i, members, content).to_bytes() for i, content in enumerate(some)]
        whole = header(FINGERPRINT) + b"".join(blocks) + end(2, 12)
        refused += _wrong_pixels_of(codec, whole if turn % 2 else damaged(whole, generator), images)
    assert refused > times / 2


def _wrong_pixels_of(codec: ArchiveCodec, content: bytes, images: torch.Tensor) -> bool:
    """Check that what comes out of an archive is right; return whether something was missing."""
    file, intact = io.BytesIO(content), 0
    for block in scan(file).blocks:
        try:
            found = codec.decode(block.read(file), [member.size for member in block.members])
        except CodecError:
            continue
        first = 6 * block.number
        assert all(torch.equal(a, b) for a, b in zip(found, images[first : first + 6], strict=True))
        intact += 1
    return intact < 2


def test_raw_files_are_those_of_version_1(integer_run):
    noise = torch.randint(0, 17, (1, 8, 8), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    file = integer_run.codec().encode([noise])[0]
    assert isinstance(file, RawImage) and file.to_bytes()[1] == 0x61
