import contextlib
import re
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.data import ArrayDataset, as_dataset, describe, load_data
from nelbo.data.folders import DataWarning
from nelbo.errors import ConfigurationError, DataError, NelboError

GREY = np.random.default_rng(0).integers(0, 256, (20, 6, 5), dtype=np.uint8)
COLOUR = np.random.default_rng(0).integers(0, 256, (20, 6, 5, 3), dtype=np.uint8)


def saved(folder: Path, **arrays: object) -> str:
    np.savez(folder / "set.npz", **arrays)
    return str(folder / "set.npz")


@pytest.mark.parametrize(
    ("array", "expected"),
    [
        (GREY, GREY[:, None]),
        (GREY[..., None], GREY[:, None]),
        (GREY[:, None], GREY[:, None]),
        (COLOUR, COLOUR.transpose(0, 3, 1, 2)),
        (COLOUR.transpose(0, 3, 1, 2), COLOUR.transpose(0, 3, 1, 2)),
    ],
)
def test_every_array_layout_gives_the_same_images(tmp_path: Path, array: np.ndarray, expected: np.ndarray) -> None:
    np.save(tmp_path / "set.npy", array)
    for spec in (str(tmp_path / "set.npy"), saved(tmp_path, anything=array)):
        train = load_data(spec, held_out=0).train
        assert torch.equal(train.images(range(20)), torch.from_numpy(np.ascontiguousarray(expected)))


def test_npz_labels_levels_and_class_names(tmp_path: Path) -> None:
    labels = np.arange(20) % 3 - 1
    split = load_data(saved(tmp_path, images=GREY % 17, labels=labels, levels=17, class_names=["a", "b"]), held_out=0)
    assert split.train.levels == 17 and split.train.class_names == ("a", "b")
    assert split.train.labels is not None and split.train.labels.tolist() == labels.tolist()
    report = describe(saved(tmp_path, images=GREY, labels=labels))
    assert report.to_json()["classes"] == {"(no class)": 7, "0": 7, "1": 6}


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": GREY.astype(np.float32)[:1] / 100}, r"holds float32 from 0\..* to 2\.\d+; expected uint8"),
        (
            {"images": GREY.astype(np.uint16) * 16},
            r"uint16 from 0 to 4080; expected uint8.*\(255 \* \(x\.astype\(float\) - 0\) / \(4080 - 0",
        ),
        (
            {"images": np.full((2, 4, 4), np.nan)},
            r"holds float64 with 32 values that are not finite .* by numpy\.nan_to_num\(x\), or leave",
        ),
        ({"images": np.array([[[0, 0.5, np.inf]]])}, "with 1 value that is not finite"),
        ({"images": np.full((2, 4, 4), -5)}, "holds int64 and all its values are -5, from which no range follows"),
        ({"images": GREY.astype(complex)}, "holds complex128"),
        ({"images": np.zeros((32, 32, 3), np.uint8)}, r"one image of 32 x 32 pixels and 3 channels or 32 grey images"),
        (
            {"images": np.zeros((3, 32, 30), np.uint8)},
            r"one image of 32 x 30 pixels and 3 channels or 3 grey images of",
        ),
        ({"images": np.zeros((9, 8, 4), np.uint8)}, r"4 channels or 9 .* give one image as array\[None, \.\.\., :3\]"),
        ({"images": np.zeros((3, 8, 3), np.uint8)}, r"shape \(3, 8, 3\), where two axes can be the channels"),
        ({"images": np.array([{}], dtype=object)}, "without pickled objects"),
        ({"images": GREY[:0]}, "is empty"),
        ({"images": GREY[0, 0]}, r"shape \(5,\); expected H x W, N x H x W"),
        ({"images": np.zeros((2, 5, 6, 4), np.uint8)}, r"C = 1 or 3 channels, such as array\[\.\.\., :3\]"),
        ({"images": np.zeros((2, 3, 6, 3), np.uint8)}, "two axes can be the channels"),
        ({"images": GREY, "levels": 17}, r"value 255, but with 17 levels the largest is 16"),
        ({"images": GREY, "levels": 257}, "levels is 257"),
        ({"images": GREY, "levels": 1.5}, "`levels` is float64"),
        ({"images": GREY, "labels": np.zeros(19, int)}, "expected 20 whole numbers"),
        ({"images": GREY, "labels": np.zeros(20)}, "`labels` is float64"),
        ({"images": GREY, "labels": np.full(20, 10**9)}, "labels range from 1000000000"),
        ({"images": GREY, "labels": np.full(20, 2), "class_names": ["a"]}, "has 1 name, but the labels go up to 2"),
        ({"x": GREY, "y": GREY}, "holds x, y; expected `images`"),
    ],
)
def test_invalid_arrays_are_refused(tmp_path: Path, arrays: dict[str, object], message: str) -> None:
    with pytest.raises(DataError, match=message):
        load_data(saved(tmp_path, **arrays))


