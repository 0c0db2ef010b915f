import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data.decoding import conform, decode, to_tensor
from nelbo.data.stored import StoredImage, Unreadable
from tests.data.png_files import chunk

RED = np.full((4, 6, 3), (200, 30, 10), np.uint8)


def read(path: Path, size: tuple[int, int] | None = None) -> np.ndarray:
    return decode(StoredImage(str(path)), size).pixels


def reason(path: Path) -> str:
    with pytest.raises(Unreadable) as caught:
        decode(StoredImage(str(path)))
    return str(caught.value)


@pytest.mark.parametrize("ending", ["png", "bmp", "tiff", "webp"])
def test_lossless_formats_give_the_pixels(tmp_path: Path, ending: str) -> None:
    options = {"lossless": True} if ending == "webp" else {}
    noise = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / f"a.{ending}", **options)
    assert (read(tmp_path / f"a.{ending}") == noise).all()


def test_jpeg_is_recognized_by_content(tmp_path: Path) -> None:
    Image.fromarray(RED).save(tmp_path / "a.png", format="JPEG", quality=95)
    assert np.abs(read(tmp_path / "a.png").astype(int) - RED).max() < 6


def test_grey_stored_as_rgb_has_no_colour(tmp_path: Path) -> None:
    grey = np.arange(24, dtype=np.uint8).reshape(4, 6)
    Image.fromarray(grey).convert("RGB").save(tmp_path / "a.png")
    decoded = decode(StoredImage(str(tmp_path / "a.png")))
    assert decoded.file_mode == "RGB" and (decoded.pixels == grey[:, :, None]).all()


def test_alpha_is_composited_on_white(tmp_path: Path) -> None:
    rgba = np.zeros((1, 3, 4), np.uint8)
    rgba[0, :, 3] = 0, 128, 255  # black: transparent, half, opaque
    rgba[0, 2, :3] = 255, 0, 0
    Image.fromarray(rgba).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png")[0].tolist() == [[255, 255, 255], [127, 127, 127], [255, 0, 0]]


def test_grey_with_alpha_stays_grey(tmp_path: Path) -> None:
    Image.fromarray(np.array([[[40, 0], [40, 255]]], np.uint8), "LA").save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").tolist() == [[[255], [40]]]


def test_palette_with_a_transparent_entry(tmp_path: Path) -> None:
    image = Image.fromarray(np.array([[0, 1, 2]], np.uint8), "P")
    image.putpalette([0, 0, 0, 10, 200, 30, 7, 7, 7])
    image.save(tmp_path / "opaque.png")
    image.save(tmp_path / "holes.png", transparency=0)
    assert read(tmp_path / "opaque.png")[0].tolist() == [[0, 0, 0], [10, 200, 30], [7, 7, 7]]
    assert read(tmp_path / "holes.png")[0].tolist() == [[255, 255, 255], [10, 200, 30], [7, 7, 7]]


def test_transparent_colour_of_grey_and_rgb(tmp_path: Path) -> None:
    Image.fromarray(np.array([[3, 90]], np.uint8)).save(tmp_path / "grey.png", transparency=3)
    Image.fromarray(RED).save(tmp_path / "rgb.png", transparency=(200, 30, 10))
    assert read(tmp_path / "grey.png").ravel().tolist() == [255, 90]
    assert (read(tmp_path / "rgb.png") == 255).all()


def test_one_bit_becomes_0_and_255(tmp_path: Path) -> None:
    Image.fromarray(np.array([[True, False]])).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").ravel().tolist() == [255, 0]


@pytest.mark.parametrize("ending", ["png", "tiff"])
def test_sixteen_bit_grey_is_scaled_and_rounded(tmp_path: Path, ending: str) -> None:
    values = np.array([[0, 128, 129, 256, 257, 32768, 65406, 65407, 65535]], np.uint16)
    Image.fromarray(values).save(tmp_path / f"a.{ending}")
    expected = np.floor(values * (255 / 65535) + 0.5).astype(int)
    assert read(tmp_path / f"a.{ending}").ravel().tolist() == expected.ravel().tolist() != [0] * 9


def test_sixteen_bit_grey_with_a_transparent_value(tmp_path: Path) -> None:
    Image.fromarray(np.array([[1000, 2570]], np.uint16)).save(tmp_path / "a.png", transparency=1000)
    content = (tmp_path / "a.png").read_bytes()
    assert (b"tRNS" in content, read(tmp_path / "a.png").ravel().tolist()) == (True, [255, 10])


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    Image.fromarray(RED).convert("CMYK").save(tmp_path / "a.tiff")
    assert np.abs(read(tmp_path / "a.tiff").astype(int) - RED).max() <= 1


