"""Algorithm 1, lines 2 to 5: from a batch of images to one loss per example, at random t."""

from collections.abc import Callable
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
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
        condition_dropout: the same share for the numbers and the image that the network is conditioned on; None for a
            network that takes neither. With classes too, as many examples are shown without any condition.
    """

    schedule: NoiseSchedule
    parameterization: Parameterization
    variance: Variance
    loss: Loss
    timesteps: Timesteps
    levels: int = 256
    conditional: bool = False
    label_dropout: float = 0.0
    condition_dropout: float | None = None

    def to(self, device: torch.device) -> None:
        """Move the tables of the schedule to a device."""
        self.schedule = self.schedule.to(device)

    def reverse(self, network: Callable[..., Tensor]) -> ReverseProcess:
        """Return p_theta of `network` with the settings of training."""
        return ReverseProcess(network, self.schedule, self.parameterization, self.variance, self.levels)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw t with its weight and the noise (Algorithm 1, lines 3 and 4), and whose condition is withheld.

        Returns:
            "t" (num,) int64, "weight" (num,), "noise" (num, *shape); for a network of classes "withheld" (num,) bool,
            and for one of numbers or an image "condition_withheld" (num,) bool.
        """
        steps = self.timesteps.draw(num, generator)
        draws = {"t": steps.t, "weight": steps.weight, "noise": torch.randn(num, *shape, generator=generator)}
        return draws | self.draw_withheld(num, generator)

    def draw_withheld(self, num: int, generator: torch.Generator) -> Draws:
        """Draw whose label, and whose numbers and image, are withheld; see `draw` for the names."""
        draws: Draws = {}
        if self.conditional:
            draws["withheld"] = torch.rand(num, generator=generator) < self.label_dropout
        if self.condition_dropout is not None:
            draws["condition_withheld"] = torch.rand(num, generator=generator) < self.condition_dropout
        if self.conditional and self.condition_dropout is not None:  # guidance needs both withheld at once
            share = min(self.label_dropout, self.condition_dropout)
            everything = torch.rand(num, generator=generator) < share
            draws |= {name: draws[name] | everything for name in ("withheld", "condition_withheld")}
        return draws

    def __call__(
        self, network: Callable[..., Tensor], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the loss of each example at its own t (Algorithm 1, line 5)."""
        return self.of_data(network, levels_to_data(images, self.levels), labels, draws)

    def of_data(
        self, network: Callable[..., Tensor], x_0: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return what the call returns, for data x_0 (B, ...) instead of images of levels."""
        given = self.visible(Condition.of(labels), draws).simplest
        loss = self.loss(self.reverse(network), x_0, draws["t"], draws["noise"], given)
        position = (draws["t"] - 1) / self.schedule.num_steps
        return Losses(loss * draws["weight"], loss.detach(), position, unit=getattr(self.loss, "unit", ""))

    def visible(self, given: Condition, draws: Draws) -> Condition:
        """Return the part of a condition that is not withheld from the network."""
        given = given.withheld(draws["withheld"], ("label",)) if self.conditional else replace(given, label=None)
        if self.condition_dropout is None:
            return replace(given, vector=None, image=None)
        return given.withheld(draws["condition_withheld"], ("vector", "image"))

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Update the distribution of t with the unweighted losses (B,) at the t drawn."""
        self.timesteps.update(draws["t"], loss)

    def state_dict(self) -> dict[str, Tensor]:
        """Return the state of the distribution of t."""
        return self.timesteps.state_dict()

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        self.timesteps.load_state_dict(state)
