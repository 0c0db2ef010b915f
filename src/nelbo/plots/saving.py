"""Writing pictures to files. Matplotlib takes half a second to import, so images are written without it."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from PIL import Image

from nelbo.errors import ConfigurationError, option
from nelbo.files import write_bytes
from nelbo.paths import expanded

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from nelbo.plots.animation import Animation

Picture: TypeAlias = "Figure | Image.Image | Animation"

FIGURE_FORMATS = {".png": "png", ".pdf": "pdf", ".svg": "svg"}
IMAGE_FORMATS = {".png": "PNG", ".webp": "WEBP", ".bmp": "BMP", ".tif": "TIFF", ".tiff": "TIFF"}
ANIMATION_FORMATS = {".gif": "GIF", ".webp": "WEBP"}


def save(picture: Picture, path: str | Path) -> Path:
    """Write a picture and return its path.

    A figure becomes .png, .pdf or .svg; an image .png, .webp, .bmp or .tiff, pixel-exact; an animation .gif or .webp.
    Missing folders are created. The write is atomic: a reader sees the old file or the new one, even after a kill. The
    same picture gives the same bytes.

    Raises:
        ConfigurationError: another ending.
    """
    path = expanded(path)
    write_bytes(path, _bytes(picture, path))
    return path


def check_ending(path: Path, *, animation: bool = False, image: bool = False, name: str = "out") -> Path:
    """Return the path if `save` can write a figure to it. Call it before long work.

    Args:
        animation: it is an animation instead of a figure.
        image: it is an image instead of a figure.
        name: the option that named the path, for the message.

    Raises:
        ConfigurationError: another ending.
    """
    formats, what = (ANIMATION_FORMATS, "an animation") if animation else (FIGURE_FORMATS, "a figure")
    if image:
        formats, what = IMAGE_FORMATS, "an image"
    _format(path, formats, what, name)
    return path


def _bytes(picture: Picture, path: Path) -> bytes:
    if isinstance(picture, Image.Image):
        return _image_bytes(picture, path)
    from nelbo.plots.animation import Animation

    if isinstance(picture, Animation):
        return picture.encode(_format(path, ANIMATION_FORMATS, "an animation"))
    return _figure_bytes(picture, path)


def _figure_bytes(figure: Figure, path: Path) -> bytes:
    kind = _format(path, FIGURE_FORMATS, "a figure")
    clock = {"png": "Software", "pdf": "CreationDate", "svg": "Date"}[
        kind
    ]  # the metadata that would differ between two writes
    buffer = BytesIO()
    figure.savefig(buffer, format=kind, metadata={clock: None})
    return buffer.getvalue()


def _image_bytes(image: Image.Image, path: Path) -> bytes:
    kind = _format(path, IMAGE_FORMATS, "an image")
    buffer = BytesIO()
    if kind == "WEBP":
        image.save(buffer, format=kind, lossless=True, exact=True)
    else:
        image.save(buffer, format=kind)
    return buffer.getvalue()


def _format(path: Path, formats: dict[str, str], what: str, name: str = "out") -> str:
    try:
        return formats[path.suffix.lower()]
    except KeyError:
        endings = ", ".join(formats)
        raise ConfigurationError(
            f"cannot write {what} as {path.name!r}; its name must end in one of {endings}; change {option(name)}."
        ) from None
