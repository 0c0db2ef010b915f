"""Images on a stack, at the bound of an integer chain: bits-back coding as in Bit-Swap (Kingma et al. 2019).

To push an image, y_1 is drawn from q by popping it; the pixels are pushed given y_1; then, for each further step, y_t
is popped by q(y_t|y_{t-1}) and y_{t-1} pushed by p(y_{t-1}|y_t); y_k is pushed last, by p(y_k). The length of the stack
grows by log q - log p of the draw, whose mean is the bound. Popping an image does the same backwards, and returns the
bits of the draws.
"""

import torch
from torch import Tensor

from nelbo.codec.ans import Stack
from nelbo.lattice.chain import centred
from nelbo.lattice.model import LatticeModel


def push_images(stack: Stack, model: LatticeModel, x: Tensor, real: Tensor) -> None:
    """Push images (B, C, H, W) of levels, int64; where `real` is False, a pixel is padding and not coded.

    Raises:
        Exhausted: the stack has too few bits from which to draw.
    """
    chain, x_0 = model.chain, centred(x, model.chain.linear.levels)
    y = torch.from_numpy(stack.pop(chain.first(x_0))).view(x.shape)
    for mixture, chosen in reversed(list(model.passes(y, x, real))):
        stack.push(mixture, x[chosen].numpy())
    for t in range(2, chain.steps + 1):
        further = torch.from_numpy(stack.pop(chain.next(y, t))).view(x.shape)
        stack.push(chain.previous(further, t, chain.estimate(further, t)), y.reshape(-1).numpy())
        y = further
    stack.push(chain.prior(len(x)), y.reshape(-1).numpy())


def pop_images(stack: Stack, model: LatticeModel, real: Tensor) -> Tensor:
    """Pop images (B, C, H, W) of levels, int64, that were pushed together.

    Args:
        real: as when they were pushed; padding repeats the last row and column.

    Raises:
        Exhausted: the stack is damaged.
    """
    chain, shape = model.chain, real.shape
    y = torch.from_numpy(stack.pop(chain.prior(len(real)))).view(shape)
    for t in range(chain.steps, 1, -1):
        nearer = torch.from_numpy(stack.pop(chain.previous(y, t, chain.estimate(y, t)))).view(shape)
        stack.push(chain.next(nearer, t), y.reshape(-1).numpy())
        y = nearer
    x = torch.zeros(shape, dtype=torch.int64)
    for mixture, chosen in model.passes(y, x, real):
        x[chosen] = torch.from_numpy(stack.pop(mixture))
    x = _padded(x, real)
    stack.push(chain.first(centred(x, chain.linear.levels)), y.reshape(-1).numpy())
    return x


def _padded(x: Tensor, real: Tensor) -> Tensor:
    """Repeat the last real row and column of each image (B, C, H, W) in its padding."""
    num, channels, height, width = x.shape
    row = torch.arange(height).minimum(real[:, :1, :, :1].sum(2) - 1)  # B, 1, H
    column = torch.arange(width).minimum(real[:, :1, :1].sum(3) - 1)  # B, 1, W
    places = torch.arange(num)[:, None, None, None], torch.arange(channels)[:, None, None]
    return x[(*places, row[..., None], column[:, :, None])]
