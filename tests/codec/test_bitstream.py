"""The container: limits of its numbers and sizes, from both sides."""

import lzma
import zlib
from dataclasses import replace

import pytest
import torch

from nelbo.codec import Bitstream, RawImage
from nelbo.codec.bitstream import PIXELS_A_BYTE, SMALL_IMAGE, fewest_bytes, varint
from nelbo.codec.raw_image import LARGEST_IMAGE
from nelbo.errors import CodecError

BOTH = pytest.mark.parametrize("version", [1, 2])


def file_of(length: int, size: tuple[int, int] | None = None, **changes) -> Bitstream:
    """Return a lossless file with a message of `length` bytes."""
    fingerprint = bytes(8 if size else 3)
    return replace(Bitstream(fingerprint, 5, size, bytes(4), bytes([7]) * length, length), **changes)


@pytest.mark.parametrize(
    ("value", "content"),
    [(0, "00"), (127, "7f"), (128, "8001"), (16383, "ff7f"), (16384, "808001"), (2**28, "8080808001")],
)
def test_varints_use_7_bits_a_byte(value, content):
    assert varint(value).hex() == content


@pytest.mark.parametrize("length", [0, 1, 127, 128, 16383, 16384])
@pytest.mark.parametrize("size", [None, (1, 1), (127, 128), (16384, 1)])
@pytest.mark.parametrize("kind", [{}, {"pixel_hash": None}, {"pixel_hash": None, "prefix": True}])
@BOTH
def test_files_round_trip(length, size, kind, version):
    file = file_of(length, size, version=version, **kind)
    found = Bitstream.from_bytes(file.to_bytes())
    assert replace(found, check=None) == file and not found.truncated
    found.verify()
    assert file.overhead == len(file.to_bytes()) - length


@BOTH
@pytest.mark.parametrize("effort", [1, 9])
def test_efforts_1_and_9_are_read(effort, version):
    assert Bitstream.from_bytes(file_of(5, effort=effort, version=version).to_bytes()).effort == effort


@BOTH
@pytest.mark.parametrize("effort", [0, 10, 15])
def test_efforts_0_and_10_are_refused(effort, version):
    with pytest.raises(CodecError, match="header is invalid"):
        Bitstream.from_bytes(file_of(5, effort=effort, version=version).to_bytes())


@BOTH
def test_lossless_prefix_is_refused(version):
    with pytest.raises(CodecError, match="header is invalid"):
        Bitstream.from_bytes(file_of(5, prefix=True, version=version).to_bytes())


def test_whoever_knows_the_pixels_can_check_a_file_of_version_2():
    """Damage changes the hash that the file states, because the CRC of the message is added to it."""
    content = file_of(20, version=2).to_bytes()
    for place in range(2, len(content)):
        damaged = bytearray(content)
        damaged[place] ^= 4
        try:
            found = Bitstream.from_bytes(bytes(damaged))
        except CodecError:
            continue  # its length is wrong
        assert found.pixel_hash != bytes(4) or found.truncated


@BOTH
def test_first_bytes_are_those_of_the_file(version):
    content = file_of(20, version=version).to_bytes()
    whole = Bitstream.from_bytes(content)
    for num in range(whole.overhead, len(content) + 1):
        assert whole.first(num).to_bytes() == content[:num]
        assert Bitstream.from_bytes(content[:num]).to_bytes() == content[:num]


@BOTH
def test_one_byte_too_many_is_damage(version):
    content = file_of(5, version=version).to_bytes()
    with pytest.raises(CodecError, match="it has 1 bytes too many"):
        Bitstream.from_bytes(content + b"\0")
    assert Bitstream.from_bytes(content[:-1]).truncated


def test_only_whole_files_are_verified():
    content = bytearray(file_of(5).to_bytes())
    content[-1] ^= 1
    with pytest.raises(CodecError, match="checksum does not match"):
        Bitstream.from_bytes(bytes(content)).verify()
    Bitstream.from_bytes(bytes(content[:-1])).verify()
    with pytest.raises(CodecError, match="checksum does not match"):
        Bitstream.from_bytes(bytes(content)).first(len(content)).verify()


@pytest.mark.parametrize("num_bytes", [0, 1, 10, 11, 12])
def test_first_always_keeps_the_header(num_bytes):
    file = file_of(20)
    kept = file.first(num_bytes)
    assert len(kept.message) == max(num_bytes - file.overhead, 0) and kept.truncated


def test_small_images_need_no_least_number_of_bytes():
    side = int(SMALL_IMAGE**0.5)
    assert fewest_bytes(None) == fewest_bytes((side, side)) == 0
    assert fewest_bytes((1, SMALL_IMAGE + 1)) == SMALL_IMAGE // PIXELS_A_BYTE + 1
    assert fewest_bytes((2, SMALL_IMAGE)) == 2 * SMALL_IMAGE // PIXELS_A_BYTE


def test_large_images_need_a_byte_for_4096_pixels():
    size = (2, SMALL_IMAGE)
    content = file_of(200, size).to_bytes()
    assert isinstance(Bitstream.from_bytes(content[: fewest_bytes(size)]), Bitstream)
    with pytest.raises(CodecError, match=f"{fewest_bytes(size) - 1} bytes are too few"):
        Bitstream.from_bytes(content[: fewest_bytes(size) - 1])
    assert Bitstream.beginning(content[: fewest_bytes(size) - 1]) is None


