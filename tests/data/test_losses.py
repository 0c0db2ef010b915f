"""What a file has and its pixels lack is named: reports of images that came back as something else."""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageCms, PngImagePlugin

from nelbo.data.flattening import from_pillow, pages_in
from nelbo.data.inputs import as_pictures
from nelbo.data.losses import in_words
from nelbo.data.metadata import FILE, chunks_of, remember_file
from nelbo.data.pictures import read_picture
from nelbo.data.stored import Unreadable
from tests.data.png_files import chunk
from tests.data.tiff_files import LONG, SUBFILE, Page, tiff

PLAIN = Image.new("RGB", (6, 4), (200, 30, 40))
HEADER = 33  # bytes of a PNG file up to the end of its first chunk


def reread(image: Image.Image, kind: str, **options: object) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return Image.open(io.BytesIO(buffer.getvalue()))


def losses(image: Image.Image) -> tuple[str, str]:
    found = from_pillow(image)
    return found.lost, found.metadata


def test_plain_files_lose_nothing():
    assert losses(reread(PLAIN, "PNG")) == ("", "")
    assert losses(reread(PLAIN, "WEBP", lossless=True)) == ("", "")
    assert losses(reread(PLAIN.convert("P"), "PNG")) == ("", "")
    assert losses(reread(PLAIN.convert("L"), "BMP"))[0] == ""


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_frames_are_counted(kind):
    others = [Image.new("RGB", (6, 4), (level, 0, 0)) for level in (10, 20)]
    assert losses(reread(PLAIN, kind, save_all=True, append_images=others))[0] == "2 of its 3 frames are left out"
    assert losses(reread(PLAIN, kind, save_all=True, append_images=others[:1]))[0] == "1 of its 2 frames is left out"


def test_pictures_beside_a_photograph_are_counted():
    assert losses(reread(PLAIN, "MPO", save_all=True, append_images=[PLAIN]))[0] == "1 of its 2 frames is left out"


def test_pages_of_a_tiff_are_images_of_their_own():
    stack = reread(PLAIN, "TIFF", save_all=True, append_images=[Image.new("RGB", (6, 4), (10, 0, 0))])
    stack.seek(1)
    found = from_pillow(stack)
    assert found.pixels[0, 0].tolist() == [10, 0, 0] and found.lost == ""


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "GIF", "MPO"])
def test_only_the_first_frame_of_an_animation_stands_for_others(kind):
    others = [Image.new("RGB", (6, 4), (level, 0, 0)) for level in (10, 20)]
    image = reread(PLAIN, kind, save_all=True, append_images=others)
    assert from_pillow(image).frames == (1 if kind == "MPO" else 3)
    image.seek(1)
    assert from_pillow(image).frames == 1


def test_the_pages_of_an_opened_tiff_are_its_images():
    pages = [
        Page(np.full((2, 3), level, np.uint8), 8, tags=((SUBFILE, LONG, bytes([kind, 0, 0, 0])),))
        for level, kind in ((9, 0), (8, 1), (7, 0), (6, 4))
    ]
    opened = [Image.open(io.BytesIO(tiff(*some))) for some in (pages, pages[1:], pages[:1], pages[1:2])]
    assert [pages_in(image) for image in opened] == [[0, 2], [1], [0], [0]]
    assert pages_in(PLAIN) == pages_in(reread(PLAIN, "PNG")) == [0]
    for image, right in zip(opened, ([9, 7], [7], [9], [8]), strict=True):
        assert [int(picture.pixels.max()) for picture in as_pictures(image)] == right and image.tell() == 0


@pytest.mark.parametrize("size", [(0, 5), (5, 0), (0, 0)])
def test_an_image_without_pixels_is_refused(size):
    with pytest.raises(Unreadable, match=f"it has no pixels: {size[0]} x {size[1]}"):
        from_pillow(Image.new("RGB", size))


def test_what_a_deep_image_lacks_is_listed():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    deep = reread(Image.new("I;16", (2, 2), 700), "PNG", icc_profile=profile)
    assert (
        from_pillow(deep, limits=(0, 1023)).lost
        == "its values 0 to 1023 became 8 bits and its colour profile is ignored"
    )


