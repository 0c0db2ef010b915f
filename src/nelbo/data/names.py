"""Names, file endings and modes of data sets. No torch is imported here: help texts and completion read this module."""

import os
import re
import sys
from pathlib import Path
from typing import Literal

from nelbo.errors import ConfigurationError, DataError, option, shown
from nelbo.options import as_plain, is_one_of

Mode = Literal["L", "RGB"]
Size = tuple[int, int]  # height, width
Range = tuple[float, float]  # the values of a pixel that become 0 and 255

CHANNELS: dict[Mode, int] = {"L": 1, "RGB": 3}
MODES: tuple[Mode, ...] = tuple(CHANNELS)
MODE_OF: dict[int, Mode] = {channels: mode for mode, channels in CHANNELS.items()}
ON_REJECT = ("skip", "stop")
AUTO, FULL = "auto", "full"  # ranges: of the depth that the values need, and of the depth that the file has

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".webp", ".bmp", ".tif", ".tiff")
PAGED_ENDINGS = (".tif", ".tiff")
# Endings of pictures that are not read. Files with them are left out with a warning, other files without one.
OTHER_PICTURES = frozenset(
    (
        ".gif",
        ".heic",
        ".heif",
        ".avif",
        ".jp2",
        ".jxl",
        ".svg",
        ".psd",
        ".ico",
        ".tga",
        ".ppm",
        ".pgm",
        ".pbm",
        ".exr",
        ".hdr",
        ".dng",
        ".cr2",
        ".nef",
        ".arw",
        ".dcm",
    )
)
ARRAY_ENDINGS = (".npy", ".npz")
ZARR_ENDINGS = (".zarr", ".zarr.zip")
SHARD_ENDING = ".tar"
TABLE_ENDING = ".parquet"
HUB_PREFIX = "hf:"  # begins the name of a data set on the Hugging Face Hub
STREAM_PREFIX = "stream:"  # begins the spec of a source to read from its beginning only
URLS = ("http://", "https://", "gs://")

DIGITS, FASHION_MNIST, TOY_PREFIX = "digits", "fashion-mnist", "toy:"
TOY_NAMES = ("moons", "spiral", "eight-gaussians", "checkerboard")
KNOWN_DENSITY = ("eight-gaussians", "checkerboard")  # toy sets whose log-density has a closed form
KNOWN_SCORE = ("eight-gaussians",)  # toy sets whose noisy score has a closed form
MEMORY_BUDGET = 2**31  # bytes of pixels to keep in memory; a larger set is decoded as it is read
MEMORY_PREFIX = "memory:"  # begins the spec of images that were given in memory, before their fingerprint
BUILT_IN = (DIGITS, FASHION_MNIST, *(TOY_PREFIX + name for name in TOY_NAMES))


def spec_of(data: object) -> str:
    """Return the name or the path of a data set as text.

    Raises:
        DataError: something else.
    """
    spec = os.fspath(data) if isinstance(data, str | os.PathLike) else data
    if not isinstance(spec, str) or not _can_name_a_file(spec):
        raise DataError(f"the data is {shown(spec)}; expected the name of a built-in set, or a path.")
    return spec


def _can_name_a_file(spec: str) -> bool:
    """Return whether the system can encode a text as the name of a file; a lone surrogate is in no name."""
    try:
        os.fsencode(spec)
    except UnicodeEncodeError:
        return False
    return True


def path_of(spec: str) -> Path:
    """Return the path that a spec names; a name after ~ that is no user's stays, as in ~backup.png."""
    return Path(os.path.expanduser(spec))


def absolute_spec(spec: str) -> str:
    """Return a spec that names the same data in every working folder.

    A built-in name stays as it is, and so does that of images in memory, on the Hub or behind a URL; a path or pattern
    becomes absolute.

    >>> absolute_spec("stream:hf:owner/name"), absolute_spec("stream:/shards/{0..9}.tar")
    ('stream:hf:owner/name', 'stream:/shards/{0..9}.tar')
    """
    if spec.startswith(STREAM_PREFIX):
        return STREAM_PREFIX + absolute_spec(spec.removeprefix(STREAM_PREFIX))
    stays = spec in BUILT_IN or spec.startswith((MEMORY_PREFIX, HUB_PREFIX, *URLS))
    return spec if stays else os.path.realpath(path_of(spec))


def is_stream(spec: str) -> bool:
    """Return whether a spec names a source that is read from its beginning only."""
    return spec.startswith((STREAM_PREFIX, *URLS))


def read_size(size: int | Size | str | None) -> int | Size | None:
    """Return a size of images as a side or as (H, W); a text is a side, or WIDTHxHEIGHT.

    >>> read_size("64"), read_size("48x64")
    (64, (64, 48))

    Raises:
        ConfigurationError: something else, or a side below 1.
    """
    read: object = size
    if isinstance(size, str) and (found := re.fullmatch(r"(\d+)(?:[xX×](\d+))?", size.strip())):
        read = int(found[1]) if found[2] is None else (int(found[2]), int(found[1]))
    read = as_plain(read)
    sides = read if isinstance(read, tuple) else (read,)
    fits = all(isinstance(side, int) and not isinstance(side, bool) and side >= 1 for side in sides)
    if size is not None and not (fits and len(sides) in (1, 2)):
        raise ConfigurationError(
            f"{option('size')} is {shown(size)}; expected a side in pixels, at least 1, such as 64, or WIDTHxHEIGHT, "
            "such as 48x64."
        )
    return None if size is None else sides[0] if len(sides) == 1 else (sides[0], sides[1])


def written_size(size: int | Size) -> str:
    """Return the text that `read_size` reads as this size."""
    return str(size) if isinstance(size, int) else f"{size[1]}x{size[0]}"


def read_range(range: Range | str) -> Range | str:
    """Return a range of pixel values as "auto", "full" or (low, high); a text with a comma is LOW,HIGH.

    >>> read_range("0,4095"), read_range("auto")
    ((0.0, 4095.0), 'auto')

    Raises:
        ConfigurationError: something else, or a range that is empty or not finite.
    """
    pair: object = range
    if isinstance(range, str) and "," in range:
        try:
            pair = tuple(float(part) for part in range.split(","))
        except ValueError:
            pair = range
    if is_one_of(pair, (AUTO, FULL)):
        return str(pair)
    pair = as_plain(pair)
    if isinstance(pair, tuple) and len(pair) == 2 and all(_is_number(end) for end in pair) and pair[0] < pair[1]:
        return float(pair[0]), float(pair[1])
    raise ConfigurationError(
        f"{option('range')} is {shown(range)}; expected {AUTO}, {FULL} or LOW,HIGH, the pixel values that become black "
        "and white, such as 0,4095."
    )


def check_quantum(quantum: object) -> None:
    """Check that a quantum is a number above 0.

    Raises:
        ConfigurationError: it is not.
    """
    if not _is_number(quantum) or not quantum > 0:  # type: ignore[operator]
        raise ConfigurationError(
            f"{option('quantum')} is {shown(quantum)}; expected the difference between the values of two levels, such "
            "as 1 for integers or 0.01."
        )


def check_measured(quantum: object, size: object, mode: object) -> None:
    """Check how measured values are to be read: they are neither resized nor converted.

    Raises:
        ConfigurationError: an invalid quantum, or a size or mode beside it.
    """
    check_quantum(quantum)
    for name, value in (("size", size), ("mode", mode)):
        if value is not None:
            raise ConfigurationError(
                f"{option('quantum')} keeps values as they were measured, and {option(name)} would change them; leave "
                "one of them out."
            )


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max
