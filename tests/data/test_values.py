"""Measured values are read from files as they are, and written back."""

import h5py
import numpy as np
import pytest
import tifffile
from PIL import Image

import nelbo
from nelbo.data import DataWarning, describe, write_values
from nelbo.data.values import of_array, read_values
from nelbo.errors import ConfigurationError, DataError

DTYPES = ("uint8", "uint16", "int16", "uint32", "float32", "float64")


def measured(dtype, shape=(2, 5, 7), seed=0):
    return (np.random.default_rng(seed).random(shape) * 200).astype(dtype)


@pytest.mark.parametrize("ending", [".tif", ".npy"])
@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("channels", [1, 2, 3, 5])
def test_written_values_are_read_back(tmp_path, dtype, channels, ending):
    image = measured(dtype, (channels, 5, 7))
    write_values(tmp_path / f"a{ending}", image)
    found = read_values(str(tmp_path))
    np.testing.assert_array_equal(found.arrays[0], image)
    assert found.arrays[0].dtype == image.dtype


@pytest.mark.parametrize(
    ("shape", "options"),
    [
        ((3, 5, 7), {"photometric": "minisblack"}),  # three pages
        ((3, 5, 7), {"photometric": "rgb", "planarconfig": "separate"}),
        ((5, 7, 3), {"photometric": "rgb"}),
        ((4, 5, 7), {"photometric": "minisblack", "metadata": {"axes": "CYX"}, "imagej": True}),
        ((4, 5, 7), {"photometric": "minisblack", "compression": "zlib"}),
    ],
)
def test_tiff_files_of_other_programs_have_channels_first(tmp_path, shape, options):
    image = measured("uint16", shape)
    tifffile.imwrite(tmp_path / "a.tif", image, **options)
    expected = np.moveaxis(image, 2, 0) if shape[2] == 3 else image
    np.testing.assert_array_equal(read_values(str(tmp_path / "a.tif")).arrays[0], expected)


def test_png_of_16_bits_keeps_them(tmp_path):
    image = measured("uint16", (5, 7))
    Image.fromarray(image * 300).save(tmp_path / "a.png")
    np.testing.assert_array_equal(read_values(str(tmp_path)).arrays[0], image[None] * 300)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((6, 8), (1, 1, 6, 8)),
        ((4, 6, 8), (4, 1, 6, 8)),
        ((4, 2, 6, 8), (4, 2, 6, 8)),
        ((4, 6, 8, 3), (4, 3, 6, 8)),
        ((4, 16, 6, 8), (4, 16, 6, 8)),
    ],
)
def test_axes_of_arrays(shape, expected):
    found = of_array(np.zeros(shape), "x").arrays
    assert (len(found), *found[0].shape) == expected


@pytest.mark.parametrize("shape", [(3,), (0, 4, 4), (1, 1, 1, 2, 2)])
def test_other_axes_are_refused(shape):
    with pytest.raises(DataError, match=r"x has the shape .*expected H x W, N x H x W or N x C x H x W"):
        of_array(np.zeros(shape), "x")


def test_hdf5_files_hold_one_array(tmp_path):
    images = measured("float32", (4, 2, 5, 7))
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["scan/images"] = images
    np.testing.assert_array_equal(np.stack(read_values(str(tmp_path / "x.h5")).arrays), images)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file["mask"] = images
    with pytest.raises(DataError, match=r"has the data sets mask, scan/images; expected one, or one that is called"):
        read_values(str(tmp_path / "x.h5"))
    (tmp_path / "y.h5").write_bytes(b"no HDF5")
    with pytest.raises(DataError, match=r"y\.h5 cannot be read"):
        read_values(str(tmp_path / "y.h5"))


def test_sub_folders_are_classes_and_damaged_files_are_left_out(tmp_path):
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(3):
            write_values(tmp_path / name / f"{i}.tif", measured("uint16", seed=i))
    (tmp_path / "b" / "9.tif").write_bytes(b"II*\0 damaged")
    (tmp_path / "notes.txt").write_text("no image")
    with pytest.warns(DataWarning, match="1 file cannot be used"):
        split = nelbo.load_data(tmp_path, quantum=1, held_out=2)
    assert split.train.class_names == ("a", "b") and len(split.train) == 4
    assert split.level_scale is not None and split.train.levels == split.level_scale.levels
    with pytest.raises(DataError, match=r"1 file cannot be used: .*9\.tif"):
        nelbo.load_data(tmp_path, quantum=1, on_reject="stop")


def test_several_shapes_or_types_are_refused(tmp_path):
    write_values(tmp_path / "a.npy", measured("uint16"))
    write_values(tmp_path / "b.npy", measured("float32"))
    with pytest.raises(DataError, match=r"2 kinds .*2 x 5 x 7 float32, 2 x 5 x 7 uint16.* one shape and type"):
        read_values(str(tmp_path))


def test_a_report_says_which_levels_there_will_be(tmp_path):
    np.save(tmp_path / "x.npy", np.linspace(-1, 1, 2 * 3 * 4 * 4).reshape(2, 3, 4, 4))
    report = describe(tmp_path / "x.npy", quantum=0.01)
    assert (report.count, report.shape, report.levels, report.quantum) == (2, (3, 4, 4), 215, 0.01)
    assert report.values == (-1, 1)
    assert report.range == (pytest.approx(-1.07), pytest.approx(1.07))
    assert "215: the values -1.07 to 1.07 in steps of 0.01" in report.summary()["levels"]


def test_a_report_says_how_many_pixels_are_missing(tmp_path):
    values = np.random.default_rng(0).random((4, 6, 6)).astype(np.float32)
    values[0, :3] = np.nan
    np.save(tmp_path / "x.npy", values)
    for options in ({"quantum": 0.01}, {}):
        report = describe(tmp_path / "x.npy", **options)
        assert report.missing == pytest.approx(18 / 144)
        assert report.summary()["missing"] == "12.50% of the values"
    assert describe(tmp_path / "x.npy", quantum=0.01).count == 4


def test_nothing_to_read_is_refused(tmp_path):
    with pytest.raises(DataError, match="is no existing path"):
        nelbo.load_data("digits", quantum=1)
    with pytest.raises(DataError, match="holds no images that can be read"):
        read_values(str(tmp_path))
    with pytest.raises(ConfigurationError, match=r"ends in neither \.tif nor \.npy"):
        write_values(tmp_path / "x.png", measured("uint16"))