@pytest.mark.parametrize(
    ("array", "expected", "levels", "warning"),
    [
        (GREY.astype(np.int64), GREY, 256, None),
        (GREY.astype(np.float32), GREY, 256, None),
        ((GREY / 255).astype(np.float32), GREY, 256, r"float32 within 0\.\.1; x became round\(255 x\)"),
        (GREY > 99, (GREY > 99).astype(np.uint8), 2, r"holds bool, so its images have two levels"),
    ],
)
def test_other_types_are_converted(
    tmp_path: Path, array: np.ndarray, expected: np.ndarray, levels: int, warning: str | None
) -> None:
    np.save(tmp_path / "set.npy", array)
    with warnings.catch_warnings() if warning is None else pytest.warns(DataWarning, match=warning):
        warnings.simplefilter("error" if warning is None else "always")
        train = load_data(str(tmp_path / "set.npy"), held_out=0).train
    assert torch.equal(train.images(range(20))[:, 0], torch.from_numpy(expected)) and train.levels == levels


@pytest.mark.parametrize(
    "array",
    [
        np.arange(-128, 128).astype(np.int8).reshape(1, 16, 16),
        np.arange(0, 4096, 16).astype(np.uint16).reshape(1, 16, 16),
        (np.arange(256) - 70_000).reshape(1, 16, 16),
        np.linspace(-1, 1, 256, dtype=np.float32).reshape(1, 16, 16),
        np.linspace(-1, 3, 256, dtype=np.float16).reshape(1, 16, 16),
    ],
)
def test_advice_for_other_values_works_when_it_is_executed(array: np.ndarray) -> None:
    with pytest.raises(DataError, match="for example") as caught:
        load_data(array)
    advised = re.search(r"for example (\(255 .*\))\.$", str(caught.value))
    ranged = re.search(r"range='(\S+)'", str(caught.value))
    assert advised is not None and ranged is not None
    scaled = eval(advised[1], {"x": array})
    low, high = float(array.min()), float(array.max())
    assert scaled.dtype == np.uint8
    assert np.abs(scaled - 255 * (array.astype(float) - low) / (high - low)).max() <= 0.5
    with pytest.warns(DataWarning, match=r"became 0\.\.255"):
        read = load_data(array, range=ranged[1], held_out=0).train[0][0].numpy()
    assert np.abs(read.astype(int) - scaled).max() <= 1


def test_values_that_are_not_finite_are_named_with_a_range() -> None:
    array = np.array([[[[np.nan, -np.inf, 0.5, np.inf]]]])
    with (
        pytest.warns(DataWarning, match=r"0\.\.1 became 0\.\.255; values outside are clipped\."),
        pytest.warns(DataWarning, match="NaN .*: missing pixels"),
    ):
        images = load_data(array, range=(0, 1), held_out=0).train
    assert images[0].flatten().tolist() == [0, 0, 128, 255]
    assert images.observed([0]).flatten().tolist() == [False, True, True, True]


@pytest.mark.parametrize("kind", [np.uint8, np.int32, np.float32, np.bool_])
def test_masked_arrays_are_refused_where_values_are_masked(kind: type) -> None:
    values = np.arange(16).reshape(1, 1, 4, 4)
    masked = np.ma.masked_array(values.astype(kind), values == 3)
    for given in (masked, list(masked[0])):
        for read in (load_data, lambda images: as_dataset(images, (1, 4, 4), 256)):
            with pytest.raises(DataError, match=r"has 1 masked value; .* x\.filled\(0\)"):
                read(given)
    assert len(load_data(np.ma.masked_equal(values, 99)).train) == 1


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32])
def test_levels_of_only_0_and_1_are_warned_of(tmp_path: Path, kind: type) -> None:
    array = (GREY > 99).astype(kind)
    np.save(tmp_path / "set.npy", array)
    if kind is np.float32:  # 0..1 became 0..255
        with warnings.catch_warnings(action="ignore"):
            assert int(load_data(array).train.images([0]).max()) == 255
        return
    for spec in (array, str(tmp_path / "set.npy"), list(array)):
        with pytest.warns(DataWarning, match=r"holds only 0 and 1 of the levels 0\.\.255.*x\.astype\(bool\)"):
            assert load_data(spec).train.levels == 256
    with pytest.warns(DataWarning, match="holds only 0 and 1"):
        describe(tmp_path / "set.npy")
    with warnings.catch_warnings(action="error"):
        assert load_data(saved(tmp_path, images=array, levels=2)).train.levels == 2
        load_data(array * 255)