def test_cmyk_is_named():
    assert losses(reread(PLAIN.convert("CMYK"), "JPEG"))[0] == "its CMYK became RGB"


def test_colour_profile_and_gamma_are_named():
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert losses(reread(PLAIN, "PNG", icc_profile=profile))[0] == "its colour profile is ignored"
    info = PngImagePlugin.PngInfo()
    info.add(b"gAMA", (45_455).to_bytes(4, "big"))
    assert losses(reread(PLAIN, "PNG", pnginfo=info))[0] == "its colour gamma is ignored"


def test_metadata_is_named_apart():
    exif, text = Image.Exif(), PngImagePlugin.PngInfo()
    exif[0x010E] = "a holiday"
    text.add_text("Author", "N. N.")
    assert losses(reread(PLAIN, "PNG", exif=exif, pnginfo=text, dpi=(300, 300))) == (
        "",
        "its EXIF, resolution and text are left out",
    )


def test_16_bits_and_transparency_stay_named():
    assert losses(Image.new("RGBA", (2, 2), (1, 2, 3, 100)))[0] == "its transparency became white"
    assert losses(reread(Image.new("I;16", (2, 2), 700), "PNG"))[0] == "its 16 bits became 8"


def png(*chunks: bytes, late: bytes = b"", after: bytes = b"") -> bytes:
    """A PNG file with more chunks after its header or before its end, and bytes after its end."""
    buffer = io.BytesIO()
    PLAIN.save(buffer, "PNG")
    content = buffer.getvalue()
    return content[:HEADER] + b"".join(chunks) + content[HEADER:-12] + late + content[-12:] + after


@pytest.mark.parametrize(
    ("name", "body", "lost", "metadata"),
    [
        (b"cICP", bytes([9, 16, 0, 1]), "its colour coding (cICP) is ignored", ""),
        (b"sRGB", b"\0", "", "its sRGB mark is left out"),
        (b"sBIT", b"\5\6\5", "", "its significant bits (sBIT) are left out"),
        (b"bKGD", b"\0\1\0\1\0\1", "", "its background colour is left out"),
        (b"tIME", b"\x07\xd0\1\1\1\1\1", "", "its time of last change is left out"),
        (b"pHYs", b"\0\0\0\2\0\0\0\1\0", "", "its resolution is left out"),
        (b"prVt", b"abc", "", "its chunk prVt is left out"),
    ],
)
def test_chunks_that_pillow_passes_over_are_named(tmp_path, name, body, lost, metadata):
    path = tmp_path / "image.png"
    path.write_bytes(png(chunk(name, body)))
    for image in (Image.open(path), Image.open(io.BytesIO(path.read_bytes()))):
        assert losses(image) == (lost, metadata)
    picture = read_picture(path)
    assert (picture.lost, picture.metadata) == (lost, metadata)


def test_chunks_after_the_pixels_and_bytes_after_the_end_are_named():
    assert losses(Image.open(io.BytesIO(png(late=chunk(b"prVt", b"IEND"), after=b"\0"))))[1] == (
        "its trailing bytes and chunk prVt are left out"
    )
    many = [chunk(b"abC" + letter, b"") for letter in (b"a", b"b", b"c", b"d", b"e", b"f")]
    assert losses(Image.open(io.BytesIO(png(*many, *many))))[1] == (
        "its chunk abCa, chunk abCb, chunk abCc, chunk abCd and 2 more are left out"
    )


def test_names_of_chunks_are_read_from_damaged_files_too(tmp_path):
    for content, expected in (
        (png()[:-12], ["IHDR", "IDAT"]),
        (png()[:-12] + b"\0\0\0", ["IHDR", "IDAT", "trailing"]),
        (png()[:-12] + b"\0\0\0\0\x1b[2J", ["IHDR", "IDAT", "trailing"]),
        (png()[:-12] + b"\xff\xff\xff\xfftEXt", ["IHDR", "IDAT", "tEXt"]),
    ):
        file = io.BytesIO(content)
        image = Image.open(file)
        position = file.tell()
        assert chunks_of(image) == expected and file.tell() == position
    (tmp_path / "gone.png").write_bytes(png())
    with Image.open(tmp_path / "gone.png") as image:
        image.load()
    (tmp_path / "gone.png").write_bytes(b"no PNG")
    assert chunks_of(image) == []
    (tmp_path / "gone.png").unlink()
    assert chunks_of(image) == chunks_of(PLAIN) == []


