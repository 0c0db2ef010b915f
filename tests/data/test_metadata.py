"""Side data that is damaged, large or odd does not change the pixels; each case is from a public bug report."""

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.data.decoding import decode
from nelbo.data.metadata import without_metadata
from nelbo.data.stored import StoredImage, Unreadable
from tests.data.png_files import chunk

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 8, 3), dtype=np.uint8)
HEADER = 33  # bytes of a PNG file up to the end of its first chunk
TURN_RIGHT = struct.pack("<HHII", 0x0112, 3, 1, 6)


def encoded(kind: str, **options: object) -> bytes:
    content = io.BytesIO()
    Image.fromarray(PIXELS).save(content, kind, **options)
    return content.getvalue()


def png(*extra: bytes) -> bytes:
    """A PNG file with more chunks after its header."""
    plain = encoded("PNG")
    return plain[:HEADER] + b"".join(extra) + plain[HEADER:]


def jpeg(*segments: tuple[int, bytes], jfif: bool = True) -> bytes:
    """A JPEG file with more segments (marker, body) at its start."""
    plain = encoded("JPEG", quality=95)
    extra = b"".join(struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body for marker, body in segments)
    return plain[:2] + extra + plain[2 if jfif else 20 :]


def exif(*entries: bytes, outside: bytes = b"") -> bytes:
    """EXIF data of these entries; a value that does not fit into its entry is at byte 8 + 2 + 12 n + 4."""
    return b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(entries)) + b"".join(entries) + bytes(4) + outside


def resolution(kind: int, value: bytes) -> bytes:
    """EXIF data with the orientation, and an XResolution of some type; its 8 bytes are outside of the entry."""
    outside = 8 + 2 + 12 * 3 + 4
    inside = value if len(value) == 4 else struct.pack("<I", outside)
    count = 4 if kind in (2, 7) else 1
    entry = struct.pack("<HHI", 0x011A, kind, count) + inside
    return exif(TURN_RIGHT, entry, struct.pack("<HHII", 0x0128, 3, 1, 3), outside=value)


def pixels(folder: Path, content: bytes) -> np.ndarray:
    (folder / "image").write_bytes(content)
    return decode(StoredImage(str(folder / "image"))).pixels


JUNK = b"\0\x08\0\x02\x01\x12\0\x03junk"
FAULTY_PNG = {
    "junk EXIF, Pillow#5528": png(chunk(b"eXIf", JUNK)),
    "empty EXIF": png(chunk(b"eXIf", b"")),
    "text of 2 MB, Pillow#8363": png(chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(2_000_000)))),
    "text in UTF-8 of 2 MB": png(chunk(b"iTXt", b"k\0\1\0\0\0" + zlib.compress(bytes(2_000_000)))),
    "colour profile of 2 MB, Pillow#2445": png(chunk(b"iCCP", b"k\0\0" + zlib.compress(bytes(2_000_000)))),
    "wrong checksum of text": png(chunk(b"tEXt", b"k\0text", damaged=True)),
    "wrong checksum of time": png(chunk(b"tIME", bytes(7), damaged=True)),
    "cut pHYs": png(chunk(b"pHYs", b"abc")),
    "cut gAMA": png(chunk(b"gAMA", b"a")),
}
ADOBE = b"Adobe\0\x64\0\0\0\0\1"
FAULTY_JPEG = {
    "junk EXIF": jpeg((0xE1, b"Exif\0\0junkjunk")),
    "empty EXIF, Pillow#6123": jpeg((0xE1, b"Exif\0\0")),
    "cut JFIF": jpeg((0xE0, b"JFIF\0"), jfif=False),
    "cut Photoshop": jpeg((0xED, b"Photoshop 3.0\0" + b"8BIM\x03\xed")),
    "cut colour profile": jpeg((0xE2, b"ICC_PROFILE\0")),
    "cut Adobe": jpeg((0xEE, b"Adobe")),
    "cut comment, then a cut profile": jpeg((0xFE, b""), (0xE2, b"ICC_PROFILE\0")),
}


@pytest.mark.parametrize("name", FAULTY_PNG)
def test_faulty_side_data_of_png_keeps_the_pixels(tmp_path: Path, name: str) -> None:
    assert (pixels(tmp_path, FAULTY_PNG[name]) == PIXELS).all()


def test_damaged_side_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "image").write_bytes(FAULTY_PNG["wrong checksum of text"])
    assert decode(StoredImage(str(tmp_path / "image"))).metadata == "its damaged metadata is left out"


