"""The training objective of a VAE: its negative ELBO, in nats per dimension."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.objective import NATS, Draws, Losses
from nelbo.probability import levels_to_data
from nelbo.vae.bound import ELBO


@dataclass
class VAEObjective:
    """The negative ELBO of images, nats per dimension, at one draw of q(z|x) per image.

    Attributes:
        latent: dimensions of z, or the shape of z if it is no vector.
        levels: K, the number of levels of the images.
    """

    latent: int | tuple[int, ...]
    levels: int = 256

    def to(self, device: torch.device) -> None:
        """Do nothing: the objective holds no tensors."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw "noise" (num, latent) for the reparameterised sample."""
        own = (self.latent,) if isinstance(self.latent, int) else self.latent
        return {"noise": torch.randn(num, *own, generator=generator)}

    def __call__(
        self, network: Callable[..., ELBO], images: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the loss and its two terms. Labels are not used."""
        bound, num_dims = network(levels_to_data(images, self.levels), draws["noise"]), images[0].numel()
        loss = -bound.total / num_dims
        terms = {"reconstruction": -bound.reconstruction.detach() / num_dims, "kl": bound.kl.detach() / num_dims}
        return Losses(loss, loss.detach(), terms=terms, unit=NATS)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Do nothing: the objective does not adapt."""

    def state_dict(self) -> dict[str, Tensor]:
        """Return an empty state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Do nothing: there is no state."""
