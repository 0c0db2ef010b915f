"""Images as people have them in Python: paths, Pillow images, NumPy arrays, tensors, and lists of these."""

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nelbo.data.arrays import as_images, as_levels
from nelbo.data.datasets import ArrayDataset, ImageDataset
from nelbo.data.decoding import conform, to_tensor
from nelbo.data.flattening import from_pillow
from nelbo.data.folders import DataWarning
from nelbo.data.names import AUTO, CHANNELS, MODE_OF, Range
from nelbo.data.pictures import Picture, read_picture
from nelbo.data.preparing import load_for_model
from nelbo.data.stored import Unreadable
from nelbo.display import brief
from nelbo.errors import DataError, shown

Single = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor
Images = Single | Sequence[Single] | ImageDataset
WHITE = 128  # grey levels of a mask from here on count as white
EXPECTED = "expected a path, a Pillow image, a NumPy array, a tensor"  # the beginning of a list


def as_dataset(images: Images, shape: tuple[int, int, int], levels: int, limits: Range | None = None) -> ImageDataset:
    """Return images of any of these kinds as a data set for a model.

    Files and Pillow images are resized, cropped and converted to the model's shape as in training. Arrays and tensors
    keep their size; their layout is that of the model's shape if it fits, else one that `as_images` understands.

    Args:
        shape: (C, H, W) of the model's images.
        levels: K of the model, taken for uint8 arrays and tensors.
        limits: the values that become 0 and 255 where pixels have more than 8 bits; None for those of the depth of a
            file, and for what `as_levels` does to arrays.

    Raises:
        DataError: something else, or a file or an array that cannot be used.

    Warns:
        DataWarning: images were resized or converted.
    """
    if isinstance(images, ImageDataset):
        return images
    if isinstance(images, str | os.PathLike):
        prepared = load_for_model(os.fspath(images), shape, limits=limits)
        if prepared.note:
            warnings.warn(f"{prepared.note}, as in training.", DataWarning, stacklevel=3)
        return prepared.images
    if isinstance(images, np.ndarray | Tensor):
        pixels, found = _levels_for_model(images, levels, limits)
        return ArrayDataset(_batch(pixels, shape), found)
    if isinstance(images, Image.Image):
        images = [images]
    if not isinstance(images, list | tuple) or not images:
        raise DataError(
            f"the images are {shown(images)}; {EXPECTED}, a list of these that is not empty, or a data set."
        )
    each = [_fitted(image, shape, levels, limits) for image in images]
    shapes = {tuple(pixels.shape) for pixels, _ in each}
    if len(shapes) > 1:
        listed = ", ".join(" x ".join(map(str, found)) for found in sorted(shapes))
        raise DataError(f"the images have {len(shapes)} shapes (C x H x W): {listed}; resize them to one.")
    return ArrayDataset(torch.stack([pixels for pixels, _ in each]), max(found for _, found in each))


def as_picture(
    image: Single, shape: tuple[int, int, int] | None = None, limits: Range | None = None, what: str = "the image"
) -> Picture:
    """Return one image in its own size, with what its pixels lack; see `as_pixels`.

    Args:
        what: what the image is, for messages, such as "the mask".

    Raises:
        DataError: something else than one image, a closed Pillow image, or a file or an array that cannot be used.
    """
    if isinstance(image, str | os.PathLike):
        return read_picture(os.fspath(image), limits=limits)
    if isinstance(image, Image.Image):
        try:
            found = from_pillow(image, limits=limits)
        except Unreadable as error:
            raise DataError(f"{what} cannot be used: {error}.") from error
        except (OSError, ValueError, AssertionError, SyntaxError) as error:  # Pillow's, of a closed or damaged image
            raise DataError(
                f"{what} cannot be used: Pillow has closed it, or its file is damaged ({error or 'no file is open'}); "
                "use it before it is closed, or give the path of its file."
            ) from error
        pixels = to_tensor(found.pixels, MODE_OF[found.pixels.shape[2]])
        return Picture(what, pixels, found.lost, None, found.metadata, found.values, found.bits)
    if not isinstance(image, np.ndarray | Tensor):
        raise DataError(f"{what} is {shown(image)}; expected a path, a Pillow image, a NumPy array or a tensor.")
    return Picture(what, _one(_levels_for_model(image, 256, limits)[0], shape))


def as_pixels(image: Single, shape: tuple[int, int, int] | None = None, limits: Range | None = None) -> Tensor:
    """Return one image as integer levels (C, H, W), in its own size.

    Args:
        shape: (C, H, W) that is expected; it decides between layouts that are both possible.
        limits: see `as_dataset`.

    Raises:
        DataError: something else than one image, or a file or an array that cannot be used.
    """
    return as_picture(image, shape, limits).pixels


def pixels_of_array(
    image: NDArray[Any] | Tensor, shape: tuple[int, int, int] | None = None, range: Range | str = AUTO
) -> Tensor:
    """Return one array or tensor as levels (C, H, W); see `as_pixels` and `as_levels`."""
    return _one(levels_of(image, 256, range)[0], shape)


def _one(pixels: Tensor, shape: tuple[int, int, int] | None) -> Tensor:
    """Return one image of any layout as (C, H, W)."""
    if pixels.ndim == 3 and (shape is None or pixels.shape not in (shape, (*shape[1:], shape[0]))):
        first, last = pixels.shape[0] in (1, 3), pixels.shape[2] in (1, 3)
        if first == last:
            raise DataError(
                f"the image has the shape {tuple(pixels.shape)}; expected H x W, C x H x W or H x W x C with C = 1 or "
                "3 channels."
            )
        return pixels if first else pixels.permute(2, 0, 1).contiguous()
    batch = _batch(pixels, shape)
    if len(batch) != 1:
        raise DataError(f"the image has the shape {tuple(pixels.shape)}, which is {len(batch)} images; give one.")
    return batch[0]


