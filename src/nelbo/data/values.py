"""Images as they were measured: pixel values of any integer or floating-point type, and any number of channels.

Nothing is scaled, composited or converted. A page of a TIFF file is a channel, and so is a sample of a pixel.
"""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageSequence
from torch import Tensor

from nelbo.data.datasets import ArrayDataset, Reject
from nelbo.data.depth import deep_colours, stored_colours, with_lower_bits
from nelbo.data.folders import list_folder
from nelbo.data.names import ARRAY_ENDINGS, PAGED_ENDINGS, path_of
from nelbo.data.scale import LevelScale
from nelbo.data.stored import FORMATS, printable
from nelbo.data.zarr_files import is_zarr, open_zarr
from nelbo.display import counted
from nelbo.errors import ConfigurationError, DataError

FEW = 4  # the largest number of channels that may come last in an array of four axes
HDF5_ENDINGS = (".h5", ".hdf5")
FROM_FILES = f"a folder or a file of images, or {' '.join((*ARRAY_ENDINGS, *HDF5_ENDINGS))}"


@dataclass(frozen=True, eq=False)
class Values:
    """Images of one shape as they were measured.

    Attributes:
        name: of the set.
        arrays: each image (C, H, W), all of one type.
        names: of each image.
        classes: the class of each image, or None.
        rejects: files that cannot be used, with reasons.
        mask: (N, C, H, W) bool, true where a pixel is missing; None if none is, or before `nelbo.data.measured.masked`.
    """

    name: str
    arrays: Sequence[NDArray[Any]]
    names: Sequence[str]
    classes: Sequence[str | None]
    rejects: list[Reject] = field(default_factory=list)
    mask: NDArray[np.bool_] | None = None

    @property
    def observed(self) -> Sequence[NDArray[Any]]:
        """The values of each image that are not missing by the mask, in one row."""
        if self.mask is None:
            return self.arrays
        return [array[~hidden] for array, hidden in zip(self.arrays, self.mask, strict=True)]

    @property
    def nan(self) -> NDArray[np.bool_] | None:
        """(N, C, H, W) bool, true where a value is NaN; None if none is."""
        if self.arrays[0].dtype.kind != "f" or not any(np.isnan(array).any() for array in self.arrays):
            return None
        return np.stack([np.isnan(array) for array in self.arrays])

    def levels(self, scale: LevelScale) -> ArrayDataset:
        """Return the images as levels of a scale; that of a missing pixel is 0, whatever value is there.

        Raises:
            DataError: an observed value is outside of the scale.
        """
        masks = [None] * len(self.arrays) if self.mask is None else list(self.mask)
        levels = [scale.to_levels(*each) for each in zip(self.arrays, self.names, masks, strict=True)]
        known = sorted({name for name in self.classes if name is not None})
        labels = torch.tensor([-1 if name is None else known.index(name) for name in self.classes])
        return ArrayDataset(
            torch.stack(levels),
            scale.levels,
            labels if known else None,
            self.name,
            known,
            self.rejects,
            level_scale=scale,
        )


def read_values(spec: str) -> Values:
    """Read the images that a path names: a folder, an image file, or an array in a `.npy` or `.npz` file.

    Raises:
        DataError: there are none, they have several shapes, or an array has other axes.
        ConfigurationError: `spec` is the name of a built-in set, whose levels are known.
    """
    path = path_of(spec)
    if not path.exists():
        raise DataError(f"{spec!r} is no existing path; give {FROM_FILES}.")
    if is_zarr(path) or (path.is_file() and path.suffix.lower() in (*ARRAY_ENDINGS, *HDF5_ENDINGS)):
        return of_array(_array_in(path), printable(path.stem))
    listing = list_folder(path)
    found, rejects = dict[str, NDArray[Any]](), list(listing.rejects)
    classes = {stored.path: name for stored, name in zip(listing.images, listing.classes, strict=True)}
    classes |= {str(each): _class_of(each, path) for each in _arrays_in(path)}
    for name in sorted(classes):
        try:
            found[name] = _file_values(Path(name))
        except Exception as error:  # damage makes the decoders raise almost any error
            rejects.append(Reject(printable(name), str(error).strip().partition("\n")[0] or type(error).__name__))
    if not found:
        first = f", the first {rejects[0].path} ({rejects[0].reason})" if rejects else ""
        raise DataError(f"{spec} holds no images that can be read{first}; give {FROM_FILES}.")
    return _of_one_shape(printable(path.name), found, [classes[name] for name in found], rejects)


def of_array(array: NDArray[Any], name: str) -> Values:
    """Return the images of an array: H x W, N x H x W, N x C x H x W, or N x H x W x C with at most 4 channels.

    Raises:
        DataError: it has other axes, or is empty.
    """
    if array.ndim == 2:
        array = array[None]
    if array.ndim == 3:
        array = array[:, None]
    if array.ndim != 4 or 0 in array.shape:
        raise DataError(f"{name} has the shape {array.shape}; expected H x W, N x H x W or N x C x H x W.")
    if array.shape[3] <= FEW < min(array.shape[1:3]):
        array = np.moveaxis(array, 3, 1)
    return Values(name, list(array), [f"{name}[{i}]" for i in range(len(array))], [None] * len(array))


