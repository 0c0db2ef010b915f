"""What a file has and its pixels lack is named: reports of images that came back as something else."""

import io

import pytest
from PIL import Image, ImageCms, PngImagePlugin

from nelbo.data.flattening import from_pillow
from nelbo.data.losses import in_words

PLAIN = Image.new("RGB", (6, 4), (200, 30, 40))


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


def test_phrases_are_joined():
    assert [in_words(names) for names in ([], ["a"], ["a", "b"], ["a", "b", "c"])] == ["", "a", "a and b", "a, b and c"]