def test_animations_are_read_as_before():
    others = [Image.new("RGB", (6, 4), (level, 0, 0)) for level in (10, 20)]
    image = reread(PLAIN, "PNG", save_all=True, append_images=others)
    assert losses(image) == ("2 of its 3 frames are left out", "")
    image.seek(2)
    assert image.convert("RGB").getpixel((0, 0)) == (20, 0, 0)


def test_tags_of_a_tiff_are_named():
    assert losses(reread(PLAIN, "TIFF")) == ("", "")
    assert losses(reread(PLAIN, "TIFF", description="stained", dpi=(300, 300)))[1] == (
        "its description and resolution are left out"
    )
    assert losses(reread(PLAIN, "TIFF", software="x", tiffinfo={65000: "own"}))[1] == (
        "its software and tag 65000 are left out"
    )
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert losses(reread(PLAIN, "TIFF", icc_profile=profile)) == ("its colour profile is ignored", "")


def encoded(kind: str, mode: str = "RGB", **options: object) -> bytes:
    buffer = io.BytesIO()
    PLAIN.convert(mode).save(buffer, kind, **options)
    return buffer.getvalue()


EXIF = Image.Exif()
EXIF[0x010E] = "a description that needs a place of its own"
EXIF.get_ifd(0x8769)[0x9003] = "2020:01:01 00:00:00"
FILES = {
    "JPEG": encoded("JPEG"),
    "progressive JPEG": encoded("JPEG", progressive=True),
    "JPEG with an end in its comment": encoded("JPEG", comment=b"\xff\xd9", exif=EXIF),
    "MPO": encoded("MPO", save_all=True, append_images=[PLAIN.copy()]),
    "WEBP": encoded("WEBP", exif=EXIF),
    "animated WEBP": encoded("WEBP", save_all=True, append_images=[Image.new("RGB", (6, 4))]),
    "BMP": encoded("BMP"),
    "BMP of 1 bit": encoded("BMP", "1"),
    "TIFF": encoded("TIFF"),
    "TIFF with EXIF": encoded("TIFF", exif=EXIF),
    "deflated TIFF": encoded("TIFF", compression="tiff_adobe_deflate", dpi=(3, 3)),
    "BigTIFF": encoded("TIFF", big_tiff=True),
    "TIFF of 3 pages": encoded("TIFF", save_all=True, append_images=[PLAIN.copy(), PLAIN.copy()]),
}


@pytest.mark.parametrize("name", FILES)
def test_bytes_after_the_end_are_named_in_every_format(tmp_path: Path, name: str) -> None:
    for after in (b"", b"MOTIONPHOTO\xff\xd9"):
        path = tmp_path / "image"
        path.write_bytes(FILES[name] + after)
        with Image.open(path) as image, open(path, "rb") as file, Image.open(file) as other:
            remember_file(other)
            for each in (image, other):
                before = chunks_of(each)
                each.load()
                assert chunks_of(each) == before and ("trailing" in before) == bool(after)


def jpeg(marker: int, content: bytes) -> bytes:
    """A JPEG file with one more segment."""
    return FILES["JPEG"][:2] + struct.pack(">BBH", 0xFF, marker, len(content) + 2) + content + FILES["JPEG"][2:]


@pytest.mark.parametrize(
    ("marker", "content", "lost", "metadata"),
    [
        (0xE5, b"private data", "", "its chunk APP5 is left out"),
        (0xEB, b"JP\0\1jumb", "", "its chunk APP11 is left out"),
        (0xE2, b"MPF\0junk", "", "its chunk APP2 is left out"),
        (0xE0, b"JFXX\0\x10", "", "its chunk APP0 is left out"),
        (0xED, b"Adobe_CM", "", "its chunk APP13 is left out"),
        (0xED, b"Photoshop 3.0\0", "", "its Photoshop data is left out"),
        (0xE1, b"http://ns.adobe.com/xmp/extension/\0more", "", "its XMP is left out"),
        (0xE2, b"ICC_PROFILE\0\1\2half", "its colour profile is ignored", ""),
        (0xEE, b"Adobe\0\x64\0\0\0\0\1", "", ""),
    ],
)
@pytest.mark.filterwarnings("ignore:Image appears to be a malformed MPO")
def test_segments_of_a_jpeg_are_named(marker: int, content: bytes, lost: str, metadata: str) -> None:
    assert losses(Image.open(io.BytesIO(jpeg(marker, content)))) == (lost, metadata)