def write_values(path: Path, array: NDArray[Any]) -> None:
    """Write an image (C, H, W) of any type: as a TIFF file with a page for each channel, or as a `.npy` file.

    Raises:
        ConfigurationError: another ending, or tifffile is needed and not installed.
    """
    if path.suffix.lower() == ".npy":
        np.save(path, array)
        return
    if path.suffix.lower() not in PAGED_ENDINGS:
        raise ConfigurationError(f"{path} ends in neither .tif nor .npy; choose one of them for measured values.")
    if (tifffile := _tifffile()) is not None:
        tifffile.imwrite(path, array if len(array) > 1 else array[0], photometric="minisblack")
        return
    pages = [Image.fromarray(page) for page in array]
    pages[0].save(path, save_all=True, append_images=pages[1:])


def _array_in(path: Path) -> NDArray[Any]:
    if path.suffix.lower() in HDF5_ENDINGS:
        return _hdf5_array(path)
    if is_zarr(path):
        return _chosen(path, open_zarr(path))
    try:
        content = np.load(path, allow_pickle=False)
        if isinstance(content, np.ndarray):
            return content
        with content:
            name = "images" if "images" in content.files else content.files[0]
            found: NDArray[Any] = content[name]
            return found
    except Exception as error:  # damage makes the decoders raise almost any error
        raise DataError(f"{path} cannot be read ({str(error) or type(error).__name__}).") from error


def _hdf5_array(path: Path) -> NDArray[Any]:
    """Return the data set `images` of an HDF5 file, or its only one."""
    try:
        import h5py
    except ImportError as error:
        raise ConfigurationError(
            f"{path} is an HDF5 file, which needs h5py: pip install 'nelbo[scientific]'."
        ) from error
    try:
        with h5py.File(path) as file:
            found: dict[str, Any] = {}
            file.visititems(lambda name, each: found.update({name: each}) if isinstance(each, h5py.Dataset) else None)
            return _chosen(path, found)
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error}).") from error


def _chosen(path: Path, arrays: dict[str, Any]) -> NDArray[Any]:
    """Read the array `images` of a file, or its only one."""
    chosen = arrays.get("images", next(iter(arrays.values())) if len(arrays) == 1 else None)
    if chosen is None:
        listed = ", ".join(arrays) or "none"
        raise DataError(f"{path} has the data sets {listed}; expected one, or one that is called images.")
    return np.asarray(chosen[...])


def _arrays_in(folder: Path) -> list[Path]:
    return sorted(each for each in folder.rglob("*.npy") if each.is_file()) if folder.is_dir() else []


def _class_of(path: Path, root: Path) -> str | None:
    parts = path.relative_to(root).parts
    return parts[0] if len(parts) > 1 else None


def _file_values(path: Path) -> NDArray[Any]:
    """Return the values (C, H, W) of one file."""
    if path.suffix.lower() == ".npy":
        [image] = of_array(array[None] if (array := _array_in(path)).ndim == 3 else array, path.name).arrays
        return image
    if path.suffix.lower() in PAGED_ENDINGS and (tifffile := _tifffile()) is not None:
        with tifffile.TiffFile(path) as file:
            series = file.series[0]
            return _channels_first(series.asarray(), series.axes.endswith("S"))
    with Image.open(path, formats=FORMATS) as picture:
        if stored := stored_colours(picture):
            with Image.open(path, formats=FORMATS) as again:
                return _channels_first(deep_colours(picture, with_lower_bits(again, stored)).values, True)
        pages = [np.array(page) for page in ImageSequence.Iterator(picture)]
    return np.concatenate([_channels_first(page, page.ndim == 3) for page in pages])


def _channels_first(array: NDArray[Any], last: bool) -> NDArray[Any]:
    if array.ndim not in (2, 3):
        raise DataError(f"it has {array.ndim} axes; expected H x W and channels")
    return array[None] if array.ndim == 2 else np.moveaxis(array, 2, 0) if last else array


def _of_one_shape(
    name: str, found: dict[str, NDArray[Any]], classes: list[str | None], rejects: list[Reject]
) -> Values:
    kinds = sorted({(array.shape, array.dtype.name) for array in found.values()})
    if len(kinds) > 1:
        listed = ", ".join(f"{c} x {h} x {w} {dtype}" for (c, h, w), dtype in kinds[:4])
        raise DataError(
            f"{name} has images of {counted(len(kinds), 'kind')} (C x H x W, type): {listed}; a set of measured values "
            "has one shape and type: move the others to a folder of their own."
        )
    return Values(name, list(found.values()), [printable(each) for each in found], classes, rejects)


def _tifffile() -> Any:
    """Return the package tifffile, or None if it is not installed."""
    try:
        import tifffile
    except ImportError:
        return None
    return tifffile


def as_measured(images: object, name: str = "the array") -> Values:
    """Return an array or tensor in memory, or a path, as measured values.

    Raises:
        DataError: something else.
    """
    if isinstance(images, str | os.PathLike):
        return read_values(os.fspath(images))
    array = images.numpy() if isinstance(images, Tensor) else images
    if not isinstance(array, np.ndarray):
        raise DataError(f"measured values are given as an array, a tensor or a path, not {type(images).__name__}.")
    return of_array(array, name)
