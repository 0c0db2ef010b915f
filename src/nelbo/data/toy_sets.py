"""Two-dimensional toy distributions, with log-density and score where they have a closed form."""

import math

import torch
from torch import Generator, Tensor

from nelbo.data.datasets import ArrayDataset
from nelbo.data.names import KNOWN_DENSITY, KNOWN_SCORE, TOY_PREFIX
from nelbo.errors import DataError

RADIUS, WIDTH = 1.4, math.sqrt(0.02)  # eight Gaussians: the variance of a coordinate is RADIUS**2 / 2 + WIDTH**2 = 1
HALF = 2  # the checkerboard covers [-2, 2]^2 with squares of side 1
SPAN, LEVELS = 4.0, 256  # as images, points lie on a grid over [-4, 4]^2


def toy(name: str, num: int, generator: Generator) -> Tensor:
    """Draw `num` points of a toy distribution, float32 (num, 2), centred and of roughly unit scale.

    Args:
        name: moons, spiral, eight-gaussians or checkerboard.

    Raises:
        DataError: an unknown name.
    """
    if name not in TOYS:
        raise DataError(f"unknown toy set {name!r}; expected one of {', '.join(TOYS)}.")
    return TOYS[name](num, generator)


def toy_log_density(name: str, points: Tensor) -> Tensor:
    """Compute the exact log-density in nats of `points` (..., 2) -> (...), for eight-gaussians and checkerboard.

    Raises:
        DataError: the density of this set has no closed form.
    """
    if name == "eight-gaussians":
        return _mixture_log_density(points, _centres(), WIDTH)
    if name == "checkerboard":
        dark = points.floor().sum(-1).remainder(2) == 0
        inside = ((points >= -HALF) & (points < HALF)).all(-1)
        nowhere = points.new_full((), -math.inf)
        return torch.where(dark & inside, points.new_full((), -math.log(8.0)), nowhere)
    raise _no_closed_form(name, "log-density", KNOWN_DENSITY)


def toy_masses(name: str) -> Tensor:
    """Compute the exact probability of each pair of levels of `toy_images`, float64 (256, 256).

    The first index is the level of the first coordinate. A level has the mass of its cell; the first and the last level
    also have the mass beyond the grid. For the sets of `KNOWN_DENSITY`.

    Raises:
        DataError: the density of this set has no closed form.
    """
    edges = ((torch.arange(LEVELS + 1, dtype=torch.float64) - 0.5) * (2 / (LEVELS - 1)) - 1) * SPAN
    if name == "eight-gaussians":
        edges[0], edges[-1] = -math.inf, math.inf
        below: Tensor = torch.special.ndtr((edges - _centres().double().T[:, :, None]) / WIDTH)
        within = below.diff()  # 2 x 8 x 256
        return within[0].T @ within[1] / 8
    if name == "checkerboard":
        sides = torch.arange(-HALF, HALF)
        lengths = torch.stack([edges.clamp(float(side), float(side) + 1).diff() for side in sides])  # 4 x 256
        dark = (sides[:, None] + sides).remainder(2) == 0
        return lengths.T @ dark.double() @ lengths / 8
    raise _no_closed_form(name, "log-density", KNOWN_DENSITY)


def toy_score(name: str, x_t: Tensor, signal: float, stddev: float) -> Tensor:
    """Compute the exact score of noisy data, the gradient of log q(x_t), (..., 2) -> (..., 2), for eight-gaussians.

    x_t = signal * x_0 + stddev * noise, where x_0 is a point divided by 4, not rounded to levels.

    Raises:
        DataError: the score of this set has no closed form.
    """
    if name not in KNOWN_SCORE:
        raise _no_closed_form(name, "score", KNOWN_SCORE)
    width = math.hypot(signal * WIDTH / SPAN, stddev)
    with torch.enable_grad():
        place = x_t.detach().requires_grad_()
        (score,) = torch.autograd.grad(_mixture_log_density(place, signal * _centres() / SPAN, width).sum(), place)
    return score


def toy_images(name: str, num: int, generator: Generator) -> ArrayDataset:
    """Draw `num` points of a toy set as images 2 x 1 x 1, so that all code for images also runs on points.

    Each coordinate is rounded to one of 256 levels over [-4, 4] and clipped; x_0 is the point divided by 4.
    """
    points = toy(name, num, generator)
    levels = ((points / SPAN + 1) * ((LEVELS - 1) / 2)).round().clamp(0, LEVELS - 1).to(torch.uint8)
    return ArrayDataset(levels[:, :, None, None], LEVELS, name=TOY_PREFIX + name)


def _moons(num: int, generator: Generator) -> Tensor:
    angle = math.pi * torch.rand(num, generator=generator)
    side = torch.randint(0, 2, (num,), generator=generator) * 2 - 1  # the upper moon, or the lower: rotated by pi
    arc = torch.stack([angle.cos() - 0.5, angle.sin() - 0.25], 1) * side[:, None]
    return 1.4 * (arc + 0.06 * torch.randn(num, 2, generator=generator))


def _spiral(num: int, generator: Generator) -> Tensor:
    # the square root spreads the points evenly along the arm, which grows outwards
    turn = torch.rand(num, generator=generator).sqrt() * 3 * math.pi
    side = torch.randint(0, 2, (num,), generator=generator) * 2 - 1  # the arm or its mirror image in the origin
    arm = torch.stack([turn.cos(), turn.sin()], 1) * (side * turn / (3 * math.pi))[:, None]
    return 2 * arm + 0.05 * torch.randn(num, 2, generator=generator)


def _eight_gaussians(num: int, generator: Generator) -> Tensor:
    which = torch.randint(0, 8, (num,), generator=generator)
    return _centres()[which] + WIDTH * torch.randn(num, 2, generator=generator)


def _checkerboard(num: int, generator: Generator) -> Tensor:
    column = torch.randint(-HALF, HALF, (num,), generator=generator)
    row = 2 * torch.randint(-HALF // 2, HALF // 2, (num,), generator=generator) + column.remainder(2)
    return torch.stack([column, row], 1) + torch.rand(num, 2, generator=generator)


def _mixture_log_density(points: Tensor, centres: Tensor, width: float) -> Tensor:
    """Log-density in nats of isotropic Gaussians of one width and equal weights, (..., 2) -> (...)."""
    squared = (points[..., None, :] - centres.to(points)).square().sum(-1)  # ... x components
    normalizer = math.log(len(centres) * 2 * math.pi * width**2)
    return torch.logsumexp(-squared / (2 * width**2), -1) - normalizer


def _no_closed_form(name: str, what: str, known: tuple[str, ...]) -> DataError:
    return DataError(f"the toy set {name!r} has no {what} in closed form; expected {' or '.join(known)}.")


def _centres() -> Tensor:
    angle = torch.arange(8) * (math.pi / 4)
    return RADIUS * torch.stack([angle.cos(), angle.sin()], 1)


TOYS = {"moons": _moons, "spiral": _spiral, "eight-gaussians": _eight_gaussians, "checkerboard": _checkerboard}