@pytest.mark.parametrize("kind", [np.int64, np.uint8, np.float32])
def test_a_set_of_low_levels_is_warned_of_and_takes_a_range(tmp_path: Path, kind: type) -> None:
    array = (GREY % 17).astype(kind)
    np.save(tmp_path / "set.npy", array)
    right = torch.from_numpy(np.floor((GREY % 17) * (255 / 16) + 0.5).astype(np.uint8))[:, None]
    for spec in (array, str(tmp_path / "set.npy"), list(array), torch.from_numpy(array)):
        with pytest.warns(DataWarning, match=r"no value above 16 of the levels 0\.\.255, .* set range='0,16'"):
            assert int(load_data(spec).train.images([0]).max()) <= 16
        with pytest.warns(DataWarning, match=r"0\.\.16 became 0\.\.255"):
            split = load_data(spec, range="0,16", held_out=0)
        assert split.limits == (0, 16) and torch.equal(split.train.images(range(20)), right)
    with pytest.warns(DataWarning, match=r"no value above 2 of .* set range='0,2'"):
        load_data((GREY % 3).astype(kind))


def test_dark_fractions_are_no_set_of_low_levels() -> None:
    """A range in levels would not fit values of 0..1."""
    with pytest.warns(DataWarning) as caught:
        load_data((GREY / 255 * 0.08).astype(np.float32))
    assert [str(each.message) for each in caught] == ["the array holds float32 within 0..1; x became round(255 x)."]


def test_nan_may_hide_values_outside_of_a_range() -> None:
    values = np.full((4, 6, 5), 2.0)
    values[0, 0, :3] = np.nan, 500, -3
    with pytest.warns(DataWarning, match="values outside are clipped"):
        load_data(values, range=(0, 10))


def test_dark_pictures_are_no_set_of_low_levels() -> None:
    dark = GREY // 10  # up to 25
    with warnings.catch_warnings(action="error"):
        load_data(dark[:1])
        load_data([Image.fromarray(image) for image in dark])
        load_data(np.where(np.arange(20)[:, None, None] == 7, 32, dark).astype(np.uint8))
        assert torch.equal(load_data(GREY, range=(0, 4095)).train[0], load_data(GREY).train[0])


def test_arrays_without_names_are_images_and_labels(tmp_path: Path) -> None:
    np.savez(tmp_path / "set.npz", COLOUR, np.arange(20) % 2)  # as in guided-diffusion
    train = load_data(str(tmp_path / "set.npz"), held_out=0).train
    assert (train.shape, train.class_counts) == ((3, 6, 5), (10, 10))


def test_one_grey_image_is_a_set_of_one(tmp_path: Path) -> None:
    np.save(tmp_path / "one.npy", GREY[0])
    assert load_data(str(tmp_path / "one.npy"), held_out=0).train.images([0]).tolist() == [[GREY[0].tolist()]]


@pytest.mark.parametrize("name", ["a.npy", "a.npz"])
@pytest.mark.parametrize("content", [b"", b"no array", b"PK\x03\x04 cut", b"\x93NUMPY\x01\x00\x76\x00{'descr'"])
def test_damaged_files_are_reported(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=r"a\.np[yz] cannot be read .* expected a \.np"):
        load_data(str(tmp_path / name))


@pytest.mark.parametrize("compressed", [False, True])
def test_damage_anywhere_in_an_archive_is_reported(tmp_path: Path, compressed: bool) -> None:
    random, write = np.random.default_rng(0), np.savez_compressed if compressed else np.savez
    write(tmp_path / "good.npz", images=GREY, labels=np.arange(20), class_names=[str(i) for i in range(20)])
    good, bad, refused = (tmp_path / "good.npz").read_bytes(), tmp_path / "bad.npz", 0
    for trial in range(400):
        content = bytearray(good)
        content[int(random.integers(len(good)))] ^= 1 << int(random.integers(8))
        bad.write_bytes(content if trial % 4 else content[: int(random.integers(len(good)))])
        try:
            with warnings.catch_warnings(action="ignore"):
                load_data(str(bad))
        except DataError as error:
            refused += str(bad) in str(error)
    assert refused > 200


