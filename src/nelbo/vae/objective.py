"""What a VAE is trained on: its negative ELBO, in nats a dimension."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from nelbo.objective import Draws, Losses
from nelbo.probability import levels_to_data
from nelbo.vae.bound import ELBO


@dataclass
class VAEObjective:
    """The negative ELBO of images with `levels` levels, nats a dimension, from one draw of q(z|x), z in R^latent."""

    latent: int
    levels: int = 256

    def to(self, device: torch.device) -> None:
        """There is nothing to move."""

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """The noise of the reparameterised sample."""
        return {"noise": torch.randn(num, self.latent, generator=generator)}

    def __call__(self, network: Callable[..., ELBO], images: Tensor, labels: Tensor | None, draws: Draws) -> Losses:
        """The loss and its two terms; labels are not used."""
        bound, num_dims = network(levels_to_data(images, self.levels), draws["noise"]), images[0].numel()
        loss = -bound.total / num_dims
        terms = {"reconstruction": -bound.reconstruction.detach() / num_dims, "kl": bound.kl.detach() / num_dims}
        return Losses(loss, loss.detach(), terms=terms)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Nothing adapts."""

    def state_dict(self) -> dict[str, Tensor]:
        """No state."""
        return {}

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """No state."""
