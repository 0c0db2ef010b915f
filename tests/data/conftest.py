"""Small images on disk for the tests of data sets."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image


def picture(seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB") -> Image.Image:
    """Make a noisy picture of (width, height) in Pillow's `mode`."""
    noise = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    return Image.fromarray(noise).convert(mode)


@pytest.fixture
def save(tmp_path: Path) -> Callable[..., Path]:
    """`save("a/b.png", seed=1, size=(8, 8), mode="RGB")` writes a picture under the folder of the test."""

    def write(name: str, seed: int = 0, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: object) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(seed, size, mode).save(path, **options)
        return path

    return write
