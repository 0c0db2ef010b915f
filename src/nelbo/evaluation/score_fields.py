"""The score learned by a model of points, and the exact score if it is known."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion import ReverseProcess

ExactScore = Callable[[Tensor, float, float], Tensor]


@dataclass(frozen=True)
class ScoreField:
    """Scores on a grid of the plane, at one t.

    Attributes:
        t: t of the full schedule.
        places: (M, 2) the points of the grid, in the unit of x_t.
        learned: (M, 2) -eps_theta / sqrt(1 - alphas_bar_t).
        exact: (M, 2) the gradient of log q(x_t), or None if it is unknown.
        error: E||learned - exact||^2 / E||exact||^2 over x_t ~ q, the square of a relative error, or None.
    """

    t: int
    places: Tensor
    learned: Tensor
    exact: Tensor | None
    error: float | None


@torch.no_grad()
def score_field(
    reverse: ReverseProcess, x_t: Tensor, step: int, exact: ExactScore | None = None, side: int = 15
) -> ScoreField:
    """Evaluate the score on a square grid that covers x_t.

    The half side of the square is 1.1 times the 99% quantile of the absolute coordinates of x_t.

    Args:
        x_t: (N, 2, 1, 1) draws of q(x_t), over which `error` is averaged.
        step: index 1..T of the schedule.
        exact: exact(x_t, signal, stddev) is the exact score, (M, 2) -> (M, 2), of x_t = signal x_0 + stddev noise.
        side: points per side of the grid.
    """
    schedule = reverse.schedule
    cloud = x_t.flatten(1)
    reach = float(cloud.abs().quantile(0.99)) * 1.1
    line = torch.linspace(-reach, reach, side, device=x_t.device)
    grid = torch.stack(torch.meshgrid(line, line, indexing="xy"), -1).view(-1, 2)

    def learned(places: Tensor) -> Tensor:
        t = torch.full((len(places),), step, device=places.device)
        return reverse.score(places[:, :, None, None], t).flatten(1)

    at = int(schedule.timesteps[step])
    if exact is None:
        return ScoreField(at, grid, learned(grid), None, None)
    signal, stddev = float(schedule.signal[step]), float(schedule.noise_stddev[step])
    true = exact(cloud, signal, stddev)
    error = float((learned(cloud) - true).square().sum() / true.square().sum())
    return ScoreField(at, grid, learned(grid), exact(grid, signal, stddev), error)
