"""Group normalisation of large channels-last images, optionally with SiLU, whose gradient is computed in slices."""

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

SLICE = 2**18  # values per slice: four such tensors in float32 fit into a CPU's caches


def sliced_group_norm(
    x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, activated: bool = False
) -> Tensor:
    """Return `F.group_norm` of x (B, C, H, W), channels-last, with a faster backward pass for bfloat16 on a CPU.

    From 1,024 pixels on, PyTorch's own backward pass takes two to eight times as long. This one processes a few images
    at a time, in float32, while they are in the cache. The output is the same.

    Args:
        activated: apply `F.silu` to the output. The output before SiLU is then not stored for the backward pass.
    """
    output: Tensor = _SlicedGroupNorm.apply(x, weight, bias, groups, eps, activated)[0]  # type: ignore[no-untyped-call]
    return output


class _SlicedGroupNorm(torch.autograd.Function):
    generate_vmap_rule = True

    @staticmethod
    def forward(
        x: Tensor, weight: Tensor, bias: Tensor, groups: int, eps: float, activated: bool
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return the output, and mean and 1 / stddev of each group, (B, groups) each."""
        batch, width, height, columns = x.shape
        y, mean, inverse = torch.native_group_norm(x, weight, bias, batch, width, height * columns, groups, eps)
        return F.silu(y, inplace=True) if activated else y, mean, inverse

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, Tensor, Tensor]) -> None:
        """Store the tensors that the backward pass needs."""
        x, weight, bias, ctx.groups, _, ctx.activated = inputs
        _, mean, inverse = output
        ctx.save_for_backward(x, weight, bias, mean, inverse)
        ctx.mark_non_differentiable(mean, inverse)

    @staticmethod
    def backward(ctx: Any, slope: Tensor, *_: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None, None]:
        """Return the gradients of x, weight and bias from the gradient of the output (B, C, H, W)."""
        x, weight, bias, mean, inverse = ctx.saved_tensors
        width, a_group = x.shape[1], x.shape[1] // ctx.groups
        mean, inverse = (each.float().repeat_interleave(a_group, 1)[:, None] for each in (mean, inverse))  # B, 1, C
        images = max(1, SLICE // x[0].numel())
        slices, weights, biases = [], [], []
        for image, its_slope, m, r in zip(*(each.split(images) for each in (x, slope, mean, inverse)), strict=True):
            pixels = image.permute(0, 2, 3, 1).reshape(len(m), -1, width).float()
            slopes = its_slope.permute(0, 2, 3, 1).reshape(len(m), -1, width).to(torch.float32, copy=True)
            if ctx.activated:
                normed = torch.addcmul(bias - m * r * weight, pixels, r * weight)
                slopes = torch.ops.aten.silu_backward(slopes, normed)
            along, total = (slopes * pixels).sum(1, keepdim=True), slopes.sum(1, keepdim=True)
            weights.append((along - total * m) * r)
            biases.append(total)
            # dx = r (w dy - mean(w dy) - xhat mean(w dy xhat)), with means over a group
            straight = _group_mean(weight * total, a_group) / pixels.shape[1]
            tilted = _group_mean(weight * weights[-1], a_group) / pixels.shape[1]
            gradient = slopes.mul_(r * weight)
            gradient.addcmul_(pixels, -(r**2) * tilted).add_(r * (m * r * tilted - straight))
            slices.append(gradient.to(x.dtype).view(len(m), *image.shape[2:], width))
        whole = torch.cat(slices).permute(0, 3, 1, 2)
        return whole, torch.cat(weights).sum((0, 1)), torch.cat(biases).sum((0, 1)), None, None, None


def _group_mean(values: Tensor, a_group: int) -> Tensor:
    """Return for each channel the mean over its group, (n, 1, C), for values (n, 1, C)."""
    return values.view(len(values), 1, -1, a_group).mean(3).repeat_interleave(a_group, 2)
