"""Samples that share a latent x_t (Ho et al., fig. 7): what x_t determines, and what it leaves open."""

from collections.abc import Sequence
from typing import Protocol

from matplotlib.figure import Figure
from torch import Tensor

from nelbo.plots.table import picture_table


class Latent(Protocol):
    """An x_t (1, C, H, W) at t, its xhat_0, and draws of p_theta(x_0|x_t) (N, C, H, W)."""

    @property
    def t(self) -> int: ...
    @property
    def x_t(self) -> Tensor: ...
    @property
    def x_0(self) -> Tensor: ...
    @property
    def samples(self) -> Tensor: ...


def shared_table(latents: Sequence[Latent]) -> Figure:
    """Draw a row for each latent: x_t and its xhat_0, then the draws that share it.

    Raises:
        ShapeError: no latent, or no image in it.
    """
    rows = [[latent.x_t[0], latent.x_0[0], None, *latent.samples] for latent in latents]
    drawn = r"draws of $p_\theta(x_0|x_t)$" if rows and len(rows[0]) > 4 else "a draw"  # must fit above the draws
    titles = ["$x_t$", r"$\hat{x}_0$", "", drawn]
    return picture_table(rows, left=[f"t = {latent.t}" for latent in latents], captions=[titles])
