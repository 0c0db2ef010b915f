"""The five transforms of torchvision that denoising-diffusion-pytorch uses, for machines without torchvision.

The wheels of torchvision on PyPI need a CUDA build of PyTorch. Beside a CPU build they cannot be imported, and break
torchmetrics and diffusers, which import them where they are installed.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from importlib.util import find_spec
from types import ModuleType
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor


class Compose:
    """Apply transforms in turn."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = transforms

    def __call__(self, image: Any) -> Any:
        """Return the transformed image."""
        for transform in self.transforms:
            image = transform(image)
        return image


class Lambda:
    """Call a function."""

    def __init__(self, function: Callable[[Any], Any]) -> None:
        self.function = function

    def __call__(self, image: Any) -> Any:
        """Return the function's result."""
        return self.function(image)


class SameSize:
    """Stand in for `Resize` and `CenterCrop`: the images already have their size, (height, width)."""

    def __init__(self, size: Sequence[int]) -> None:
        self.size = tuple(size)

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image unchanged."""
        assert image.size[::-1] == self.size
        return image


class RandomHorizontalFlip:
    """Flip an image with probability 1/2, by a draw from torch's global state, as torchvision does."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """Return the image, flipped or not."""
        return ImageOps.mirror(image) if torch.rand(1) < 0.5 else image


class ToTensor:
    """Convert an image to a tensor (C, H, W) in [0, 1]."""

    def __call__(self, image: Image.Image) -> Tensor:
        """Return the tensor."""
        levels = torch.from_numpy(np.array(image))
        return (levels[None] if levels.ndim == 2 else levels.permute(2, 0, 1)).float() / 255


@contextmanager
def torchvision_or_stand_in() -> Iterator[None]:
    """Provide `torchvision.transforms` while the block imports a package that needs it."""
    if find_spec("torchvision") is not None:
        yield
        return
    transforms, utils, package = (ModuleType(f"torchvision{end}") for end in (".transforms", ".utils", ""))
    package.__spec__ = ModuleSpec("torchvision", None)
    for name, value in {
        "Compose": Compose,
        "Lambda": Lambda,
        "Resize": SameSize,
        "CenterCrop": SameSize,
        "RandomHorizontalFlip": RandomHorizontalFlip,
        "ToTensor": ToTensor,
    }.items():
        setattr(transforms, name, value)
    package.transforms, package.utils = transforms, utils  # type: ignore[attr-defined]
    added = {module.__name__: module for module in (package, transforms, utils)}
    sys.modules.update(added)
    try:
        yield
    finally:
        for name in added:
            del sys.modules[name]  # others look for torchvision there
