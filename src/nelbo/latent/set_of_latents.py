"""Latents of a set of images as a set of their own, on which a diffusion model is measured as on images."""

from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.data import ImageDataset
from nelbo.latent.space import CHUNK, LatentSpace
from nelbo.progress import Progress
from nelbo.randomness import LATENT, image_generators, standard_normal


class Latents(ImageDataset):
    """Tensors of latents in memory, float32 (N, C, h, w), with the conditions of the images that they belong to.

    Args:
        u: such as scaled latents; or several for each image, those of image i at i, i + N, ...
        images: N images.
    """

    def __init__(self, u: Tensor, images: ImageDataset) -> None:
        super().__init__(images.name, tuple(u.shape[1:]), images.levels, images.labels, images.class_names, ())  # type: ignore[arg-type]
        self.u, self.of = u, images

    def __len__(self) -> int:
        return len(self.u)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the latents at `indices`, float32 (n, L, h, w)."""
        return self.u[torch.as_tensor(indices, dtype=torch.int64)]

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the condition of the images at `indices`."""
        return self.of.condition(torch.as_tensor(indices, dtype=torch.int64) % len(self.of))

    def subset(self, indices: Tensor) -> "Latents":
        """Return the latents at `indices` (int64), in that order."""
        return Latents(self.u[indices], self.of.subset(indices % len(self.of)))


class EncodedImages(ImageDataset):
    """The scaled latents of a set of images, encoded when they are read: one draw of q(z|x) for each image.

    Args:
        space: encodes.
        images: the images.
        seed: of the draws; that of image i depends on the seed and on i alone.
    """

    def __init__(self, space: LatentSpace, images: ImageDataset, seed: int) -> None:
        shape = space.autoencoder.options.latent_shape
        super().__init__(images.name, shape, images.levels, images.labels, images.class_names, ())
        self.space, self.of, self.seed = space, images, seed

    def __len__(self) -> int:
        return len(self.of)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the latents at `indices`, float32 (n, L, h, w)."""
        chosen = torch.as_tensor(indices, dtype=torch.int64)
        generators = [image_generators(self.seed, int(i), 1, LATENT)[0] for i in chosen]
        x_0 = self.space.data_of(self.of.images(chosen))
        noise = standard_normal((len(chosen), *self.shape), generators, x_0)
        return self.space.encode(x_0, noise).u

    def condition(self, indices: Tensor | Sequence[int]) -> ConditionLike | None:
        """Return the condition of the images at `indices`."""
        return self.of.condition(indices)

    def subset(self, indices: Tensor) -> "ImageDataset":
        """Return the latents at `indices` (int64), in that order."""
        return Latents(self.images(indices), self.of.subset(indices))


def encoded_moments(
    space: LatentSpace, images: ImageDataset, mirrored: bool, progress: Progress | None = None
) -> Latents:
    """Return the moments of q(z|x) of every image, as `LatentObjective` takes them in place of images.

    Args:
        space: encodes.
        images: N images.
        mirrored: append the moments of the mirrored images: 2N in all. A mirrored latent is not that of the mirrored
            image, so a training that flips images needs both.
        progress: called with (images done, images in all).
    """
    parts, total = list[Tensor](), len(images) * (1 + mirrored)
    for mirror in range(1 + mirrored):
        for chosen in torch.arange(len(images)).split(CHUNK):
            x_0 = space.data_of(images.images(chosen))
            parts.append(space.moments(x_0.flip(3) if mirror else x_0).cpu())
            if progress is not None:
                progress(mirror * len(images) + int(chosen[-1]) + 1, total)
    return Latents(torch.cat(parts), images)
