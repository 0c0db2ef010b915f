"""Discrete distributions as tables of probabilities."""

import torch
from torch import Tensor

from nelbo.errors import ShapeError


def categorical_entropy(p: Tensor) -> Tensor:
    """Return the entropy H(p) = -sum_k p_k log p_k over the last dimension, nats, with 0 log 0 = 0."""
    entropy: Tensor = torch.special.entr(p).sum(-1)
    return entropy


def categorical_kl(p: Tensor, q: Tensor) -> Tensor:
    """Return KL(p || q) = sum_k p_k log(p_k / q_k) over the last dimension, nats.

    It is 0 only for equal distributions, never negative, not symmetric, and infinite if some q_k = 0 < p_k.

    Raises:
        ShapeError: a table has a negative entry or does not sum to 1.
    """
    for name, table in (("p", p), ("q", q)):
        total = table.sum(-1)
        if bool((table < 0).any()) or not bool(torch.allclose(total, torch.ones_like(total), rtol=0, atol=1e-6)):
            raise ShapeError(
                f"{name} must be probabilities that sum to 1 over the last dimension, got {table.tolist()}."
            )
    terms = torch.special.xlogy(p, p) - torch.special.xlogy(p, q)
    divergence: Tensor = (terms - p + q).sum(-1)  # makes each term 0 or more; p - q sums to 0
    return divergence.clamp(min=0)
