"""Images as people have them in Python: paths, Pillow images, NumPy arrays, tensors, and lists of these."""

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from nelbo.data.arrays import as_images, as_levels, limits_of, require_one_scale
from nelbo.data.datasets import ImageDataset
from nelbo.data.flattening import from_pillow, pages_in
from nelbo.data.folders import DataWarning
from nelbo.data.names import AUTO, Range
from nelbo.data.pictures import Picture, read_picture
from nelbo.data.preparing import Prepared, fitted, joined, load_for_model, warn_for_model
from nelbo.data.stored import Unreadable
from nelbo.display import counted
from nelbo.errors import DataError, shown, warn

Single = str | os.PathLike[str] | Image.Image | NDArray[Any] | Tensor
Images = Single | Sequence[Single] | ImageDataset
WHITE = 128  # grey levels of a mask from here on count as white
FAULTS = (OSError, EOFError, ValueError, AssertionError, SyntaxError)  # Pillow's, of a closed or damaged image
EXPECTED = "expected a path, a Pillow image, a NumPy array, a tensor"  # the beginning of a list


def as_dataset(images: Images, shape: tuple[int, int, int], levels: int, limits: Range | None = None) -> ImageDataset:
    """Return images of any of these kinds as a data set for a model.

    Images of another size or mode are resized, cropped and converted to the model's shape as in training, except data
    sets and images of other than 256 levels: those keep their shape. The layout of an array is that of the model's
    shape if it fits, else one that `as_images` understands.

    Args:
        shape: (C, H, W) of the model's images.
        levels: K of the model, taken for uint8 arrays and tensors.
        limits: the values that become 0 and 255 where pixels have more than 8 bits; None for those of the depth of a
            file, and for what `as_levels` does to arrays. uint8 arrays hold levels.

    Raises:
        DataError: something else, or a file or an array that cannot be used.

    Warns:
        DataWarning: images were resized or converted, or lack something that their files have.
    """
    if isinstance(images, ImageDataset):
        return images
    if isinstance(images, str | os.PathLike):
        prepared = load_for_model(os.fspath(images), shape, limits=limits)
    elif isinstance(images, np.ndarray | Tensor):
        pixels, found = _levels_for_model(images, levels, limits)
        prepared = fitted(_batch(pixels, shape), found, shape)
    else:
        prepared = _each_fitted(images, shape, levels, limits)
    if prepared.note:
        warn(f"{prepared.note}, as in training.", DataWarning)
    return prepared.images


def _each_fitted(images: object, shape: tuple[int, int, int], levels: int, limits: Range | None) -> Prepared:
    """Return a Pillow image or a list for a model, each image at the model's shape; see `as_dataset`."""
    given = [images] if isinstance(images, Image.Image) else images
    if not isinstance(given, list | tuple) or not given:
        raise DataError(
            f"the images are {shown(images)}; {EXPECTED}, a list of these that is not empty, or a data set."
        )
    if limits is None:
        require_one_scale([as_array(image) for image in given if isinstance(image, np.ndarray | Tensor)])
    parts, pictures = list[Prepared](), list[Picture]()
    for image in given:
        if isinstance(image, np.ndarray | Tensor):
            pixels, found = _levels_for_model(image, levels, limits)
            parts.append(fitted(_one(pixels, shape)[None], found, shape))
        else:
            read = as_pictures(image, limits)
            parts += [fitted(picture.pixels[None], 256, shape) for picture in read]
            pictures += read
    warn_for_model("the image" if isinstance(images, Image.Image) else "the list", pictures, limits)
    return joined(parts)


def as_pictures(image: Single, limits: Range | None = None, what: str = "the image") -> list[Picture]:
    """Return one image as `as_picture` does; of a TIFF file of several pages that Pillow has opened, each page."""
    return _opened(image, limits, what) if isinstance(image, Image.Image) else [as_picture(image, None, limits, what)]


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
        return _opened(image, limits, what, alone=True)[0]
    if not isinstance(image, np.ndarray | Tensor):
        raise DataError(f"{what} is {shown(image)}; expected a path, a Pillow image, a NumPy array or a tensor.")
    return Picture(what, _one(_levels_for_model(image, 256, limits)[0], shape))


def _opened(image: Image.Image, limits: Range | None, what: str, *, alone: bool = False) -> list[Picture]:
    """Return the pages of a TIFF file that Pillow has opened, or any other Pillow image.

    Args:
        alone: refuse several pages.
    """
    try:
        pages, here, found = pages_in(image), image.tell(), list[Picture]()
        if alone and len(pages) > 1:
            raise Unreadable(
                f"it is a TIFF file of {len(pages)} pages, and one image is expected; choose a page by image.seek(n), "
                "and give image.copy()"
            )
        for page in pages:
            image.seek(page)
            found.append(Picture.of(what, from_pillow(image, limits=limits)))
        image.seek(here)
    except Unreadable as error:
        raise DataError(f"{what} cannot be used: {error}.") from error
    except FAULTS as error:
        raise DataError(
            f"{what} cannot be used: Pillow has closed it, or its file is damaged ({error or 'no file is open'}); "
            "use it before it is closed, or give the path of its file."
        ) from error
    return found


def as_pixels(image: Single, shape: tuple[int, int, int] | None = None, limits: Range | None = None) -> Tensor:
    """Return one image as integer levels (C, H, W), in its own size.

    Args:
        shape: (C, H, W) that is expected; it decides between layouts that are both possible.
        limits: see `as_dataset`.

    Raises:
        DataError: something else than one image, or a file or an array that cannot be used.
    """
    return as_picture(image, shape, limits).pixels


