"""Algorithm 1, lines 2 to 5: from a batch of images to one loss per example, at random t."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.diffusion.guidance import NO_CLASS
from nelbo.diffusion.loss import Loss
from nelbo.diffusion.parameterization import Parameterization
from nelbo.diffusion.reverse import ReverseProcess
from nelbo.diffusion.schedule import NoiseSchedule
from nelbo.diffusion.timesteps import Timesteps
from nelbo.diffusion.variance import Variance
from nelbo.objective import Draws, Losses
from nelbo.probability import levels_to_data


@dataclass
class DiffusionObjective:
    """Algorithm 1 with any loss, parameterization and distribution of t.

    Attributes:
        schedule: the noise schedule.
        parameterization: the meaning of the network's output.
        variance: sigma_t^2 of p_theta during training.
        loss: the loss to minimise.
        timesteps: the distribution of t.
        levels: K, the number of levels of the images.
        conditional: whether the network receives labels.
        label_dropout: the share of examples whose label is withheld, so that the same network also learns p(x_0)
            without a class (Ho & Salimans 2022).
    """

    schedule: NoiseSchedule
    parameterization: Parameterization
    variance: Variance
    loss: Loss
    timesteps: Timesteps
    levels: int = 256
    conditional: bool = False
    label_dropout: float = 0.0

    def to(self, device: torch.device) -> None:
        """Move the tables of the schedule to a device."""
        self.schedule = self.schedule.to(device)

    def reverse(self, network: Callable[..., Tensor]) -> ReverseProcess:
        """Return p_theta of `network` with the settings of training."""
        return ReverseProcess(network, self.schedule, self.parameterization, self.variance, self.levels)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw t with its weight and the noise (Algorithm 1, lines 3 and 4), and the examples whose label is withheld.

        Returns:
            "t" (num,) int64, "weight" (num,), "noise" (num, *shape), and for a conditional network "withheld" (num,)
            bool.
        """
        steps = self.timesteps.draw(num, generator)
        draws = {"t": steps.t, "weight": steps.weight, "noise": torch.randn(num, *shape, generator=generator)}
        if self.conditional:
            draws["withheld"] = torch.rand(num, generator=generator) < self.label_dropout
        return draws

    def __call__(self, network: Callable[..., Tensor], images: Tensor, labels: Tensor | None, draws: Draws) -> Losses:
        """Return the loss of each example at its own t (Algorithm 1, line 5)."""
        x_0 = levels_to_data(images, self.levels)
        label = labels.masked_fill(draws["withheld"], NO_CLASS) if self.conditional and labels is not None else None
        loss = self.loss(self.reverse(network), x_0, draws["t"], draws["noise"], label)
        position = (draws["t"] - 1) / self.schedule.num_steps
        return Losses(loss * draws["weight"], loss.detach(), position, unit=getattr(self.loss, "unit", ""))

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Update the distribution of t with the unweighted losses (B,) at the t drawn."""
        self.timesteps.update(draws["t"], loss)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the distribution of t."""
        return self.timesteps.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        self.timesteps.load_state_dict(state)
