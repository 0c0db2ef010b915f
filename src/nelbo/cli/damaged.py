"""The damaged image of `nelbo restore` and its mask: read, and converted to what the model expects."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from nelbo.cli.console import say
from nelbo.errors import DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.data import Picture
    from nelbo.runs.folder import DataOptions
    from nelbo.runs.restore_options import RestoreOptions


def read_damaged(
    image: str, mask: Path | None, options: RestoreOptions, data: DataOptions, *, resize: bool
) -> tuple[Tensor, Tensor | None]:
    """Read a damaged image, uint8 (C, H, W), and its mask, bool (H, W), true where pixels are missing.

    An image of another size or mode is converted as in training, and its mask with it. Only an image to be enlarged
    must have its size, because reducing it first would lose what it shows.

    Args:
        data: the images that the model was trained on: their shape, and the range of images of more than 8 bits.
        resize: convert; otherwise another size or mode is an error.

    Raises:
        DataError: a file cannot be read or holds several images, or has another size or mode that is not converted.
    """
    from nelbo.data import read_picture
    from nelbo.restoration import build_damage

    picture, whole = read_picture(image, limits=data.range), data.shape
    missing = None if mask is None else _mask(mask, picture, whole, resize=resize)
    damage = build_damage(options.damage, vars(replace(options, mask=missing)))
    return _converted(picture, image, options, damage.expected_shape(whole), whole, resize=resize), missing


def _converted(
    picture: Picture,
    spec: str,
    options: RestoreOptions,
    shape: tuple[int, int, int],
    whole: tuple[int, int, int],
    *,
    resize: bool,
) -> Tensor:
    """Return the pixels of the damaged image at the expected shape, uint8 (C, H, W), and print what was changed."""
    from nelbo.data.decoding import conform
    from nelbo.data.names import MODE_OF

    (channels, height, width), found = shape, picture.pixels.shape
    other_size, coloured = tuple(found[1:]) != (height, width), len(picture.pixels) > channels
    if other_size and (options.upscale or not resize):
        smaller = f", so for --upscale {options.upscale} the image must be {width}x{height}" if options.upscale else ""
        raise DataError(
            f"{spec} is {found[2]}x{found[1]}, but the model's images are {whole[2]}x{whole[1]}{smaller}; crop or "
            "resize it."
        )
    if coloured and not resize:
        why = "for --colour" if options.colour else "because the model's images are grey"
        raise DataError(f"{spec} is in colour, but a grey image is expected {why}; convert it first.")
    noisy = "; --noise must state the noise that is left" if options.noise is not None else ""
    done = [picture.lost] if picture.lost else []
    done += [f"it is resized to {width}x{height} (shorter side fitted, centre cut out){noisy}"] if other_size else []
    done += ["it is converted to grey"] if coloured else []
    if done:
        say(f"{spec}: {'; '.join(done)}")
    return conform(picture.pixels.unsqueeze(0), (height, width), MODE_OF[channels])[0]


def _mask(path: Path, picture: Picture, whole: tuple[int, int, int], *, resize: bool) -> Tensor:
    """Read a mask: bool (H, W), true where the picture is white. It is cropped and resized like its image."""
    from nelbo.data import read_picture
    from nelbo.data.decoding import conform
    from nelbo.data.inputs import WHITE

    found = read_picture(str(path))
    size, target = found.pixels.shape[1:], whole[1:]
    if size != target and not (resize and size == picture.pixels.shape[1:]):
        image = f"; the image is {picture.pixels.shape[2]}x{picture.pixels.shape[1]}" if resize else ""
        raise DataError(
            f"the mask {path} is {size[1]}x{size[0]}, but the model's images are {target[1]}x{target[0]}{image}; give "
            "the mask the size of the image."
        )
    if len(found.pixels) != 1:
        raise DataError(f"the mask {path} has colours, but must be white where pixels are missing and black elsewhere.")
    if "transparency" in found.lost:
        raise DataError(
            f"the mask {path} has transparent pixels, and it is not clear whether they are missing; save it without "
            "transparency, white where pixels are missing and black elsewhere."
        )
    between = int(((found.pixels != 0) & (found.pixels != 255)).sum())
    if between:
        say(f"the mask {path} has {between} grey pixels; from {WHITE} of 255 on they count as white (missing)")
    return conform(found.pixels.unsqueeze(0), (target[0], target[1]), "L", nearest=True)[0, 0] >= WHITE
