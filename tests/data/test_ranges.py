"""Images of more than 8 bits become 8-bit images by a range of values, the same for the whole set and for its run."""

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import DataWarning, describe, load_data, load_for_model, read_picture
from nelbo.data.decoding import decode
from nelbo.data.depth import to_levels
from nelbo.data.inputs import as_dataset, as_pixels
from nelbo.data.stored import StoredImage, Unreadable
from nelbo.errors import ConfigurationError, DataError
from tests.data.png_files import sixteen_bit_png
from tests.data.tiff_files import Page, tiff

SHALLOW = np.random.default_rng(0).integers(0, 4096, (6, 8, 8)).astype(np.uint16)
SHALLOW[0, 0, :2] = 0, 4095


def write(folder: Path, values: np.ndarray = SHALLOW) -> str:
    for number, image in enumerate(values):
        Image.fromarray(image).save(folder / f"{number}.{'png' if number % 2 else 'tif'}")
    return str(folder)


def scaled(values: np.ndarray, low: float, high: float) -> np.ndarray:
    return np.clip(np.floor((values.astype(float) - low) * 255 / (high - low) + 0.5), 0, 255)


@pytest.mark.parametrize("memory_budget", [0, 10**6])
@pytest.mark.parametrize(
    ("range", "low", "high", "message"),
    [
        ("auto", 0, 4095, r"with values 0 to 4095; 0\.\.4095 became 0\.\.255; set another range by range='LOW,HIGH'"),
        ("full", 0, 65535, r"0\.\.65535, or the range of their depth, became 0\.\.255; the images are dark"),
        ("100,3000", 100, 3000, r"100\.\.3000 became 0\.\.255; values outside are clipped"),
        ((-4095, 4095), -4095, 4095, r"-4095\.\.4095 became"),
    ],
)
def test_twelve_bits_in_sixteen_use_the_range(
    tmp_path: Path, memory_budget: int, range: object, low: float, high: float, message: str
) -> None:
    with pytest.warns(DataWarning, match=message):
        split = load_data(write(tmp_path), range=range, memory_budget=memory_budget, held_out=0)
    images = split.train.images([*map(int, np.arange(6))])[:, 0].numpy()
    assert (images == scaled(SHALLOW, low, high)).all()
    assert split.limits == (None if range == "full" else (low, high))
    assert split.train.subset(torch.tensor([2]))[0][0].tolist() == scaled(SHALLOW[2], low, high).tolist()


@pytest.mark.parametrize(
    ("top", "limits"),
    [(200, (0, 255)), (256, (0, 1023)), (4096, (0, 16383)), (16383, (0, 16383)), (16384, None), (65535, None)],
)
def test_auto_is_the_smallest_common_depth(tmp_path: Path, top: int, limits: object) -> None:
    values = np.zeros((2, 4, 4), np.uint16)
    values[1, 0, 0] = top
    with pytest.warns(DataWarning, match="2 images have more than 8 bits"):
        assert load_data(write(tmp_path, values)).limits == limits


def test_images_of_eight_bits_need_no_range(tmp_path: Path) -> None:
    write(tmp_path, (SHALLOW >> 4).astype(np.uint8))
    with warnings.catch_warnings(action="error"):
        plain, ranged = (load_data(str(tmp_path), range=range).train for range in ("auto", "0,10"))
    assert torch.equal(plain.images([0, 1]), ranged.images([0, 1]))


