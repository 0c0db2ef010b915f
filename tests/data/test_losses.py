"""What a file has and its pixels lack is named: reports of images that came back as something else."""

import io

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from nelbo.data.flattening import from_pillow
from nelbo.data.losses import in_words
from nelbo.data.metadata import chunks_of
from nelbo.data.pictures import read_picture
from tests.data.png_files import chunk

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


def test_phrases_are_joined():
    assert [in_words(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
