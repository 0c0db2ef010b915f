"""The examples on which the decoder's pixel network is trained: gathered once, because each needs the whole network."""

import time
from collections.abc import Sequence

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import pixel_examples
from nelbo.networks import PixelOptions
from nelbo.progress import Progress
from nelbo.randomness import EXAMPLES, derived_seed
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.training.signals import stop_signals

BATCH = 64
MOST_BYTES = 2**29
MOST = 24_000


class DecoderExamples(ImageDataset):
    """Examples in memory: int16 (C + VC, H, W) each, see `nelbo.diffusion.pixel_examples`."""

    def __init__(self, examples: Tensor, levels: int) -> None:
        _, channels, height, width = examples.shape
        super().__init__("decoder", (channels, height, width), levels, None, (), ())
        self.examples = examples

    def __len__(self) -> int:
        return len(self.examples)

    def images(self, indices: Tensor | Sequence[int]) -> Tensor:
        """Return the examples at `indices`, int16 (n, C + VC, H, W)."""
        return self.examples[torch.as_tensor(indices, dtype=torch.int64)]

    def subset(self, indices: Tensor) -> "DecoderExamples":
        """Return the examples at `indices` (int64), in that order."""
        return DecoderExamples(self.examples[indices], self.levels)


def most_examples(shape: tuple[int, int, int], options: PixelOptions) -> int:
    """Return how many examples are kept at most: 24,000, or fewer if they need more than 512 MB."""
    channels, height, width = shape
    values = (2 + options.reads_x_1) * channels * height * width
    return min(MOST, max(MOST_BYTES // (2 * values), BATCH))


def gather_examples(
    run: DiffusionRun,
    options: PixelOptions,
    images: ImageDataset,
    num: int,
    *,
    seconds: float | None = None,
    progress: Progress | None = None,
) -> DecoderExamples | str:
    """Draw x_1 for `num` images and predict x_0 from it, or for fewer if `seconds` are over, but at least one batch.

    The images are spread over the set, and taken again with other noise if there are fewer. Example i depends on the
    seed and on i alone.

    Args:
        run: calibrated.
        options: of the pixel network.
        images: training images.
        progress: called with (examples done, examples in all).

    Returns:
        The examples, or the name of the signal that stopped the work.
    """
    reverse, seed = run.reverse(clip=True), run.recipe.training.seed
    device, began, found, stopped = reverse.schedule.device, time.monotonic(), list[Tensor](), list[str]()
    with stop_signals(stopped.append):
        for start in range(0, num, BATCH):
            late = seconds is not None and time.monotonic() - began > seconds
            if stopped or (found and late):
                break
            places = torch.arange(start, min(start + BATCH, num))
            chosen = images.images(places * len(images) // num if num < len(images) else places % len(images))
            generator = torch.Generator().manual_seed(derived_seed(seed, EXAMPLES, start))
            noise = torch.randn(chosen.shape, generator=generator)
            found.append(pixel_examples(reverse, options, chosen.to(device), noise.to(device)).cpu())
            if progress is not None:
                progress(min(start + BATCH, num), num)
    return stopped[0] if stopped else DecoderExamples(torch.cat(found), run.levels)
