"""The convolutional VAE: p(x|z) on the levels of each pixel, p(z) = N(0, I), and a diagonal Gaussian q(z|x)."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nelbo.errors import ShapeError
from nelbo.latent.networks import Decoder, Encoder
from nelbo.latent.options import AutoencoderOptions
from nelbo.networks.layers import full_precision, initialise
from nelbo.probability import DiagonalGaussian, DiscretizedLogistic
from nelbo.vae import ELBO, elbo

NARROWEST, WIDEST = -30.0, 20.0  # log-variances of q(z|x), clamped as in diffusers' `AutoencoderKL`
SMALLEST_LOG_SCALE = -8.0  # of p(x|z), on data in [-1, 1]: a twelfth of a level of 256
FIRST_LOG_SCALE = math.log(0.2)


class Autoencoder(nn.Module):
    """An encoder and a decoder as distributions, which are float32 even if the networks run in lower precision.

    p(x|z) is a logistic distribution for each pixel and channel, integrated over the bins of the K levels. It has
    heavier tails than a Gaussian, so that one wrong pixel of a smooth region does not cost thousands of bits.

    A call returns the ELBO with the prior p(z) = N(0, I), which trains it.
    """

    def __init__(self, options: AutoencoderOptions) -> None:
        super().__init__()
        self.options = options = options if options.multipliers else options.fitted(options.shape, options.levels)
        self.encoder, self.decoder = Encoder(options), Decoder(options)
        if options.pixel_scale:
            self.log_scale: nn.Module = nn.Conv2d(options.widths[0], options.shape[0], 3, padding=1)
            initialise(self.log_scale, 1e-4)
            nn.init.constant_(self.log_scale.bias, FIRST_LOG_SCALE)  # type: ignore[arg-type]
        else:
            self.log_scale = OneScale()

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return self.encoder.input.weight.device

    @property
    def prior(self) -> DiagonalGaussian:
        """p(z) = N(0, I), of shape (L, h, w)."""
        zeros = torch.zeros(self.options.latent_shape, device=self.device)
        return DiagonalGaussian(zeros, torch.ones_like(zeros))

    def posterior(self, x_0: Tensor) -> DiagonalGaussian:
        """Return q(z|x), (B, L, h, w), for data x_0 (B, C, H, W).

        Raises:
            ShapeError: the images don't have the model's shape.
        """
        if tuple(x_0.shape[1:]) != self.options.shape:
            raise ShapeError(
                f"the images are {tuple(x_0.shape[1:])}, but the model was built for {self.options.shape}."
            )
        mean, log_variance = self.encoder(x_0).chunk(2, dim=1)
        return DiagonalGaussian(mean, log_variance.clamp(NARROWEST, WIDEST).exp())

    def likelihood(self, z: Tensor) -> DiscretizedLogistic:
        """Return p(x|z), (B, C, H, W), for z (B, L, h, w)."""
        _, height, width = self.options.shape
        features = self.decoder.features(z)
        with full_precision(z):
            mean, raw = self.decoder.output(features), self.log_scale(features)
        # a smooth limit: a clamp would have no gradient below it
        log_scale = SMALLEST_LOG_SCALE + F.softplus(raw - SMALLEST_LOG_SCALE)
        part = (..., slice(height), slice(width))
        return DiscretizedLogistic(mean[part], log_scale.exp().expand_as(mean)[part], self.options.levels)

    def forward(self, x_0: Tensor, noise: Tensor) -> ELBO:
        """Return the ELBO of data x_0 (B, C, H, W) at one draw of z, from noise (B, L, h, w)."""
        return elbo(self, x_0, noise)


class OneScale(nn.Module):
    """One learned number for all pixels, in place of a convolution of the features."""

    def __init__(self) -> None:
        super().__init__()
        self.value = nn.Parameter(torch.tensor(FIRST_LOG_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        """Return the number, in the dtype of the features."""
        return self.value.to(features.dtype)