@pytest.mark.parametrize("name", FAULTY_JPEG)
def test_faulty_side_data_of_jpeg_keeps_the_pixels(tmp_path: Path, name: str) -> None:
    assert (pixels(tmp_path, FAULTY_JPEG[name]) == pixels(tmp_path, encoded("JPEG", quality=95))).all()


def test_faulty_exif_of_webp_keeps_the_pixels(tmp_path: Path) -> None:
    assert (pixels(tmp_path, encoded("WEBP", lossless=True, exif=b"Exif\0\0" + JUNK)) == PIXELS).all()


@pytest.mark.parametrize(
    ("kind", "value"),
    [
        (10, struct.pack("<ii", -1, 0)),  # Pillow#8965
        (5, bytes(8)),
        (5, struct.pack("<II", 1, 0)),
        (2, b"abc\0"),
        (7, b"abcd"),
        (11, struct.pack("<f", np.nan)),
        (12, struct.pack("<d", np.inf)),
    ],
)
def test_odd_resolution_keeps_pixels_and_orientation(tmp_path: Path, kind: int, value: bytes) -> None:
    turned = np.rot90(PIXELS, -1)
    assert (pixels(tmp_path, encoded("PNG", exif=resolution(kind, value))) == turned).all()
    plain = pixels(tmp_path, encoded("JPEG", quality=95))
    for jfif in (True, False):
        found = pixels(tmp_path, jpeg((0xE1, resolution(kind, value)), jfif=jfif))
        assert (found == np.rot90(plain, -1)).all()


def test_orientation_survives_other_faults(tmp_path: Path) -> None:
    turned = exif(TURN_RIGHT)
    bad_text = chunk(b"tEXt", b"k\0text", damaged=True)
    assert (pixels(tmp_path, png(bad_text, chunk(b"eXIf", turned[6:]))) == np.rot90(PIXELS, -1)).all()
    plain = pixels(tmp_path, encoded("JPEG", quality=95))
    found = pixels(tmp_path, jpeg((0xE1, turned), (0xE2, b"ICC_PROFILE\0")))
    assert (found == np.rot90(plain, -1)).all()
    doubled = jpeg((0xE1, b"Exif\0\0" + turned))  # Pillow#8348
    assert (pixels(tmp_path, doubled) == np.rot90(plain, -1)).all()


@pytest.mark.parametrize("transform", [0, 1])
def test_colours_named_by_a_segment_are_kept(tmp_path: Path, transform: int) -> None:
    """Without its Adobe segment, RGB in a JPEG file would be taken for YCbCr."""
    adobe = (0xEE, ADOBE[:-1] + bytes([transform]))
    good, faulty = jpeg(adobe, jfif=False), jpeg((0xE2, b"ICC_PROFILE\0"), adobe, jfif=False)
    assert (pixels(tmp_path, faulty) == pixels(tmp_path, good)).all()
    assert (pixels(tmp_path, good) == pixels(tmp_path, encoded("JPEG", quality=95))).all() == bool(transform)


@pytest.mark.parametrize(
    ("content", "cause"),
    [
        (png()[:20] + b"\1" + png()[21:], r"PNG image \(broken PNG file \(bad header checksum in b'IHDR'\)"),
        (png()[:HEADER], "PNG image"),
        (jpeg().replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c"), r"JPEG image \(cannot handle 12-bit layers\)"),
        (b"RIFF\x20\0\0\0WEBPjunkjunk", "WEBP image"),
        (b"BM" + bytes(60), "Unsupported BMP header"),
        (
            b"II*\0\x08\0\0\0\0\0\0\0\0\0",
            r"TIFF image \(white-is-zero grey, 1 unsigned sample of 1 bit: Missing dimensions\)",
        ),
    ],
)
def test_message_names_the_format_and_the_cause(tmp_path: Path, content: bytes, cause: str) -> None:
    with pytest.raises(Unreadable, match=cause) as caught:
        pixels(tmp_path, content)
    assert "not a PNG" not in str(caught.value)


def test_damaged_pixels_are_still_refused(tmp_path: Path) -> None:
    plain, start = png(), png().index(b"IDAT")
    for content in (plain[: start + 40], plain[: start + 10] + b"\0\1\2" + plain[start + 13 :], encoded("JPEG")[:-60]):
        with pytest.raises(Unreadable):
            pixels(tmp_path, content)


def test_a_file_without_side_data_keeps_its_chunks() -> None:
    transparent = encoded("PNG", transparency=(1, 2, 3))
    assert without_metadata(transparent, "PNG").content == transparent
    assert without_metadata(encoded("JPEG"), "JPEG").content == encoded("JPEG")
    assert without_metadata(encoded("WEBP"), "WEBP") is None
