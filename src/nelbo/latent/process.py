"""A reverse process of continuous data: its last step is a density."""

from dataclasses import dataclass, fields, replace
from typing import Self

import torch
from torch import Tensor

from nelbo.diffusion import Calibrated, ReverseProcess
from nelbo.diffusion.reverse import Prediction
from nelbo.probability import DiagonalGaussian


@dataclass(frozen=True)
class ContinuousReverse(ReverseProcess):
    """p_theta(z_{0:T}) of latents z, which have no levels: p(z_0|z_1) is the Gaussian N(zhat_0(z_1), sigma_1^2 I).

    The bound of such a process is one on -log p(z_0), a density, and can be negative. `levels` has no effect.
    """

    @classmethod
    def of(cls, reverse: ReverseProcess) -> Self:
        """Return a process with the network, the schedule and the options of another one."""
        return cls(**{field.name: getattr(reverse, field.name) for field in fields(reverse)})

    def data_of(self, images: Tensor) -> Tensor:
        """Return latents as they are."""
        return images

    def decoder_of(self, prediction: Prediction, x_1: Tensor) -> DiagonalGaussian:
        """Return p(z_0|z_1) of a prediction at z_1: the transition itself, without bins.

        The fixed variances of the paper are none of z_0 given z_1: betatilde_1 is 0. 1/SNR_1 replaces them, the
        variance of z_0 given z_1 alone.
        """
        if not (self.variance.learned or isinstance(self.variance, Calibrated)):
            prediction = replace(prediction, variance=1 / self.schedule.snr[1].to(x_1))
        return self.transition_of(prediction, x_1, torch.ones(len(x_1), dtype=torch.int64, device=x_1.device))
