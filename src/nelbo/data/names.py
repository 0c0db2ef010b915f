"""Names, file endings and modes of data sets. No torch is imported here: help texts and completion read this module."""

from pathlib import Path
from typing import Literal

Mode = Literal["L", "RGB"]
Size = tuple[int, int]  # height, width

CHANNELS: dict[Mode, int] = {"L": 1, "RGB": 3}
MODES: tuple[Mode, ...] = tuple(CHANNELS)
MODE_OF: dict[int, Mode] = {channels: mode for mode, channels in CHANNELS.items()}
ON_REJECT = ("skip", "stop")

IMAGE_ENDINGS = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff")
ARRAY_ENDINGS = (".npy", ".npz")
SHARD_ENDING = ".tar"

DIGITS, FASHION_MNIST, TOY_PREFIX = "digits", "fashion-mnist", "toy:"
TOY_NAMES = ("moons", "spiral", "eight-gaussians", "checkerboard")
KNOWN_DENSITY = ("eight-gaussians", "checkerboard")  # toy sets whose log-density has a closed form
KNOWN_SCORE = ("eight-gaussians",)  # toy sets whose noisy score has a closed form
BUILT_IN = (DIGITS, FASHION_MNIST, *(TOY_PREFIX + name for name in TOY_NAMES))


def absolute_spec(spec: str) -> str:
    """Return a spec that names the same data in every working folder.

    A built-in name stays as it is; a path or pattern becomes absolute.
    """
    return spec if spec in BUILT_IN else str(Path(spec).expanduser().resolve())
