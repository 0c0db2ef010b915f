"""A `UNet2DModel` of diffusers with what it lacks for a network of nelbo: input features, "no class" and the grid.

nelbo exports this module with a model and never imports it. In the exported file, the sources of the imported functions
of nelbo replace their imports, so that it needs only PyTorch and diffusers.
"""

import math  # noqa: F401 (for the sources)
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: F401 (for the sources)
from diffusers import UNet2DModel
from diffusers.configuration_utils import register_to_config
from diffusers.models.unets.unet_2d import UNet2DOutput
from torch import Tensor, nn

from nelbo.networks.pixel_features import pixel_features
from nelbo.probability.levels import expected_level


class NelboUNet2DModel(UNet2DModel):  # type: ignore[misc]
    """A U-Net that returns what its scheduler expects. Step k of diffusers is step t = k + 1 of the model.

    Attributes:
        label: the class of the calls without `class_labels`, such as those of a `DDPMPipeline`; None for no class.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        unet: dict[str, Any],
        sample_size: int | Sequence[int],
        in_channels: int,
        alphas_bar: Sequence[float],
        first_time: int = 1,
        fourier: Sequence[int] = (),
        slopes: Sequence[int] = (),
        grid_levels: int | None = None,
    ) -> None:
        """Build the network.

        Args:
            unet: further settings of `UNet2DModel`; its last class is "no class".
            sample_size: side, or height and width, of the images in pixels.
            in_channels: channels of the images.
            alphas_bar: alphas_bar_1..alphas_bar_T.
            first_time: the number that the time embedding gets for t = 1.
            fourier: exponents of the sines and cosines of the pixels that join the input.
            slopes: exponents of the differences of neighbouring pixels that join the input.
            grid_levels: K, if the output is the noise that the grid of K levels does not explain; else None.
        """
        super().__init__(sample_size=sample_size, in_channels=in_channels, **unet)
        num_features = in_channels * (1 + 2 * len(fourier) + 2 * len(slopes))
        self.conv_in = nn.Conv2d(num_features, unet["block_out_channels"][0], 3, padding=1)
        self.label: int | None = None

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Predict from `sample`, x_t (B, C, H, W), at the step `timestep` within 0..T-1, a number or (B,).

        Args:
            class_labels: int64 (B,), negative for no class; None for the class `label`.

        Raises:
            ValueError: a step between two steps of the schedule.
        """
        given = torch.as_tensor(timestep).expand(len(sample))
        steps = given.long()
        if given.is_floating_point() and bool((given != steps).any()):
            raise ValueError(f"the step {given[0]} is not whole; choose a scheduler without steps in between.")
        features = pixel_features(sample.float(), self.config.fourier, self.config.slopes).to(sample.dtype)
        labels = self._classes(class_labels, len(sample))
        times = (steps + self.config.first_time).to(sample.device)
        output = super().forward(features, times, labels, return_dict=False)[0]
        if self.config.grid_levels is not None:
            channels = sample.shape[1]  # a learned variance is in further channels
            noise = output[:, :channels] + self._grid_noise(sample.float(), steps).to(output.dtype)
            output = torch.cat([noise, output[:, channels:]], dim=1)
        return UNet2DOutput(sample=output) if return_dict else (output,)

    def _classes(self, class_labels: Tensor | None, batch: int) -> Tensor | None:
        """Return the rows of the class embedding, int64 (B,), or None for a network without classes."""
        if self.class_embedding is None:
            return class_labels
        none = self.class_embedding.num_embeddings - 1
        if class_labels is None:
            class_labels = torch.full((batch,), none if self.label is None else self.label, device=self.device)
        return class_labels.where(class_labels >= 0, none)

    def _grid_noise(self, x_t: Tensor, steps: Tensor) -> Tensor:
        """Return the noise in `x_t` (B, C, H, W) at the x_0 that is expected of independent pixels on the grid."""
        alphas_bar = torch.tensor(self.config.alphas_bar, dtype=torch.float64)[steps.cpu()].view(-1, 1, 1, 1)
        signal, stddev = (share.sqrt().to(x_t) for share in (alphas_bar, 1 - alphas_bar))
        x_0 = expected_level(x_t / signal, stddev / signal, self.config.grid_levels)
        return (x_t - signal * x_0) / stddev