def pixels_of_array(image: NDArray[Any] | Tensor, range: Range | str = AUTO) -> tuple[Tensor, int]:
    """Return one array or tensor as levels (C, H, W), and K; see `as_pixels` and `as_levels`."""
    pixels, levels = levels_of(image, 256, range)
    return _one(pixels, None), levels


def _one(pixels: Tensor, shape: tuple[int, int, int] | None) -> Tensor:
    """Return one image of any layout as (C, H, W)."""
    if pixels.ndim == 3 and pixels.numel() and (shape is None or pixels.shape not in (shape, (*shape[1:], shape[0]))):
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
        array = as_array(mask, "the mask")
        is_bool = array.dtype == np.bool_
        if not is_bool or array.ndim != 2:
            plane = "mask" if array.ndim == 2 else "mask.squeeze()"
            is_plane = array.ndim == 2 or sum(side > 1 for side in array.shape) == 2
            such = f", such as {plane}{'' if is_bool else ' > mask.max() / 2'}" if is_plane else ""
            raise DataError(
                f"the mask is {shown(mask)}; expected bool (height, width), true where pixels are missing{such}."
            )
        return torch.as_tensor(array)
    name = f"the mask {os.fspath(mask)}" if isinstance(mask, str | os.PathLike) else "the mask"
    picture = as_picture(mask, what="the mask")
    if "transparency" in picture.lost:
        raise DataError(
            f"{name} has transparent pixels, and it is not clear whether they are missing; save it without "
            "transparency, white where pixels are missing and black elsewhere."
        )
    if len(picture.pixels) != 1:
        raise DataError(f"{name} has colours, but must be white where pixels are missing and black elsewhere.")
    warn_for_model(name, [picture])
    if between := int(((picture.pixels != 0) & (picture.pixels != 255)).sum()):
        warn(f"{name} has {between} grey pixels; from {WHITE} of 255 on they count as white (missing).", DataWarning)
    return picture.pixels[0] >= WHITE


def levels_of(images: NDArray[Any] | Tensor, levels: int, range: Range | str = AUTO) -> tuple[Tensor, int]:
    """Return an array or a tensor as uint8, and K: `levels` for uint8 without a range; see `as_levels` for others."""
    array = as_array(images)
    if array.dtype == np.uint8 and limits_of(array, range) is None:
        return torch.from_numpy(np.require(array, requirements=["C", "W"])), levels
    kind = "the tensor" if isinstance(images, Tensor) else "the array"
    converted, found = as_levels(array, kind, range)
    return torch.from_numpy(np.require(converted, requirements=["C", "W"])), found


def _levels_for_model(images: NDArray[Any] | Tensor, levels: int, limits: Range | None) -> tuple[Tensor, int]:
    """Return `levels_of` images for a model; their range is that of its training images, and no option sets it.

    uint8 stays levels, as samples are. If they could be values within the range, a warning says so.

    Raises:
        DataError: values that no levels follow from.
    """
    array = as_array(images)
    try:
        if array.dtype == np.uint8:
            _warn_of_levels(array, limits)
            return levels_of(array, levels)
        return levels_of(images, levels, limits or AUTO)
    except DataError as error:
        if "range" not in error.options:
            raise
        kind = "tensor" if isinstance(images, Tensor) else "array"
        raise DataError(
            f"the {kind} holds {array.dtype} from {array.min()} to {array.max()}; expected levels as uint8: scale and "
            "round the values as those of the model's training images were."
        ) from None


def _warn_of_levels(array: NDArray[np.uint8], limits: Range | None) -> None:
    """Warn of uint8 taken as levels that could be values of the `limits` of a model, such as 0..16 of 0..16."""
    if limits is not None and limits_of(array, limits) is not None and array.max(initial=0) <= limits[1] < 255:
        low, high = (f"{end:.12g}" for end in limits)
        warn(
            f"the images are uint8 up to {array.max(initial=0)} and are taken as levels of 0..255, but those that the "
            f"model was trained on had the range {low}..{high}; if yours have it too, give another type, such as "
            "x.astype(float).",
            DataWarning,
        )


def as_array(images: NDArray[Any] | Tensor, what: str | None = None) -> NDArray[Any]:
    """Return an array, or a tensor as an array; numbers of a type that NumPy lacks, such as bfloat16, as float32.

    Raises:
        DataError: a tensor that holds no plain numbers, such as a sparse one, or an array with masked values.
    """
    if isinstance(images, np.ma.MaskedArray):
        if masked := int(np.ma.getmaskarray(images).sum()):
            raise DataError(
                f"{what or 'the array'} has {counted(masked, 'masked value')}; expected a value in every pixel. Fill "
                "them, for example by x.filled(0)."
            )
        return np.ma.getdata(images)
    if not isinstance(images, Tensor):
        return images
    known = not images.is_floating_point() or images.dtype in (torch.float16, torch.float32, torch.float64)
    try:
        array: NDArray[Any] = (images if known else images.float()).detach().cpu().numpy()
    except (TypeError, RuntimeError) as error:
        raise DataError(
            f"{what or 'the tensor'} is {shown(images)}; expected numbers in a dense tensor, not in a sparse, nested "
            "or meta one."
        ) from error
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
    return as_images(pixels.numpy(), "the array", None if shape is None else shape[0])
