"""Training of the integer model by which archives and files are coded: first its chain, then its pixel network."""

import time
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import PixelObjective
from nelbo.diffusion.passes import num_stages, walk
from nelbo.diffusion.pixel_objective import PARTS
from nelbo.diffusion.pixel_prediction import fit_prediction
from nelbo.errors import ConfigurationError, option
from nelbo.files import read_metadata
from nelbo.lattice import ChainObjective, IntegerChain, Known, LatticeModel, LinearModel, centred, evidence, simulate
from nelbo.lattice.sizes import SIDE, STEPS, pixel_options, spacing_of, step_options
from nelbo.networks.exact_pixels import RoundedPixelNetwork
from nelbo.networks.step_network import StepNetwork
from nelbo.options import Annotated, Doc, check_types
from nelbo.randomness import CODEC, INITIALISATION, derived_seed
from nelbo.studies.decoder_examples import GATHERING, DecoderExamples, Gathering, gathered, image_order, most_examples
from nelbo.studies.listener import Listener
from nelbo.studies.parts import rounded_training, train_part
from nelbo.training import STATE_FILE, TrainerOptions

FOLDER = "integers"
CHAIN_SHARE = 0.4  # of the budget
STATISTICS = 1024  # images whose mean and variance are added at once
GATHERED = 100  # images whose examples are computed at once
BATCH = 32  # images


@dataclass(frozen=True)
class IntegerOptions:
    """How long an integer model is trained.

    Raises:
        ConfigurationError: no budget, or two.
    """

    minutes: Annotated[float | None, Doc("Training time in minutes.")] = None
    steps: Annotated[int | None, Doc("Optimizer steps of the chain; the pixel network takes as many.")] = None
    seed: Annotated[int, Doc("Random seed.")] = 0

    def __post_init__(self) -> None:
        check_types(self)
        if (self.minutes is None) == (self.steps is None):
            raise ConfigurationError(f"give {option('minutes')} or {option('steps')}, and not both.")

    def of_chain(self) -> TrainerOptions:
        """Return the options of the chain's training."""
        return self._options(CHAIN_SHARE, learning_rate=3e-3)

    def of_pixels(self) -> TrainerOptions:
        """Return the options of the pixel network's training."""
        return self._options(1 - CHAIN_SHARE, learning_rate=2.5e-3)

    @property
    def gathering_seconds(self) -> float | None:
        """The time in which the pixel network's examples are gathered; None for any."""
        return None if self.minutes is None else 60 * (1 - CHAIN_SHARE) * GATHERING * self.minutes

    def at_most(self, num: int) -> int:
        """Return the number of examples, at most `num`: no more than the steps take."""
        return num if self.steps is None else min(num, self.steps * BATCH)

    def _options(self, share: float, learning_rate: float) -> TrainerOptions:
        minutes = None if self.minutes is None else share * self.minutes
        return rounded_training(self.steps, minutes, self.seed, learning_rate=learning_rate, batch_size=BATCH)


def train_integer_model(
    images: ImageDataset, folder: Path, options: IntegerOptions, listener: Listener
) -> LatticeModel | str:
    """Train a model on images, or resume in the same folder.

    Returns:
        The model, or the name of the signal that stopped the training.
    """
    linear = linear_model(images, listener)
    torch.manual_seed(derived_seed(options.seed, INITIALISATION, 2))
    network = StepNetwork(step_options(images.shape))
    trained = train_part(network, ChainObjective(linear, SIDE), images, options.of_chain(), folder / "chain", listener)
    if isinstance(trained, str):
        return trained
    chain = IntegerChain(linear, trained.exact())
    return _with_pixels(chain, images, folder, options, listener)


def _with_pixels(
    chain: IntegerChain, images: ImageDataset, folder: Path, options: IntegerOptions, listener: Listener
) -> LatticeModel | str:
    """Train the pixel network of a finished chain, or resume that; see `train_integer_model`."""
    step = read_metadata(folder / "chain" / STATE_FILE)["step"]
    num = most_examples(images.shape, 2 + chain.linear.stages)
    plan = Gathering(step, options.at_most(num), options.gathering_seconds).kept(folder / "pixels")
    began = time.monotonic()
    examples = _examples(chain, images, options.seed, plan, listener)
    if isinstance(examples, str):
        return examples
    plan = plan.done(len(examples), time.monotonic() - began)
    plan.save(folder / "pixels")
    torch.manual_seed(derived_seed(options.seed, INITIALISATION, 3))
    pixels = RoundedPixelNetwork(pixel_options(images.shape[0], images.levels))
    if pixels.prediction is not None:
        pixels.prediction.copy_(fit_prediction(examples, pixels.options, chain.linear.stages))
    objective = PixelObjective(pixels.options, stages=chain.linear.stages)
    training = plan.shortened(options.of_pixels())
    done = train_part(pixels, objective, examples, training, folder / "pixels", listener)
    return done if isinstance(done, str) else LatticeModel(chain, done.exact())


def linear_model(images: ImageDataset, listener: Listener) -> LinearModel:
    """Return the linear model with the mean and the variance of each pixel of the images."""
    total, squares = (torch.zeros(images.shape, dtype=torch.float64) for _ in range(2))
    for start in range(0, len(images), STATISTICS):
        some = images.images(range(start, min(start + STATISTICS, len(images)))).double()
        total, squares = total + some.sum(0), squares + some.square().sum(0)
        listener.on_stage("reading images", min(start + STATISTICS, len(images)), len(images))
    mean = total / len(images)
    variance = (squares / len(images) - mean.square()).clamp(min=1 / 12)
    return LinearModel.of(images.levels, spacing_of(images.levels), STEPS, num_stages(SIDE), mean, variance)


def _examples(
    chain: IntegerChain, images: ImageDataset, seed: int, plan: Gathering, listener: Listener
) -> DecoderExamples | str:
    """Return what the pixel network is trained on: levels, xhat_0 and y_1; see `nelbo.diffusion.PixelObjective`.

    Returns:
        The examples, or the name of the signal that stopped the work.
    """
    order = image_order(len(images), seed)

    def examples(places: Tensor) -> Tensor:
        levels = images.images(order[places % len(images)])
        generator = torch.Generator().manual_seed(derived_seed(seed, CODEC, int(places[0])))
        x_0 = centred(levels, images.levels)
        y = simulate(x_0, chain.linear.spacing, [torch.randn(x_0.shape, generator=generator)])[0]
        return torch.cat([levels.to(torch.int16), PARTS * evidence_by_stage(chain, x_0, y)], 1)

    def report(done: int, total: int) -> None:
        listener.on_stage("predicting for the pixels", done, total)

    found = gathered(examples, plan.num, GATHERED, plan.seconds, report)
    return found if isinstance(found, str) else DecoderExamples(found, images.levels)


def evidence_by_stage(chain: IntegerChain, x_0: Tensor, y: Tensor) -> Tensor:
    """Return xhat_0 at each stage, then y_1: (B, (S + 1) C, H, W) int16 half levels."""
    channels, masks = x_0.shape[1], dict[int, Tensor]()
    for mask, now in walk(tuple(x_0.shape[1:]), SIDE):
        masks.setdefault(now.stage, mask)
    found = [evidence(chain, y, Known(x_0, mask, stage)) for stage, mask in masks.items()]
    return torch.cat([*(each[:, :channels] for each in found), found[0][:, channels:]], 1).to(torch.int16)
