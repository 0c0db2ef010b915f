"""The optimizers: AdamW for all parameters, or Muon for the matrices and AdamW for the rest."""

from typing import Any

import torch
from torch import Tensor, nn

from nelbo.errors import ConfigurationError, setting
from nelbo.training.options import TrainerOptions

SMALLEST_SIDE = 16  # of a matrix that Muon updates
NEWTON_SCHULZ_STEPS = 5


def build_optimizer(network: nn.Module, options: TrainerOptions, device: torch.device) -> torch.optim.Optimizer:
    """Build the optimizer of a network that is on `device`.

    Raises:
        ConfigurationError: this PyTorch has no Muon.
    """
    if options.optimizer == "muon":
        return MuonWithAdamW(network, options, device)
    return _adamw(list(network.parameters()), options, device)


class MuonWithAdamW(torch.optim.Optimizer):
    """Muon (Jordan et al. 2024) for matrices and convolution kernels, AdamW for all other parameters.

    Muon replaces the momentum of a matrix by its nearest semi-orthogonal matrix, computed by Newton-Schulz iterations
    in bfloat16, and scales it so that the learning rate of AdamW fits both (Liu et al. 2025). A convolution kernel
    (O, I, k, k) counts as a matrix (O, I k k). A matrix whose smaller side is below 16, such as the kernel that outputs
    an image, is left to AdamW.

    `state` holds the slots of every parameter in the shape of the parameter: `momentum_buffer` for Muon, those of AdamW
    for the rest.

    Raises:
        ConfigurationError: this PyTorch has no Muon.
    """

    def __init__(self, network: nn.Module, options: TrainerOptions, device: torch.device) -> None:
        if not hasattr(torch.optim, "Muon"):
            raise ConfigurationError(
                f"{setting('training.optimizer', 'muon')} needs PyTorch 2.9 or later, and this is {torch.__version__}; "
                f"set {setting('training.optimizer', 'adamw')}."
            )
        everything = list(network.parameters())
        self._matrices = {p: nn.Parameter(_matrix(p.detach())) for p in everything if _suits_muon(p)}
        self._muon = torch.optim.Muon(
            [{"params": list(self._matrices.values())}],  # a group may be empty, a list may not
            weight_decay=options.weight_decay,
            ns_steps=NEWTON_SCHULZ_STEPS,
            adjust_lr_fn="match_rms_adamw",
        )
        self._adamw = _adamw([p for p in everything if p not in self._matrices], options, device)
        super().__init__(everything, {"lr": options.learning_rate})
        self._adamw.state = self.state

    @torch.no_grad()
    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Update all parameters that have a gradient, with the learning rate of `param_groups`."""
        for part in (self._muon, self._adamw):
            part.param_groups[0]["lr"] = self.param_groups[0]["lr"]
        for parameter, matrix in self._matrices.items():
            matrix.grad = None if parameter.grad is None else _matrix(parameter.grad, parameter)
            slots = self.state[parameter]
            if not slots:
                slots["momentum_buffer"] = torch.zeros_like(parameter)
            self._muon.state[matrix]["momentum_buffer"] = _matrix(slots["momentum_buffer"])
        self._muon.step()
        self._adamw.step()


def _suits_muon(parameter: Tensor) -> bool:
    return parameter.ndim >= 2 and min(len(parameter), parameter[0].numel()) >= SMALLEST_SIDE


def _matrix(values: Tensor, like: Tensor | None = None) -> Tensor:
    """Return values (O, ...) as a matrix (O, columns), columns in the order of memory.

    It is a view, so that an update of the matrix updates the values; with `like`, it has the order of another tensor's
    columns and may be a copy.
    """
    order = values if like is None else like
    if order.ndim == 4 and not order.is_contiguous():
        values = values.permute(0, 2, 3, 1)  # channels last
    return values.view(len(values), -1) if like is None else values.reshape(len(values), -1)


def _adamw(parameters: list[nn.Parameter], options: TrainerOptions, device: torch.device) -> torch.optim.AdamW:
    return torch.optim.AdamW(
        [{"params": parameters}],
        lr=options.learning_rate,
        betas=options.betas,
        weight_decay=options.weight_decay,
        fused=device.type in ("cpu", "cuda"),
    )
