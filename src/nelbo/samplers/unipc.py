"""UniPC: a predictor-corrector, in which each new xhat_0 first corrects the previous step (Zhao et al. 2023)."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from nelbo.condition import ConditionLike
from nelbo.randomness import Generators
from nelbo.samplers.dpm_solver import DPMSolverPP, half_step_ahead, shrink
from nelbo.samplers.multistep import Coefficients
from nelbo.samplers.sampler import Step


@dataclass(frozen=True)
class Correction:
    """The weights of x_{t-1} = a x_t + b xhat_0 + c xhat_0' + d xhat_0''.

    xhat_0 is predicted at t, xhat_0' at t + 1, and xhat_0'' at the predicted x_{t-1}.

    Attributes:
        x_t, x_0, before, after: a, b, c and d, tables over t = 0..T.
    """

    x_t: Tensor
    x_0: Tensor
    before: Tensor
    after: Tensor


@dataclass(frozen=True)
class UniPCSampler(DPMSolverPP):
    """UniPC-2 with B(h) = e^h - 1 and data prediction: third order with one network call a step.

    The predictor is DPM-Solver++(2M). The network predicts xhat_0 from the predicted x_{t-1} and is not called again at
    the corrected one: the corrector and the next step both use this xhat_0 (Zhao et al. 2023).
    """

    @cached_property
    def first_correction(self) -> Correction:
        """The weights without history: xhat_0 changes linearly over the step, so half of its change is added."""
        table = self.first_order
        half = 0.5 * table.x_0
        return Correction(table.x_t, table.x_0 - half, torch.zeros_like(half), half)

    @cached_property
    def second_correction(self) -> Correction:
        """The weights for a parabola through three xhat_0: both moments of the exponential are matched."""
        table, schedule = self.first_order, self.reverse.schedule
        h = -shrink(schedule).log()
        r = 1 / (2 * half_step_ahead(schedule))  # previous step divided by this step, in log SNR
        phi_1 = torch.expm1(-h)
        phi_2 = -phi_1 / h - 1
        phi_3 = -phi_2 / h - 0.5
        # rho_before + rho_after = phi_2 / phi_1; -r rho_before + rho_after = 2 phi_3 / phi_1
        rho_before = (phi_2 - 2 * phi_3) / phi_1 / (1 + r)
        rho_after = phi_2 / phi_1 - rho_before
        gain, slope = table.x_0, table.x_0 * rho_before / r  # gain = -sqrt(abar) phi_1
        # rho_before weighs the previous slope (xhat_0 - xhat_0') / r, rho_after the change xhat_0'' - xhat_0
        return Correction(table.x_t, gain * (1 - rho_after) + slope, -slope, gain * rho_after)

    @torch.no_grad()
    def walk(self, x_t: Tensor, t: int, generator: Generators, label: ConditionLike | None = None) -> Iterator[Step]:
        """Walk down from x_t; see `Sampler.walk`. Each yielded x_t is the corrected one."""
        first, second = self._tables
        before = now = left = None  # xhat_0', xhat_0, and the x_t from which the last step started
        for step in range(t, 0, -1):
            at = torch.full((len(x_t),), step, device=x_t.device)
            x_0 = self.reverse.predict(x_t, at, label).x_0
            if now is not None and left is not None:
                correction = self.first_correction if before is None else self.second_correction
                x_t = _corrected(correction, step + 1, left, now, before, x_0)
            yield Step(step, x_t, x_0)
            before, now, left = now, x_0, x_t
            table = first if before is None or step == 1 else second
            x_t = _predicted(table, step, x_t, x_0, before)
        yield Step(0, x_t, x_t)


def _predicted(table: Coefficients, step: int, x_t: Tensor, x_0: Tensor, before: Tensor | None) -> Tensor:
    x = float(table.x_t[step]) * x_t + float(table.x_0[step]) * x_0
    return x if before is None or step == 1 else x + float(table.before[step]) * before


def _corrected(table: Correction, step: int, x_t: Tensor, x_0: Tensor, before: Tensor | None, after: Tensor) -> Tensor:
    x = float(table.x_t[step]) * x_t + float(table.x_0[step]) * x_0 + float(table.after[step]) * after
    return x if before is None else x + float(table.before[step]) * before