def test_packed_twelve_bits_state_their_depth(tmp_path: Path) -> None:
    (tmp_path / "a.tif").write_bytes(tiff(Page(SHALLOW[1] // 8, 12)))
    (tmp_path / "b.tif").write_bytes(tiff(Page(SHALLOW[2] // 8, 16)))
    with pytest.warns(DataWarning, match=r"0\.\.4095 became"):
        split = load_data(str(tmp_path), held_out=0)
    assert (split.train.images([0, 1])[:, 0].numpy() == scaled(SHALLOW[1:3] // 8, 0, 4095)).all()


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_sixteen_bits_in_colour_use_the_range(tmp_path: Path, ending: str) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (6, 8, 3)).astype(np.uint16)
    path = tmp_path / f"a.{ending}"
    for order in "<>":
        path.write_bytes(tiff(Page(values, 16, 2, deflate=order == ">"), order=order))
        if ending == "png":
            path.write_bytes(sixteen_bit_png(values))
        assert (decode(StoredImage(str(path))).pixels == values >> 8).all()
        with pytest.warns(DataWarning, match="1 image has more than 8 bits"):
            split = load_data(str(path), held_out=0)
        assert split.limits == (0, 4095)
        assert (split.train[0].permute(1, 2, 0).numpy() == scaled(values, 0, 4095)).all()


def test_sixteen_bits_with_alpha_use_the_range(tmp_path: Path) -> None:
    values = np.random.default_rng(1).integers(0, 4096, (6, 8, 4)).astype(np.uint16)
    values[:, :, 3] = 65535
    values[0, 0, 3] = 0
    (tmp_path / "a.png").write_bytes(sixteen_bit_png(values))
    found = decode(StoredImage(str(tmp_path / "a.png")), limits=(0, 4095))
    right = scaled(values[..., :3], 0, 4095)
    right[0, 0] = 255
    assert (found.pixels == right).all() and found.lost.endswith("and its transparency became white")
    grey = np.stack([values[..., 0], values[..., 3]], axis=2)
    (tmp_path / "b.png").write_bytes(sixteen_bit_png(grey))
    with pytest.raises(Unreadable, match=r"its 16 bits \(stored as LA;16B\) cannot be mapped from a range"):
        decode(StoredImage(str(tmp_path / "b.png")), limits=(0, 4095))


def test_report_names_values_and_range(tmp_path: Path) -> None:
    with pytest.warns(DataWarning, match="more than 8 bits"):
        report = describe(write(tmp_path)).to_json()
    assert (report["values"], report["range"]) == ((0, 4095), (0, 4095))
    (tmp_path / "bytes").mkdir()
    report = describe(write(tmp_path / "bytes", (SHALLOW >> 4).astype(np.uint8))).to_json()
    assert (report["values"], report["range"]) == (None, None)


def test_images_for_a_model_use_its_range(tmp_path: Path) -> None:
    write(tmp_path)
    with pytest.warns(DataWarning, match=r"100\.\.3000 became 0\.\.255; values outside are clipped, as in training\."):
        found = load_for_model(str(tmp_path), (1, 8, 8), limits=(100, 3000)).images
    right = scaled(SHALLOW, 100, 3000)
    assert (found.images([0, 5])[:, 0].numpy() == right[[0, 5]]).all()
    picture = read_picture(str(tmp_path / "0.tif"), limits=(100, 3000))
    assert (picture.pixels[0].numpy() == right[0]).all() and picture.lost == "its values 100 to 3000 became 8 bits"
    with Image.open(tmp_path / "0.tif") as image:
        kinds = [str(tmp_path / "0.tif"), image, SHALLOW[0], SHALLOW[0].astype(np.float32), SHALLOW[0].astype(np.int32)]
        with warnings.catch_warnings(action="ignore"):
            for kind in kinds:
                assert (as_pixels(kind, limits=(100, 3000))[0].numpy() == right[0]).all()
                assert (as_dataset([kind], (1, 8, 8), 256, (100, 3000))[0][0].numpy() == right[0]).all()


@pytest.mark.parametrize("kind", [np.uint16, np.int32, np.float32])
def test_arrays_use_a_range_that_is_given(tmp_path: Path, kind: type) -> None:
    np.save(tmp_path / "a.npy", SHALLOW.astype(kind))
    with pytest.raises(DataError, match=r"from 0\S* to 4095\S*; expected uint8.* Train with range='0\S*,4095"):
        load_data(str(tmp_path / "a.npy"))
    with pytest.warns(DataWarning, match=r"0\.\.4095 became 0\.\.255"):
        split = load_data(str(tmp_path / "a.npy"), range="0,4095", held_out=0)
    assert split.limits == (0, 4095) and (split.train[3][0].numpy() == scaled(SHALLOW[3], 0, 4095)).all()


def test_full_range_of_an_array_is_that_of_sixteen_bits(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", SHALLOW * 16)
    with pytest.warns(DataWarning, match=r"0\.\.65535 became 0\.\.255"):
        split = load_data(str(tmp_path / "a.npy"), range="full", held_out=0)
    assert (split.train[3][0].numpy() == scaled(SHALLOW[3] * 16, 0, 65535)).all()
    assert split.limits == (0, 65535)  # a run stores them and reads other arrays by them
    with pytest.warns(DataWarning, match=r"0\.\.65535 became 0\.\.255"):
        assert load_data(SHALLOW * 16, range="full", held_out=0).limits == (0, 65535)
    np.save(tmp_path / "b.npy", (SHALLOW >> 4).astype(np.int64))
    assert (
        load_data(str(tmp_path / "b.npy"), range="full", held_out=0).train[3][0].tolist() == (SHALLOW[3] >> 4).tolist()
    )


def test_mapping_is_exact_for_integers() -> None:
    values = np.arange(-70_000, 70_000)
    for low, high in ((0, 65535), (0, 4095), (-5, 1000), (1, 2), (-(2**31), 2**31 - 1)):
        exact = [min(max((510 * (v - low) + high - low) // (2 * (high - low)), 0), 255) for v in values[::371].tolist()]
        assert to_levels(values[::371], (low, high)).tolist() == exact
        assert (to_levels(values.astype(np.float64), (low, high)) == to_levels(values, (low, high))).all()


@pytest.mark.parametrize("range", ["", "0", "5,5", "9,2", "a,b", "0,1,2", "0,nan", "0,inf", (1,), 7, None, ("a", "b")])
def test_invalid_range_is_refused(tmp_path: Path, range: object) -> None:
    for ask in (load_data, describe):
        with pytest.raises(ConfigurationError, match="expected auto, full or LOW,HIGH"):
            ask(write(tmp_path), range=range)
