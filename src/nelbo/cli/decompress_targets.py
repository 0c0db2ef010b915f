"""The images that `nelbo decompress` writes. One that exists is never replaced: it may be the original."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from nelbo.errors import ConfigurationError, DataError

if TYPE_CHECKING:
    from torch import Tensor

    from nelbo.cli.compressed import File


def targets_of(paths: Sequence[Path], target: Path, several: bool) -> dict[Path, Path]:
    """Return the image of each file, after checking that it can be written.

    Raises:
        ConfigurationError: the name has an ending of no format that keeps every pixel.
        RunError: it cannot be written.
    """
    from nelbo.paths import check_folder, check_target
    from nelbo.plots import check_ending

    if several:
        check_folder(target)
        return {path: target / f"{path.stem}.png" for path in paths}
    check_ending(target, image=True)
    check_target(target)
    return dict.fromkeys(paths, target)


def holds(target: Path, file: File) -> bool | None:
    """Return whether the image at `target` has the pixels of a file; None if only decoding can show it."""
    from nelbo.codec import RawImage
    from nelbo.codec.raw_image import hash_of

    pixels = _pixels_at(target)
    if pixels is None:
        return False
    if isinstance(file, RawImage):
        return _equal(pixels, file.pixels)
    if file.size is not None and tuple(pixels.shape[1:]) != file.size:
        return False
    if file.pixel_hash is None or file.truncated:
        return None
    coloured = [pixels.expand(3, -1, -1)] if len(pixels) == 1 else []  # grey pixels in a file of colours
    return file.pixel_hash in [hash_of(each) for each in (pixels, *coloured)]


def save_new(image: Tensor, target: Path) -> bool:
    """Write an image (C, H, W) uint8. Returns false if it exists already.

    Raises:
        ConfigurationError: there is another image.
        RunError: it cannot be written.
    """
    from nelbo.plots import save, single_image

    if target.exists():
        pixels = _pixels_at(target)
        if pixels is None or not _equal(pixels, image):
            raise ConfigurationError(f"{target} exists already and is another image; choose another --out.")
        return False
    save(single_image(image), target)
    return True


def _pixels_at(path: Path) -> Tensor | None:
    """Read an image (C, H, W), with C = 1 if it is grey; None if it cannot be read."""
    from nelbo.data import read_picture

    try:
        return read_picture(str(path)).pixels
    except DataError:
        return None


def _equal(pixels: Tensor, image: Tensor) -> bool:
    """Return whether an image that was read equals one of colours or grey levels."""
    import torch

    fits = pixels.shape[1:] == image.shape[1:] and len(pixels) in (1, len(image))
    return fits and torch.equal(pixels.expand_as(image), image)
