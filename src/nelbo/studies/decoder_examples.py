"""The examples on which the decoder's pixel network is trained: gathered once, because each needs the whole network."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import pixel_examples
from nelbo.evaluation.conditions import condition_of
from nelbo.files import write_json
from nelbo.networks import PixelOptions
from nelbo.progress import Progress
from nelbo.randomness import EXAMPLES, derived_seed
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.training import METRICS_FILE, STATE_FILE, TrainerOptions, is_first_process
from nelbo.training.signals import stop_signals

FILE = "network.json"
GATHERING = 0.2  # share of a pixel network's minutes in which its examples are gathered
BATCH = 64
MOST_BYTES = 2**29
MOST = 24_000  # enough: after 36 minutes, images among the examples take 0.003 +- 0.005 bits/dim more than other ones


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


def most_examples(shape: tuple[int, int, int], numbers: int) -> int:
    """Return how many examples are kept at most: 24,000, or fewer if they need more than 512 MB.

    Args:
        shape: (C, H, W) of the images.
        numbers: int16 of an example for each pixel and channel.
    """
    return min(MOST, max(MOST_BYTES // (2 * numbers * math.prod(shape)), BATCH))


def image_order(num: int, seed: int) -> Tensor:
    """Return the order (num,) in which the training images give examples, shuffled: time may end the gathering."""
    return torch.randperm(num, generator=torch.Generator().manual_seed(derived_seed(seed, EXAMPLES)))


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

    The images are taken in the order of `image_order`, and again with other noise if there are fewer. Example i depends
    on the seed and on i alone.

    Args:
        run: calibrated.
        options: of the pixel network.
        images: training images.
        progress: called with (examples done, examples in all).

    Returns:
        The examples, or the name of the signal that stopped the work.
    """
    reverse, seed = run.reverse(clip=True), run.recipe.training.seed
    order, device = image_order(len(images), seed), reverse.schedule.device

    def examples(places: Tensor) -> Tensor:
        places_of = order[places % len(images)]
        chosen, label = images.images(places_of), condition_of(images, places_of, None, device)
        generator = torch.Generator().manual_seed(derived_seed(seed, EXAMPLES, int(places[0])))
        noise = torch.randn(chosen.shape, generator=generator)
        return pixel_examples(reverse, options, chosen.to(device), noise.to(device), label).cpu()

    found = gathered(examples, num, BATCH, seconds, progress)
    return found if isinstance(found, str) else DecoderExamples(found, run.config.data.levels)


def gathered(
    examples: Callable[[Tensor], Tensor], num: int, batch: int, seconds: float | None, progress: Progress | None
) -> Tensor | str:
    """Return `examples(places)` of the places 0..num - 1, batch by batch, or of fewer if `seconds` are over.

    Returns:
        The examples of at least one batch, or the name of the signal that stopped the work.
    """
    began, found, stopped = time.monotonic(), list[Tensor](), list[str]()
    with stop_signals(stopped.append):
        for start in range(0, num, batch):
            if stopped or (found and seconds is not None and time.monotonic() - began > seconds):
                break
            found.append(examples(torch.arange(start, min(start + batch, num))))
            if progress is not None:
                progress(min(start + batch, num), num)
    return stopped[0] if stopped else torch.cat(found)


@dataclass(frozen=True)
class Gathering:
    """How many examples a pixel network is trained on; stored so that a resumed training gathers the same ones.

    Attributes:
        step: optimizer steps of the network that predicts x_0.
        num: number of examples, the largest one until they are gathered.
        seconds: time for gathering them, None for any.
        spent: seconds that gathering took, part of the budget; None before.
    """

    step: int
    num: int
    seconds: float | None
    spent: float | None = None

    @classmethod
    def read(cls, folder: Path) -> "Gathering | None":
        """Return what is stored in a folder, or None."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return cls(**json.loads((folder / FILE).read_text(encoding="utf-8")))
        return None

    def kept(self, folder: Path) -> "Gathering":
        """Return the stored one of the same step, or this one after removing the training of another step's network."""
        stored = self.read(folder)
        if stored is not None and stored.step == self.step:
            return stored
        if is_first_process():
            for name in (STATE_FILE, METRICS_FILE):
                (folder / name).unlink(missing_ok=True)
            folder.mkdir(parents=True, exist_ok=True)
        return self

    def done(self, num: int, spent: float) -> "Gathering":
        """Return the one by which a resumed training gathers the same examples; the first time counts."""
        return Gathering(self.step, num, None, spent if self.spent is None else self.spent)

    def save(self, folder: Path) -> None:
        """Write it into a folder, in one process."""
        if is_first_process():
            write_json(folder / FILE, asdict(self))

    def shortened(self, training: TrainerOptions) -> TrainerOptions:
        """Return the options without the minutes that gathering took."""
        if training.minutes is None or self.spent is None:
            return training
        return replace(training, minutes=max(training.minutes - self.spent / 60, training.minutes / 2))
