"""TIFF files as cameras and microscopes write them: deep, inverted, in planes, of several pages."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from nelbo.data import describe, load_data, load_for_model, read_picture, read_pictures
from nelbo.data.decoding import decode
from nelbo.data.inputs import as_pixels
from nelbo.data.names import Range
from nelbo.data.stored import StoredImage, Unreadable
from nelbo.errors import DataError
from tests.data.tiff_files import ASCII, DESCRIPTION, LONG, SUBFILE, Page, tiff

CMYK = 5


def read(folder: Path, *pages: Page, order: str = "<", limits: Range | None = None) -> np.ndarray:
    (folder / "a.tif").write_bytes(tiff(*pages, order=order))
    return decode(StoredImage(str(folder / "a.tif")), limits=limits).pixels


def reason(folder: Path, *pages: Page, order: str = "<") -> str:
    with pytest.raises(Unreadable) as caught:
        read(folder, *pages, order=order)
    return str(caught.value)


def samples(bits: int, *shape: int) -> np.ndarray:
    values = np.random.default_rng(0).integers(0, 1 << bits, shape)
    return values.astype(np.uint16 if bits > 8 else np.uint8)


def expected(values: np.ndarray, bits: int, photometric: int) -> np.ndarray:
    """What TIFF 6.0 says about the samples, as 8 bits; Pillow keeps the upper 8 of 16 bits in colour."""
    if bits == 16 and values.ndim == 3:
        return values >> 8
    grey = np.floor(values * (255 / ((1 << bits) - 1)) + 0.5).astype(np.uint8)
    return 255 - grey if photometric == 0 else grey


@pytest.mark.parametrize("deflate", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
@pytest.mark.parametrize(
    ("photometric", "bits", "planar"),
    [(0, bits, False) for bits in (1, 2, 4, 8, 16)]
    + [(1, bits, False) for bits in (1, 2, 4, 8, 12, 16)]
    + [(2, 8, False), (2, 8, True), (2, 16, False)],
)
def test_every_layout_gives_the_right_pixels(
    tmp_path: Path, photometric: int, bits: int, planar: bool, order: str, deflate: bool
) -> None:
    shape = (5, 7, 3) if photometric == 2 else (5, 7)  # an odd width: rows of less than 8 bits end within a byte
    values = samples(bits, *shape)
    if order == ">" and (photometric, bits) in ((0, 16), (1, 12)):
        assert "unknown pixel mode" in reason(tmp_path, Page(values, bits, photometric, planar, deflate), order=order)
        return
    found = read(tmp_path, Page(values, bits, photometric, planar, deflate), order=order)
    assert (found == expected(values, bits, photometric).reshape(5, 7, -1)).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_cmyk_becomes_the_rgb_of_its_upper_bits(tmp_path: Path, bits: int) -> None:
    values = samples(bits, 5, 7, 4)
    right = Image.fromarray((values >> (bits - 8)).astype(np.uint8), "CMYK").convert("RGB")
    assert (read(tmp_path, Page(values, bits, CMYK)) == np.asarray(right)).all()


def test_reported_pixels_of_deep_grey(tmp_path: Path) -> None:
    assert read(tmp_path, Page(np.full((2, 2), 3983, np.uint16), 12)).ravel().tolist() == [248] * 4  # was 15
    white_is_zero = Page(np.full((2, 2), 65535 - 248 * 257, np.uint16), 16, photometric=0)
    assert read(tmp_path, white_is_zero).ravel().tolist() == [248] * 4  # was 7
    with Image.open(tmp_path / "a.tif") as image:
        assert as_pixels(image).ravel().tolist() == [248] * 4


@pytest.mark.parametrize(
    ("page", "words"),
    [
        (Page(samples(16, 4, 4, 3), 16, 2, planar=True), "RGB, 3 unsigned samples of 16 bits in separate planes"),
        (Page(samples(12, 4, 4, 3), 12, 2), "RGB, 3 unsigned samples of 12 bits"),
        (Page(samples(8, 4, 4).astype(np.int8), 8), "grey, 1 signed sample of 8 bits"),
        (Page(np.zeros((4, 4)), 64), "grey, 1 floating-point sample of 64 bits"),
        (Page(np.zeros((4, 4), np.uint64), 64), "grey, 1 unsigned sample of 64 bits"),
        (Page(samples(8, 4, 4, 3), 8, 8), "CIE Lab, 3 unsigned samples of 8 bits"),
        (Page(samples(8, 4, 4, 3), 8, 6), "YCbCr, 3 unsigned samples of 8 bits"),
        (Page(samples(16, 4, 4), 16, 32803), "colour filter array (raw), 1 unsigned sample of 16 bits"),
        (Page(samples(8, 4, 4, 5), 8, 1), "grey, 5 unsigned samples of 8 bits"),
    ],
)
def test_layout_that_is_not_read_is_named(tmp_path: Path, page: Page, words: str) -> None:
    assert words in reason(tmp_path, page) and "TIFF" in reason(tmp_path, page)


@pytest.mark.parametrize(
    ("kind", "bits", "words"),
    [(np.float32, 32, "32 bits (floating-point"), (np.int32, 32, "32 bits (signed"), (np.int16, 16, "16 bits (signed")],
)
def test_pixels_without_a_scale_need_a_range(tmp_path: Path, kind: type, bits: int, words: str) -> None:
    page = Page(np.array([[-5, 0], [10, 20]], kind), bits)
    assert words in reason(tmp_path, page) and "from -5 to 20) and no defined scale" in reason(tmp_path, page)
    for order in "<>":
        assert read(tmp_path, page, order=order, limits=(0, 20)).ravel().tolist() == [0, 0, 128, 255]


def test_float_that_is_no_number_becomes_black(tmp_path: Path) -> None:
    page = Page(np.array([[np.nan, np.inf, -np.inf, 1]], np.float32), 32)
    assert read(tmp_path, page, limits=(0, 1)).ravel().tolist() == [0, 255, 0, 255]


def test_pages_of_a_stack_are_images(tmp_path: Path) -> None:
    slices = [samples(8, 6, 8) // 10 + 10 * page for page in range(10)]
    (tmp_path / "stack.tiff").write_bytes(tiff(*[Page(values, 8) for values in slices]))
    (tmp_path / "cells").mkdir()
    (tmp_path / "cells/one.tif").write_bytes(tiff(Page(slices[0], 8)))
    report = describe(str(tmp_path))
    assert (report.count, report.classes["cells"], report.classes["(no class)"]) == (11, 1, 10)
    for budget in (10**6, 0):
        train = load_data(str(tmp_path / "stack.tiff"), held_out=0, memory_budget=budget).train
        assert (train.images(range(10))[:, 0].numpy() == np.stack(slices)).all()
    names = load_for_model(str(tmp_path / "stack.tiff"), (1, 6, 8)).names
    assert names[3] == f"{tmp_path / 'stack.tiff'}[3]"
    assert [picture.name for picture in read_pictures(str(tmp_path / "stack.tiff"), 2)] == [
        "stack-000.tiff",
        "stack-009.tiff",
    ]
    with pytest.raises(DataError, match="holds several images"):
        read_picture(str(tmp_path / "stack.tiff"))


def test_smaller_copies_and_masks_are_no_images(tmp_path: Path) -> None:
    copy = Page(samples(8, 3, 4), 8, tags=((SUBFILE, LONG, b"\1\0\0\0"),))
    mask = Page(samples(1, 6, 8), 1, 4, tags=((SUBFILE, LONG, b"\4\0\0\0"),))
    for pages, place in (([Page(samples(8, 6, 8), 8), copy, mask], ""), ([copy, Page(samples(8, 6, 8), 8)], "[1]")):
        (tmp_path / "a.tif").write_bytes(tiff(*pages))
        found = load_for_model(str(tmp_path / "a.tif"), (1, 6, 8))
        assert list(found.names) == [f"{tmp_path / 'a.tif'}{place}"]
        assert (found.images[0][0].numpy() == samples(8, 6, 8)).all()


def test_one_unreadable_page_is_rejected_by_name(tmp_path: Path) -> None:
    good, bad = Page(samples(8, 6, 8), 8), Page(samples(12, 6, 8, 3), 12, 2)
    (tmp_path / "a.tif").write_bytes(tiff(good, bad, good))
    report = describe(str(tmp_path))
    assert report.count == 2 and [Path(reject.path).name for reject in report.rejects] == ["a.tif[1]"]
    assert "RGB, 3 unsigned samples of 12 bits" in report.rejects[0].reason


def test_broken_chain_of_pages_is_reported(tmp_path: Path) -> None:
    content = tiff(*[Page(samples(8, 6, 8), 8)] * 4)
    (tmp_path / "a.tif").write_bytes(content[:-100])  # within the tags of the last page
    with warnings.catch_warnings(action="ignore"):
        report = describe(str(tmp_path / "a.tif"))
    assert report.count == 0 and "the tags of its page 3 are damaged or cut off" in report.rejects[0].reason


def test_stack_under_another_ending_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(tiff(*[Page(samples(8, 6, 8), 8)] * 4))
    assert "a TIFF of 4 pages under another ending; rename it to .tif" in describe(str(tmp_path)).rejects[0].reason


def test_stack_with_one_page_of_tags_is_refused(tmp_path: Path) -> None:
    words = b"ImageJ=1.54f\nimages=100\nslices=100\n\0"
    page = Page(samples(8, 6, 8), 8, tags=((DESCRIPTION, ASCII, words),))
    assert "an ImageJ stack of 100 images" in reason(tmp_path, page)
    assert len(read(tmp_path, Page(samples(8, 6, 8), 8, tags=((DESCRIPTION, ASCII, b"ImageJ=1.54f\nimages=1\n\0"),))))


def test_first_frame_of_an_animation_is_announced(tmp_path: Path) -> None:
    frames = [Image.fromarray(np.full((8, 8), value, np.uint8)) for value in (10, 20, 30)]
    for name in ("a.png", "b.webp"):
        frames[0].save(tmp_path / name, save_all=True, append_images=frames[1:])
    with pytest.warns(UserWarning, match="2 files are animations, of which only the first frame is read"):
        load_data(str(tmp_path), held_out=0)
    assert read_picture(str(tmp_path / "a.png")).lost == "2 of its 3 frames are left out"
