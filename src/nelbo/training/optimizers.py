"""The optimizers: AdamW for all parameters, or Muon for the matrices and AdamW for the rest."""

import math
from collections import defaultdict
from typing import Any

import torch
from torch import Tensor, nn

from nelbo.training.hardware import bf16_wanted
from nelbo.training.options import TrainerOptions

SMALLEST_SIDE = 16  # of a matrix that Muon updates
MOMENTUM = 0.95
STEPS, COEFFICIENTS = 5, (3.4445, -4.7750, 2.0315)  # of Newton-Schulz (Jordan et al. 2024)
RMS = 0.2  # of an update by Muon at a learning rate of 1, as that of Adam (Liu et al. 2025, eq. 4)


def build_optimizer(network: nn.Module, options: TrainerOptions, device: torch.device) -> torch.optim.Optimizer:
    """Build the optimizer of a network that is on `device`."""
    build = MuonWithAdamW if options.optimizer == "muon" else _adamw
    return build(list(network.parameters()), options, device)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for matrices and convolution kernels, AdamW for all other parameters.

    Muon replaces the momentum of a matrix by a nearly semi-orthogonal matrix with the same singular vectors, and scales
    it so that the learning rate of AdamW fits both. A convolution kernel (O, I, k, k) counts as a matrix (O, I k k). A
    matrix whose smaller side is below 16, such as the kernel that outputs an image, is left to AdamW.

    `torch.optim.Muon` takes matrices only, and always iterates in bfloat16, which takes 14 times as long as float32 on
    a processor that has to emulate it.

    `state` holds `momentum_buffer` for the parameters of Muon, and the slots of AdamW for the rest.
    """

    def __init__(self, parameters: list[nn.Parameter], options: TrainerOptions, device: torch.device) -> None:
        rest = [parameter for parameter in parameters if not _is_matrix(parameter)]
        self._adamw = _adamw(rest, options, device)
        self._dtype = torch.bfloat16 if bf16_wanted("auto") else torch.float32
        super().__init__(parameters, {"lr": options.learning_rate, "weight_decay": options.weight_decay})
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient, with the learning rate of `param_groups`."""
        group, alike = self.param_groups[0], defaultdict(list)
        self._adamw.param_groups[0]["lr"] = group["lr"]
        self._adamw.step()
        for parameter in group["params"]:
            if parameter.grad is not None and _is_matrix(parameter):
                alike[len(parameter), parameter[0].numel()].append(parameter)
        for shape, parameters in alike.items():
            directions = torch.stack([self._direction(parameter) for parameter in parameters])
            length = group["lr"] * RMS * math.sqrt(max(shape))
            for parameter, update in zip(parameters, orthogonalized(directions), strict=True):
                parameter.mul_(1 - group["lr"] * group["weight_decay"])
                parameter.sub_(length * update.reshape(parameter.shape))

    def _direction(self, parameter: Tensor) -> Tensor:
        """Update the momentum of a parameter; return Nesterov's direction as a matrix (O, columns)."""
        assert parameter.grad is not None
        slots = self.state[parameter]
        if not slots:
            slots["momentum_buffer"] = torch.zeros_like(parameter)
        momentum = slots["momentum_buffer"].lerp_(parameter.grad, 1 - MOMENTUM)
        return parameter.grad.lerp(momentum, MOMENTUM).flatten(1).to(self._dtype)


def orthogonalized(matrices: Tensor) -> Tensor:
    """Return matrices (N, rows, columns) with all singular values near 1, between 0.7 and 1.2 for most.

    The quintic Newton-Schulz iteration X <- p(A) X, with A = X X^T and p(A) = a + b A + c A A, acts on the singular
    values alone.
    """
    if tall := matrices.shape[1] > matrices.shape[2]:
        matrices = matrices.mT
    X = matrices / matrices.flatten(1).norm(dim=1).clamp(min=1e-7)[:, None, None]
    if X.dtype == torch.float32 and X.shape[2] >= 3 * X.shape[1]:
        X = _product_of_steps(X @ X.mT) @ X
    else:
        for _ in range(STEPS):
            X = torch.baddbmm(X, _without_constant(X @ X.mT), X, beta=COEFFICIENTS[0])
    result: Tensor = X.mT if tall else X
    return result


def _product_of_steps(A: Tensor) -> Tensor:
    """Return the product of p(A) over all steps, from the A of the first step.

    All p(A) commute, so the next A is p(A) A p(A): only small matrices are multiplied. In bfloat16, rounding errors
    would grow from step to step.
    """
    product = None
    for _ in range(STEPS):
        p = _without_constant(A)
        p.diagonal(dim1=1, dim2=2).add_(COEFFICIENTS[0])
        A, product = p @ A @ p, p if product is None else p @ product
    assert product is not None
    return product


def _without_constant(A: Tensor) -> Tensor:
    """Return p(A) without its constant term, b A + c A A."""
    return torch.baddbmm(A, A, A, beta=COEFFICIENTS[1], alpha=COEFFICIENTS[2])


def _is_matrix(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= SMALLEST_SIDE


def _adamw(parameters: list[nn.Parameter], options: TrainerOptions, device: torch.device) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": parameters}],  # a group may be empty, a list may not
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
