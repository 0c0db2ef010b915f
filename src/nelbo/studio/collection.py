"""The models that the studio shows: each is loaded once, with its codec, some images and their scores."""

import math
import tempfile
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from nelbo.codec import ProgressiveCodec
from nelbo.errors import ConfigurationError, DataError, NelboError
from nelbo.options import known
from nelbo.progress import Progress
from nelbo.runs import DiffusionRun, Run, VAERun, bundled_models, load, read_config
from nelbo.studies import data_of

EXAMPLES = 10  # images of each model that the page offers
COMPARED = 64  # images whose scores an image is compared with
LARGEST_UPLOAD = 1 << 24  # values of an image that a visitor gives

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class Examples:
    """Images of a model's kind.

    Attributes:
        images: (N, C, H, W) uint8 levels.
        origin: what they are, in words.
    """

    images: Tensor
    origin: str


@dataclass(frozen=True, eq=False)
class Scores:
    """Scores of images in bits/dim, beside which another one is placed.

    Attributes:
        values: (N,) float64, ascending.
        origin: what the images are, in words.
    """

    values: Tensor
    origin: str

    def place(self, score: float) -> str:
        """Say in words how many images are less surprising."""
        below, num = int((self.values < score).sum()), len(self.values)
        return f"More surprising than {below} of {num} {self.origin}."


class Collection:
    """Runs by name. A name that is not in the collection is refused, so that a visitor cannot name a path.

    Args:
        names: run folders, or names of bundled models; all bundled models if there are none.
        device: of the networks; the best one if None.

    Raises:
        RunError: there is no such run.
        ConfigurationError: a model of points.
    """

    def __init__(self, names: Sequence[str] = (), device: str | None = None) -> None:
        self.names, self.device = list(dict.fromkeys(names)) or _bundled_names(), device
        self._scratch = tempfile.TemporaryDirectory(prefix="nelbo-studio-")  # removed when the program ends
        self._made, self._locks, self._lock = dict[Any, Any](), dict[Any, threading.Lock](), threading.Lock()
        for name in self.names:
            self.run(name)

    def run(self, name: str) -> Run:
        """Return a run of any family."""
        known(name, self.names, "model")

        def make() -> Run:
            run = load(name, device=self.device)
            if run.shape[0] not in (1, 3):
                raise ConfigurationError(f"{name} is a model of points; the studio shows models of images.")
            return run

        return self.once(("run", name), make)

    def diffusion(self, name: str) -> DiffusionRun:
        """Return a diffusion model.

        Raises:
            ConfigurationError: it is a VAE.
        """
        run = self.run(name)
        if not isinstance(run, DiffusionRun):
            raise ConfigurationError(f"{name} is a VAE; choose a diffusion model.")
        return run

    @property
    def diffusion_names(self) -> list[str]:
        """The names of the diffusion models."""
        return [name for name in self.names if isinstance(self.run(name), DiffusionRun)]

    @property
    def vae_names(self) -> list[str]:
        """The names of the VAEs."""
        return [name for name in self.names if isinstance(self.run(name), VAERun)]

    def codec(self, name: str) -> ProgressiveCodec:
        """Return the codec of a diffusion model."""
        return self.once(("codec", name), lambda: self.diffusion(name).codec())

    def examples(self, name: str) -> Examples:
        """Return ten held-out images of a model, or samples of it if its images cannot be read."""
        return self.once(("examples", name), lambda: self._images(name, EXAMPLES))

    def scores(self, name: str, progress: Progress | None = None) -> Scores:
        """Return the scores of held-out images, or of samples; they are computed once."""

        def make() -> Scores:
            found = self._images(name, COMPARED)
            values = self.diffusion(name).score(found.images, progress=progress)
            return Scores(values.sort().values, found.origin)

        return self.once(("scores", name), make)

    def upload(self, name: str, path: str) -> Tensor:
        """Read an image that a visitor gave, as the model's own images: (C, H, W) uint8.

        Raises:
            DataError: it is no image, too large, or of another number of levels than the model's.
        """
        check_pixels(path)
        pixels: Tensor = self.run(name).dataset_of([path]).images([0])[0]
        return pixels

    def once(self, key: tuple[str, str], make: Callable[[], Made]) -> Made:
        """Return what `make` returned the first time; a second caller waits for the first."""
        with self._lock:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            if key not in self._made:
                self._made[key] = make()
            made: Made = self._made[key]
            return made

    def folder(self) -> Path:
        """Return a new empty folder for files that a visitor downloads."""
        return Path(tempfile.mkdtemp(dir=self._scratch.name))

    def _images(self, name: str, num: int) -> Examples:
        run = self.run(name)
        try:
            held_out = data_of(run).test
            if len(held_out) == 0:
                raise DataError(f"{name} has no held-out images.")
        except NelboError:
            return Examples(run.sample(num, seed=1), "samples of the model, because its images cannot be read here")
        some = held_out.spread(min(num, len(held_out)))
        return Examples(some.images(torch.arange(len(some))), "held-out images")


def _bundled_names() -> list[str]:
    """Return the names of the bundled models, those of the smallest images first, because they are the fastest."""
    found = bundled_models()
    return sorted(found, key=lambda name: math.prod(read_config(found[name]).data.shape))


def check_pixels(path: str, most: int = LARGEST_UPLOAD) -> None:
    """Check the size of an image before its pixels are decoded.

    Raises:
        DataError: it is no image, or has too many pixels.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            width, height = image.size
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError, ValueError, SyntaxError) as error:
        raise DataError("the file is no image that can be read; give a PNG, JPEG, WebP or TIFF file.") from error
    if 3 * width * height > most:
        raise DataError(f"the image has {width} x {height} pixels; the studio takes at most {most // 3:,} pixels.")
