"""The damaged image of a restoration and its mask, converted to what the model expects."""

import os
from dataclasses import dataclass, replace

from torch import Tensor

from nelbo.data import DataWarning, Picture, Single, as_mask, as_picture
from nelbo.data.decoding import conform
from nelbo.data.names import CHANNELS, MODE_OF
from nelbo.data.preparing import warn_for_model
from nelbo.display import Brief
from nelbo.errors import DataError, ShapeError, option, warn
from nelbo.restoration import build_damage
from nelbo.runs.data_options import DataOptions
from nelbo.runs.restore_options import RestoreOptions

Shape = tuple[int, int, int]


@dataclass(frozen=True, eq=False)
class DamagedImage(Brief):
    """A damaged image and the options of its restoration, as the model needs them.

    Attributes:
        pixels: integer levels (C, H, W) of the shape that the damage expects.
        options: the options; their mask is None, or bool (H, W) of the model's size, true where pixels are missing.
    """

    pixels: Tensor
    options: RestoreOptions


def prepare_damaged(image: Single, options: RestoreOptions, data: DataOptions) -> DamagedImage:
    """Prepare a damaged image of any kind that `nelbo.data.as_pixels` takes, and its mask.

    An image of another size or mode is converted as in training, and its mask with it. Only an image to be enlarged
    must have its size, because reducing it first would lose what it shows. A model of fewer than 256 levels takes only
    arrays of its own size.

    Args:
        options: `resize=False` makes another size or mode an error.
        data: shape, levels and range of the model's images.

    Raises:
        DataError: the image or the mask cannot be used, or has another size or mode that is not converted.
        ConfigurationError: the model's images cannot have this damage.
        ShapeError: levels out of range.

    Warns:
        DataWarning: the image was converted, or lacks something that its file has.
    """
    masked, plain = options.mask is not None, replace(options, resize=options.resize and data.levels == 256)
    expected = data.shape if masked else build_damage(options.damage, vars(options)).expected_shape(data.shape)
    picture = as_picture(image, expected, data.range)
    warn_for_model(_name(image), [replace(picture, frames=1)], data.range)  # `lost` names further frames
    pixels = _converted(picture, _name(image), plain, expected, data.shape)
    mask = _mask(plain, picture, data.shape) if masked else None
    top = int(pixels.max())
    if top >= data.levels:
        raise ShapeError(f"{_name(image)} has the level {top}, but the model's levels are 0..{data.levels - 1}.")
    return DamagedImage(pixels, replace(options, mask=mask))


def _name(image: Single) -> str:
    return os.fspath(image) if isinstance(image, str | os.PathLike) else "the damaged image"


def _converted(picture: Picture, name: str, options: RestoreOptions, shape: Shape, whole: Shape) -> Tensor:
    """Return the pixels at the expected shape, and warn of what was changed."""
    pixels, (channels, height, width) = picture.pixels, shape
    other_size, coloured = pixels.shape[1:] != shape[1:], len(pixels) > channels
    if other_size and (options.upscale or not options.resize):
        needed = f", so for {option('upscale', options.upscale)} the image must be {width}x{height}"
        smaller = needed if options.upscale else ""
        raise DataError(
            f"{name} is {pixels.shape[2]}x{pixels.shape[1]}, but the model's images are {whole[2]}x{whole[1]}{smaller};"
            " crop or resize it."
        )
    if coloured and not options.resize:
        why = f"for {option('colour')}" if options.colour else "because the model's images are grey"
        raise DataError(f"{name} is in colour, but a grey image is expected {why}; convert it first.")
    noisy = f"; {option('noise')} must state the noise that is left" if options.noise is not None else ""
    done = [picture.lost] if picture.lost else []
    done += [f"it is resized to {width}x{height} (shorter side fitted, centre cut out){noisy}"] if other_size else []
    done += ["it is converted to grey"] if coloured else []
    if done:
        warn(f"{name}: {'; '.join(done)}.", DataWarning)
    if pixels.shape == shape:
        return pixels
    if channels not in CHANNELS.values():
        raise ShapeError(
            f"{name} has the shape {tuple(pixels.shape)}, but the model's images have {channels} values per point."
        )
    return conform(pixels.unsqueeze(0), (height, width), MODE_OF[channels])[0]


def _mask(options: RestoreOptions, picture: Picture, whole: Shape) -> Tensor:
    """Return the mask, bool (H, W) of the model's size. It is cropped and resized like its image."""
    mask, image, target = as_mask(options.mask), picture.pixels.shape[1:], whole[1:]
    if mask.shape == target:
        return mask
    if not options.resize or mask.shape != image:
        name = f"the mask {_name(options.mask)}" if isinstance(options.mask, str | os.PathLike) else "the mask"
        given = f"; the image is {image[1]}x{image[0]}" if options.resize else ""
        raise DataError(
            f"{name} is {mask.shape[1]}x{mask.shape[0]}, but the model's images are {whole[2]}x{whole[1]}{given}; give "
            "the mask the size of the image."
        )
    return conform(255 * mask[None, None].byte(), target, "L", nearest=True)[0, 0] > 0