@pytest.mark.parametrize("kind", [np.float32, np.int32])
def test_pixels_without_a_defined_scale_are_refused(tmp_path: Path, kind: type) -> None:
    Image.fromarray(np.zeros((2, 2), kind)).save(tmp_path / "a.tiff")
    assert "32 bits" in reason(tmp_path / "a.tiff")


@pytest.mark.parametrize("ending", ["jpg", "png", "tiff"])
def test_exif_orientation_is_applied(tmp_path: Path, ending: str) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the viewer rotates by 90 degrees clockwise
    upright = np.zeros((8, 16, 3), np.uint8)
    upright[:, :8] = 255  # left half white -> top half white
    Image.fromarray(upright).save(tmp_path / f"a.{ending}", exif=exif)
    decoded = decode(StoredImage(str(tmp_path / f"a.{ending}")))
    assert decoded.file_size == (16, 8) and decoded.pixels[:7].min() > 200 and decoded.pixels[9:].max() < 50


def test_unreadable_files_have_a_reason(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("I am no picture at all, only text")
    (tmp_path / "empty.png").touch()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)).save(tmp_path / "cut.jpg")
    (tmp_path / "cut.jpg").write_bytes((tmp_path / "cut.jpg").read_bytes()[:-600])
    Image.fromarray(RED).save(tmp_path / "a.gif")
    (tmp_path / "a.gif").rename(tmp_path / "gif.png")
    assert "not a PNG, JPEG" in reason(tmp_path / "text.png")
    assert "empty" in reason(tmp_path / "empty.png")
    assert "truncated" in reason(tmp_path / "cut.jpg")
    assert "not a PNG, JPEG" in reason(tmp_path / "gif.png")
    assert "No such file" in reason(tmp_path / "absent.png")


def test_decompression_bomb_is_refused_before_decoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 0, 0, 0, 0)
    png = (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )
    (tmp_path / "bomb.png").write_bytes(png)
    assert "bomb" in reason(tmp_path / "bomb.png")
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", None)  # other code in the process may do this
    assert "bomb" in reason(tmp_path / "bomb.png")


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("ending", ["png", "jpg", "webp", "bmp", "tiff"])
def test_damaged_file_never_crashes(tmp_path: Path, ending: str) -> None:
    random = np.random.default_rng(1)
    Image.fromarray(random.integers(0, 256, (16, 16, 3), dtype=np.uint8)).save(tmp_path / f"good.{ending}")
    good = (tmp_path / f"good.{ending}").read_bytes()
    refused, bad = 0, tmp_path / f"bad.{ending}"
    for trial in range(60):
        content = bytearray(good)
        content[int(random.integers(len(good)))] ^= 1 << int(random.integers(8))
        bad.write_bytes(content if trial % 2 else content[: int(random.integers(len(good)))])
        try:
            assert read(bad).dtype == np.uint8
        except Unreadable as error:
            refused += bool(str(error))
    assert refused > 10


def test_size_fits_shorter_side_and_crops_centre(tmp_path: Path) -> None:
    wide = np.zeros((40, 120, 3), np.uint8)
    wide[:, 40:80] = RED[0, 0]  # only the central square is red
    Image.fromarray(wide).save(tmp_path / "a.png")
    square = read(tmp_path / "a.png", (20, 20))
    assert square.shape == (20, 20, 3) and (square[:, 3:-3] == RED[0, 0]).all()  # the filter blurs the edges
    assert (square[:, [0, -1], 0] > 150).all()


def test_resize_is_antialiased_and_exact_at_own_size(tmp_path: Path) -> None:
    board = np.indices((64, 64)).sum(0).astype(np.uint8) % 2 * 255
    Image.fromarray(board).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png", (64, 64))[:, :, 0] == board).all()
    assert np.abs(read(tmp_path / "a.png", (8, 8)).astype(int) - 127).max() < 12  # without antialiasing: 0 and 255


@pytest.mark.parametrize("shape", [(1, 1), (1, 20_000), (20_000, 1)])
def test_extreme_shapes_are_resized(tmp_path: Path, shape: tuple[int, int]) -> None:
    Image.fromarray(np.full(shape, 77, np.uint8)).save(tmp_path / "a.png")
    assert (read(tmp_path / "a.png", (32, 32)) == 77).all()


def test_conversion_between_grey_and_rgb() -> None:
    grey = np.array([[[9]]], np.uint8)
    assert to_tensor(grey, "RGB").tolist() == [[[9]], [[9]], [[9]]]
    assert to_tensor(RED, "L").unique().tolist() == [round(0.299 * 200 + 0.587 * 30 + 0.114 * 10)]
    assert to_tensor(RED, "RGB")[:, 0, 0].tolist() == [200, 30, 10]


def test_arrays_follow_the_same_policy(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    from_file = to_tensor(read(tmp_path / "a.png", (6, 6)), "L")
    from_array = conform(torch.from_numpy(noise).permute(2, 0, 1)[None], (6, 6), "L")
    assert torch.equal(from_array[0], from_file)