def test_damage_in_the_header_of_an_array_is_reported(tmp_path: Path) -> None:
    np.save(tmp_path / "good.npy", GREY)
    good = (tmp_path / "good.npy").read_bytes()
    for place in range(128):
        content = bytearray(good)
        content[place] ^= 1 << place % 8
        (tmp_path / "bad.npy").write_bytes(content)
        with contextlib.suppress(DataError), warnings.catch_warnings(action="ignore"):
            load_data(str(tmp_path / "bad.npy"))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: content.replace(b"\x93NUMPY", b"\x92NUMPY", 1), "'images' is no array; the file is damaged"),
        (lambda content: content[:300] + b"\0" * 50 + content[350:], r"cannot be read \(.*Copy a damaged file again"),
    ],
)
def test_damaged_member_is_named_with_the_remedy(
    tmp_path: Path, damage: Callable[[bytes], bytes], message: str
) -> None:
    saved(tmp_path, images=GREY)
    if "no array" in message:  # the checksum of the archive must fit the damaged member
        with zipfile.ZipFile(tmp_path / "set.npz") as archive:
            member = archive.read("images.npy")
        with zipfile.ZipFile(tmp_path / "set.npz", "w") as archive:
            archive.writestr("images.npy", damage(member))
    else:
        (tmp_path / "set.npz").write_bytes(damage((tmp_path / "set.npz").read_bytes()))
    with pytest.raises(DataError, match=message) as caught:
        load_data(str(tmp_path / "set.npz"))
    assert "\n" not in str(caught.value)


def test_size_and_mode_are_applied(tmp_path: Path) -> None:
    np.save(tmp_path / "set.npy", COLOUR)
    split = load_data(str(tmp_path / "set.npy"), size=4, mode="L")
    assert split.train.shape == split.test.shape == (1, 4, 4)


def test_digits_split_pixels_and_labels() -> None:
    split = load_data("digits")
    assert (len(split.train), len(split.test)) == (1500, 297)
    assert split.train.shape == split.test.shape == (1, 8, 8) and split.train.levels == 17
    assert split.train[0][0, 0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]  # scikit-learn's first digit, a zero
    assert int(split.train.images(range(1500)).max()) == 16
    assert split.test.labels is not None and split.test.labels[-3:].tolist() == [8, 9, 8]
    assert load_data("digits", mode="RGB").train.shape == (3, 8, 8)
    with pytest.raises(DataError, match=r"17 levels.* leave out size and mode"):
        load_data("digits", size=16)
    with pytest.raises(ConfigurationError, match="its own held-out part of 297"):
        load_data("digits", held_out=10)


def test_toy_points_are_seeded_images() -> None:
    split = load_data("toy:moons")
    assert split.train.shape == (2, 1, 1) and (len(split.train), len(split.test)) == (10_000, 2_000)
    assert torch.equal(split.train[5], load_data("toy:moons").train[5])
    assert not torch.equal(split.train.images(range(99)), load_data("toy:moons", seed=1).train.images(range(99)))
    assert int(split.train.images(range(10_000)).min()) > 0 and int(split.train.images(range(10_000)).max()) < 255
    with pytest.raises(DataError, match="is not an image set"):
        load_data("toy:moons", size=2)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ("digit", "did you mean 'digits'"),
        ("Fashion_MNIST", "did you mean 'fashion-mnist'"),
        ("toy:moon", "did you mean 'toy:moons'"),
        ("/no/such/folder", "give a path or one of digits"),
        ("", "give a path or one of digits"),
    ],
)
def test_unknown_spec_suggests_the_nearest_name(spec: str, message: str) -> None:
    for ask in (load_data, describe):
        with pytest.raises(DataError, match=message):
            ask(spec)


def test_file_of_unknown_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xyz").touch()
    with pytest.raises(DataError, match=r"a\.xyz is of an unknown kind"):
        load_data(str(tmp_path / "a.xyz"))


def test_array_dataset_checks_its_tensors() -> None:
    with pytest.raises(NelboError, match="float32"):
        ArrayDataset(torch.zeros(2, 1, 4, 4))
    with pytest.raises(NelboError, match="value 17, but with 17 levels"):
        ArrayDataset(torch.full((2, 1, 4, 4), 17, dtype=torch.uint8), 17)
    with pytest.raises(NelboError, match="labels"):
        ArrayDataset(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), labels=torch.zeros(3))