def test_images_above_the_largest_size_are_refused():
    side = 1 << 14
    assert side * side == LARGEST_IMAGE
    assert Bitstream.from_bytes(file_of(LARGEST_IMAGE // PIXELS_A_BYTE, (side, side)).to_bytes()).size == (side, side)
    with pytest.raises(CodecError, match=f"states an image of {side} x {side + 1} pixels"):
        Bitstream.from_bytes(file_of(LARGEST_IMAGE // PIXELS_A_BYTE + 9, (side, side + 1)).to_bytes())
    with pytest.raises(CodecError, match="states an image of 0 x 9 pixels"):
        Bitstream.from_bytes(file_of(20, (0, 9)).to_bytes())


def test_cut_changes_only_files_that_do_not_fit():
    file = file_of(40)
    size = len(file.to_bytes())
    assert file.cut(size) is file
    cut = file.cut(size - 5)
    assert cut.prefix and cut.pixel_hash is None and len(cut.to_bytes()) == size - 5
    assert Bitstream.from_bytes(cut.to_bytes()).message == file.message[: len(cut.message)]
    again = Bitstream.from_bytes(cut.to_bytes()).cut(size - 6)
    assert len(again.to_bytes()) == size - 6


def test_cut_uses_the_bytes_that_a_shorter_length_saves():
    """The length of the whole message takes 3 bytes, and that of the cut one 1."""
    file = file_of(20_000)
    assert [len(file.cut(num).to_bytes()) for num in (12, 100, 120)] == [12, 100, 120]


def test_cut_keeps_the_fewest_bytes_of_a_large_image():
    """A cut at 128 keeps two bytes for the length of the message, which then is short enough for one."""
    size = (2, SMALL_IMAGE)
    assert len(file_of(200, size).cut(129).to_bytes()) == fewest_bytes(size) == 128
    with pytest.raises(CodecError, match=r"max_bytes=128 cuts the file to 127 bytes, but .* needs at least 128;"):
        file_of(200, size).cut(128)


def raw_file(kind: int, shape: tuple[int, int, int], packed: bytes) -> bytes:
    """Return a raw file with a valid checksum."""
    head = bytes([0x9D, 0x61, 4 | kind << 4]) + b"".join(varint(side) for side in shape)
    return head + zlib.crc32(head + packed).to_bytes(4, "big") + packed


def pack(kind: int, content: bytes) -> bytes:
    filters = [{"id": lzma.FILTER_LZMA2, "preset": 9}]
    return [content, zlib.compress(content), lzma.compress(content, lzma.FORMAT_RAW, filters=filters)][kind]


@pytest.mark.parametrize("kind", [0, 1, 2])
def test_raw_images_of_each_kind_are_read(kind):
    found = Bitstream.from_bytes(raw_file(kind, (1, 2, 3), pack(kind, bytes(range(6)))))
    assert isinstance(found, RawImage) and found.pixels.flatten().tolist() == list(range(6))


@pytest.mark.parametrize("length", [0, 5, 7])
@pytest.mark.parametrize("kind", [0, 1, 2])
def test_raw_images_of_other_lengths_are_refused(kind, length):
    with pytest.raises(CodecError, match=f"unpacks to {length} bytes of pixels, expected 6"):
        Bitstream.from_bytes(raw_file(kind, (1, 2, 3), pack(kind, bytes(length))))


@pytest.mark.parametrize(
    ("kind", "shape", "message"),
    [
        (3, (1, 2, 3), "header is invalid"),
        (0, (0, 2, 3), "header is invalid"),
        (0, (1, 1 << 14, 1 << 14), "unpacks to 1 bytes of pixels, expected 268435456"),
        (0, (1, 1 << 14, (1 << 14) + 1), "header is invalid"),
    ],
)
def test_raw_headers_are_checked(kind, shape, message):
    with pytest.raises(CodecError, match=message):
        Bitstream.from_bytes(raw_file(kind, shape, b"x"))


def test_raw_images_take_the_shortest_encoding():
    generator = torch.Generator().manual_seed(0)
    for largest, kind in ((1, 1), (256, 0), (4, 2)):  # zeros, noise, and few levels
        image = torch.randint(0, largest, (3, 64, 64), generator=generator).to(torch.uint8)
        sizes = [len(pack(each, image.numpy().tobytes())) for each in (0, 1, 2)]
        content = RawImage(image).to_bytes()
        assert content[2] >> 4 == kind == sizes.index(min(sizes))
        assert len(content) <= min(sizes) + 14
        found = Bitstream.from_bytes(content)
        assert isinstance(found, RawImage) and torch.equal(found.pixels, image)


@pytest.mark.parametrize("flag", [1, 2, 8])
def test_raw_images_with_other_flags_are_refused(flag):
    content = bytearray(raw_file(0, (1, 2, 3), bytes(6)))
    content[2] |= flag
    with pytest.raises(CodecError, match="header is invalid"):
        Bitstream.from_bytes(bytes(content))


@pytest.mark.parametrize("packed", [zlib.compress(bytes(6)) + b"\0", zlib.compress(bytes(6))[:-4]])
def test_deflated_pixels_end_with_the_file(packed):
    with pytest.raises(CodecError, match="its pixels do not end with the file"):
        Bitstream.from_bytes(raw_file(1, (1, 2, 3), packed))