def riff(content: bytes, name: bytes, body: bytes) -> bytes:
    """A WebP file with one more chunk."""
    content += name + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)
    return content[:4] + struct.pack("<I", len(content) - 8) + content[8:]


def test_chunks_of_a_webp_are_named(tmp_path: Path) -> None:
    path = tmp_path / "image.webp"
    for name, named in ((b"PRIV", "chunk PRIV"), (b"AB  ", "chunk AB"), (b"EXIF", "EXIF"), (b"XMP ", "XMP")):
        path.write_bytes(riff(FILES["animated WEBP"], name, b"abc"))
        with Image.open(path) as image:
            assert losses(image) == ("1 of its 2 frames is left out", f"its {named} is left out")
    path.write_bytes(riff(FILES["animated WEBP"], b"\x1b[2J", b"abc"))
    with Image.open(path) as image:
        assert losses(image)[1] == "its trailing bytes are left out"


def test_colour_profile_of_a_bmp_is_named(tmp_path: Path) -> None:
    """Version 5 of the header, from 124 bytes on, has room for the place and the size of a profile."""
    plain, profile = FILES["BMP"], b"profile"
    header, pixels = bytearray(plain[14:54] + bytes(84)), plain[54:]
    header[:4], header[56:60] = struct.pack("<I", 124), b"DEBM"
    header[112:120] = struct.pack("<II", 124 + len(pixels), len(profile))
    content = b"BM" + struct.pack("<IHHI", 0, 0, 0, 138) + header + pixels + profile  # its size is not declared
    path = tmp_path / "image.bmp"
    for after, trailing in ((b"", False), (b"x", True)):
        path.write_bytes(content + after)
        with Image.open(path) as image:
            assert "profile" in losses(image)[0] and ("trailing" in losses(image)[1]) == trailing


@pytest.mark.parametrize("name", ["WEBP", "BMP", "JPEG", "TIFF with EXIF", "BigTIFF"])
def test_damaged_structure_is_no_error(name: str) -> None:
    image = Image.open(io.BytesIO(FILES[name]))
    for place in range(8, min(len(FILES[name]), 300)):
        for damaged in (FILES[name][:place], FILES[name][:place] + b"\xff" * 8 + FILES[name][place + 8 :]):
            setattr(image, FILE, io.BytesIO(damaged))
            assert isinstance(chunks_of(image), list)


def test_phrases_are_joined():
    assert [in_words(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]


@pytest.mark.parametrize("kind", ["JPEG", "WEBP", "PNG", "TIFF"])
def test_bytes_after_the_end_of_a_stream_are_named(kind: str) -> None:
    """Pillow forgets the stream of most formats when it has loaded an image."""
    buffer = io.BytesIO()
    Image.new("RGB", (9, 9), (200, 30, 90)).save(buffer, kind)
    for trail, said in ((b"", ""), (b"TRAIL" + bytes(range(20)), "its trailing bytes are left out")):
        assert from_pillow(Image.open(io.BytesIO(buffer.getvalue() + trail))).metadata == said


def test_filling_and_comments_of_a_jpeg() -> None:
    buffer = io.BytesIO()
    Image.new("L", (9, 9), 90).save(buffer, "JPEG")
    content = buffer.getvalue()
    tables = content.index(b"\xff\xdb")
    filled = content[:tables] + b"\xff" + content[tables:]
    commented = content[:2] + b"\xff\xfe\0\x07hello" + b"\xff\xfe\0\x02" + content[2:]
    for file, said in (
        (filled, ""),
        (filled + b"TRAIL", "its trailing bytes are left out"),
        (commented, "its comment is left out"),  # Pillow keeps the last comment only, an empty one here
    ):
        assert from_pillow(Image.open(io.BytesIO(file))).metadata == said