def as_mask(mask: Single) -> Tensor:
    """Return a mask of missing pixels, bool (H, W): a bool array or tensor, or a picture that is white there.

    Raises:
        DataError: something else, a picture in colour or with transparency, or an array of other values.

    Warns:
        DataWarning: a picture has grey pixels.
    """
    if isinstance(mask, np.ndarray | Tensor):
        if mask.dtype != (torch.bool if isinstance(mask, Tensor) else np.bool_) or mask.ndim != 2:
            raise DataError(
                f"the mask is {mask.dtype} of shape {tuple(mask.shape)}; expected bool (height, width), true where "
                "pixels are missing."
            )
        return torch.as_tensor(mask)
    name = f"the mask {os.fspath(mask)}" if isinstance(mask, str | os.PathLike) else "the mask"
    picture = as_picture(mask, what="the mask")
    if "transparency" in picture.lost:
        raise DataError(
            f"{name} has transparent pixels, and it is not clear whether they are missing; save it without "
            "transparency, white where pixels are missing and black elsewhere."
        )
    if len(picture.pixels) != 1:
        raise DataError(f"{name} has colours, but must be white where pixels are missing and black elsewhere.")
    if between := int(((picture.pixels != 0) & (picture.pixels != 255)).sum()):
        warnings.warn(
            f"{name} has {between} grey pixels; from {WHITE} of 255 on they count as white (missing).",
            DataWarning,
            stacklevel=2,
        )
    return picture.pixels[0] >= WHITE


def _fitted(image: Single, shape: tuple[int, int, int], levels: int, limits: Range | None) -> tuple[Tensor, int]:
    """Return one image of a list as levels (C, H, W), and K; a file or a Pillow image is resized to `shape`."""
    if isinstance(image, np.ndarray | Tensor):
        return as_pixels(image, shape, limits), _levels_for_model(image, levels, limits)[1]
    pixels = as_pixels(image, limits=limits)
    if pixels.shape != shape and shape[0] in MODE_OF:
        changed = conform(pixels[None], (shape[1], shape[2]), MODE_OF[shape[0]])[0]
        if pixels.shape[1:] != shape[1:] or len(pixels) > CHANNELS[MODE_OF[shape[0]]]:
            size, mode = f"{shape[2]}x{shape[1]}", "" if len(pixels) <= shape[0] else " in grey"
            warnings.warn(f"an image became {size}{mode}, as in training.", DataWarning, stacklevel=4)
        pixels = changed
    return pixels, 256


def levels_of(images: NDArray[Any] | Tensor, levels: int, range: Range | str = AUTO) -> tuple[Tensor, int]:
    """Return an array or a tensor as uint8, and K: `levels` for uint8; see `as_levels` for other types."""
    array = as_array(images)
    if array.dtype == np.uint8:
        return torch.from_numpy(np.require(array, requirements=["C", "W"])), levels
    kind = "the tensor" if isinstance(images, Tensor) else "the array"
    converted, found = as_levels(array, kind, range)
    return torch.from_numpy(np.require(converted, requirements=["C", "W"])), found


def _levels_for_model(images: NDArray[Any] | Tensor, levels: int, limits: Range | None) -> tuple[Tensor, int]:
    """Return `levels_of` images for a model; their range is that of its training images, and no option sets it.

    Raises:
        DataError: values that no levels follow from.
    """
    try:
        return levels_of(images, levels, limits or AUTO)
    except DataError as error:
        if "range" not in error.options:
            raise
        array, kind = as_array(images), "tensor" if isinstance(images, Tensor) else "array"
        raise DataError(
            f"the {kind} holds {array.dtype} from {array.min()} to {array.max()}; expected levels as uint8: scale and "
            "round the values as those of the model's training images were."
        ) from None


def as_array(images: NDArray[Any] | Tensor) -> NDArray[Any]:
    """Return an array, or a tensor as an array; numbers of a type that NumPy lacks, such as bfloat16, as float32.

    Raises:
        DataError: a tensor that holds no plain numbers, such as a sparse one.
    """
    if not isinstance(images, Tensor):
        return images
    known = not images.is_floating_point() or images.dtype in (torch.float16, torch.float32, torch.float64)
    try:
        array: NDArray[Any] = (images if known else images.float()).detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(f"the tensor is {brief(images)}; expected a dense tensor of numbers ({error}).") from error
    return array


def _batch(pixels: Tensor, shape: tuple[int, int, int] | None) -> Tensor:
    """Return images of any layout as (N, C, H, W)."""
    if shape is not None:
        last = (*shape[1:], shape[0])
        if pixels.shape in (shape, last):
            pixels = pixels[None]
        if pixels.ndim == 4 and pixels.shape[1:] in (shape, last):
            return pixels if pixels.shape[1:] == shape else pixels.permute(0, 3, 1, 2).contiguous()
        if pixels.ndim == 3 and shape == (1, *pixels.shape[1:]):
            return pixels[:, None]
    if pixels.ndim == 4 and pixels.shape[1] not in (1, 3) and pixels.shape[3] not in (1, 3):
        return pixels  # the model refuses it and names both shapes
    return as_images(pixels.numpy(), "the array")
