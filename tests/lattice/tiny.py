"""A lattice model of 8x8 digits, with networks so small that a training takes seconds."""

import torch
from torch import Tensor

from nelbo.codec.channel_plan import ChannelPlan
from nelbo.codec.symbol_counts import flat_counts
from nelbo.data import load_data
from nelbo.diffusion import PixelObjective
from nelbo.diffusion.pixel_objective import PARTS
from nelbo.lattice import ChainObjective, IntegerChain, LatticeModel, LinearModel, centred, simulate
from nelbo.networks import PixelOptions
from nelbo.networks.exact_pixels import RoundedPixelNetwork
from nelbo.networks.step_network import StepNetwork, StepOptions
from nelbo.runs.integer_model import IntegerModel
from nelbo.studies.integer_training import evidence_by_stage

CHAIN, STAGES = 4, 5  # steps of the chain, and stages at t = 1
STEPS = StepOptions(channels=1, steps=CHAIN - 1 + STAGES, widths=(8, 8), bottom=1)
PIXELS = PixelOptions(channels=1, hidden=8, levels=17, blocks=1, side=4)


def digits(num: int, first: int = 0) -> Tensor:
    """Return digits, uint8 (num, 1, 8, 8) with 17 levels."""
    return load_data("digits").train.images(range(first, first + num))


def linear_of(images: Tensor, levels: int = 17, spacing: int = 1) -> LinearModel:
    """Return the linear model of some images."""
    values = images.double()
    return LinearModel.of(levels, spacing, CHAIN, STAGES, values.mean(0), values.var(0) + 1 / 12)


def perturbed(network: torch.nn.Module, seed: int) -> torch.nn.Module:
    """Add noise to all weights, so that no layer is 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return network


def tiny_model(seed: int = 0) -> LatticeModel:
    """Return a model with random networks."""
    torch.manual_seed(seed)
    steps, pixels = perturbed(StepNetwork(STEPS), seed), perturbed(RoundedPixelNetwork(PIXELS), seed + 1)
    return LatticeModel(IntegerChain(linear_of(digits(200)), steps.exact()), pixels.exact())


def tiny_integer_model(seed: int = 0) -> IntegerModel:
    """Return a model with random networks, and a channel that expects the same of all dimensions."""
    return IntegerModel(tiny_model(seed), ChannelPlan(expected=torch.full((CHAIN, 64), 100), **flat_counts()))


def trained_chain(steps: int, batch: int = 32) -> tuple[StepNetwork, ChainObjective, list[float]]:
    """Train the network of a chain with Adam; return it, its objective and its losses."""
    torch.manual_seed(0)
    network, images = StepNetwork(STEPS), digits(1000)
    objective = ChainObjective(linear_of(images), PIXELS.side)
    return network, objective, _trained(network, objective, images, steps, batch)


def trained_model(steps: int = 200) -> LatticeModel:
    """Train a model with Adam: its chain, and then its pixel network."""
    network, objective, _ = trained_chain(steps)
    chain, images = IntegerChain(objective.linear, network.exact()), digits(1000)
    generator = torch.Generator().manual_seed(0)
    x_0 = centred(images, 17)
    y = simulate(x_0, chain.linear.spacing, [torch.randn(x_0.shape, generator=generator)])[0]
    pixels = RoundedPixelNetwork(PIXELS)
    examples = torch.cat([images.to(torch.int16), PARTS * evidence_by_stage(chain, x_0, y)], 1)
    _trained(pixels, PixelObjective(PIXELS, draws=4, stages=STAGES), examples, steps, 32)
    return LatticeModel(chain, pixels.exact())


def _trained(
    network: torch.nn.Module, objective: ChainObjective | PixelObjective, data: Tensor, steps: int, batch: int
) -> list[float]:
    losses = list[float]()
    optimizer, generator = torch.optim.Adam(network.parameters(), lr=3e-3), torch.Generator().manual_seed(0)
    for _ in range(steps):
        some = data[torch.randint(len(data), (batch,), generator=generator)]
        loss = objective(network, some, None, objective.draw(batch, (1, 8, 8), generator)).weighted.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    return losses
