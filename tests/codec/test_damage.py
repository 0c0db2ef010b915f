"""Damaged files: no wrong picture without an error, no crash, no hang, and no large allocation."""

import zlib

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import nelbo
from nelbo.codec import Bitstream, RawImage
from nelbo.errors import CodecError

FLIPS = 300


def outcome(codec, content, image, verify=True):
    """Decode a file: "refused", "exact", or the status of a picture that is not lossless. Wrong pixels fail."""
    try:
        file = Bitstream.from_bytes(content)
        if isinstance(file, RawImage):
            found = file.pixels
        else:
            decoded = codec.decode([file], verify=verify)[0]
            if decoded.status != "lossless":
                return decoded.status
            found = decoded.image
    except CodecError:
        return "refused"
    assert torch.equal(found, image), content.hex()
    return "exact"


def damaged(content: bytes, generator: np.random.Generator) -> bytes:
    """Flip a bit, swap two bytes, or reverse a part."""
    data = bytearray(content)
    a, b = sorted(generator.integers(0, len(data), 2).tolist())
    kind = generator.integers(3)
    if kind == 0:
        data[a] ^= 1 << generator.integers(8)
    elif kind == 1:
        data[a], data[b] = data[b], data[a]
    else:
        data[a:b] = bytes(reversed(data[a:b]))
    return bytes(data)


def test_random_damage_never_gives_a_wrong_picture(codec, digits):
    image = digits.images([2])[0]
    generator = np.random.default_rng(0)
    contents = [codec.encode([image], verify=False)[0].to_bytes(), RawImage(image).to_bytes()]
    seen = [outcome(codec, damaged(content, generator), image) for content in contents for _ in range(FLIPS)]
    assert seen.count("refused") > FLIPS  # most of them; a larger length in the header makes a file look truncated
    assert set(seen) <= {"refused", "exact", "truncated"}


@pytest.mark.slow
def test_20000_damaged_files_never_give_wrong_pictures(codec, digits):
    generator = np.random.default_rng(1)
    images = digits.images(range(4))
    contents = [(image, file.to_bytes()) for image, file in zip(images, codec.encode(list(images)), strict=True)]
    contents += [(contents[i][0], contents[i][1] + contents[i + 1][1][-9:]) for i in range(3)]  # spliced
    for turn in range(20_000):
        image, content = contents[turn % len(contents)]
        outcome(codec, damaged(content, generator), image)


@pytest.mark.slow
def test_200_damaged_files_of_the_bundled_model():
    generator, run = np.random.default_rng(2), nelbo.load("fashion-mnist")
    shirt = run.sample(1, sampler="dpm-solver++", steps=20)[0]  # the data set itself may not be installed
    codec = run.codec()
    content = codec.encode([shirt], verify=False)[0].to_bytes()
    for _ in range(200):
        outcome(codec, damaged(content, generator), shirt)


def test_pixel_hash_catches_damage_with_a_valid_checksum(codec, digits):
    image = digits.images([2])[0]
    file = codec.encode([image], verify=False)[0]
    for place in range(0, len(file.message), 3):
        message = bytearray(file.message)
        message[place] ^= 0x10
        wrong = Bitstream(file.fingerprint, file.effort, None, file.pixel_hash, bytes(message), file.length)
        with pytest.raises(CodecError, match="hash"):
            codec.decode([Bitstream.from_bytes(wrong.to_bytes())])


def test_damage_is_found_before_the_network_runs(codec, digits, monkeypatch):
    content = bytearray(codec.encode(list(digits.images([2])), verify=False)[0].to_bytes())
    content[-1] ^= 1
    monkeypatch.setattr(type(codec.chain), "predictions", lambda *_: pytest.fail("the network was called"))
    with pytest.raises(CodecError, match="checksum"):
        codec.decode([Bitstream.from_bytes(bytes(content))])


def test_damaged_file_decodes_unverified_on_request(codec, digits):
    content = bytearray(codec.encode(list(digits.images([2])), verify=False)[0].to_bytes())
    content[-1] ^= 1
    found = codec.decode([Bitstream.from_bytes(bytes(content))], verify=False)[0]
    assert found.status == "unverified"


@given(st.binary(max_size=80))
def test_any_bytes_are_a_header_or_refused(data):
    for content in (data, bytes([0x9D, 0x61]) + data, bytes([0x9D, 0xA9]) + data):
        try:
            Bitstream.from_bytes(content)
        except CodecError as error:
            assert str(error).endswith(".")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "cut short"),
        (b"\x89PNG\r\n", "not a .nelbo file: it does not start with the bytes 9D 6x"),
        (bytes([0x9D, 0x63, 0x51, 0, 0, 0, 0]), "version 3 of the format"),
        (bytes([0x9D, 0x62, 0x51, 0, 0, 0, 0]), "header is invalid"),
        (bytes([0x9D, 0x61, 0x53]) + bytes(8) + bytes([0xFF] * 5), "too long"),
        (
            bytes([0x9D, 0x61, 0x52]) + bytes(8) + b"\xff\xff\xff\xff\x07\xff\xff\xff\xff\x07" + bytes(9),
            "states an image of 2147483647 x 2147483647 pixels",
        ),
        (bytes([0x9D, 0x61, 0x52]) + bytes(8) + b"\x80\x80\x01\x80\x40\x7f" + bytes(9), "too few for an image"),
        (bytes([0x9D, 0x61, 0x14, 1]) + b"\xff\xff\xff\x7f" * 2 + bytes(20), "header is invalid"),
    ],
)
def test_invalid_headers_are_refused(content, message):
    with pytest.raises(CodecError, match=message):
        Bitstream.from_bytes(content)


def test_raw_image_with_a_false_size_is_refused():
    content = RawImage(torch.zeros(1, 64, 64, dtype=torch.uint8)).to_bytes()
    lying = bytearray(content)
    lying[4] = 8  # 8 rows instead of 64
    head = bytes(lying[:6])
    rest = bytes(lying[10:])
    forged = head + zlib.crc32(head + rest).to_bytes(4, "big") + rest
    with pytest.raises(CodecError, match="unpacks to 513 bytes of pixels, expected 512"):
        Bitstream.from_bytes(forged)
