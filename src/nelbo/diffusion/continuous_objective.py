"""Algorithm 1 in continuous time: the bound for infinitely many steps, and a schedule that learns."""

from collections.abc import Callable
from dataclasses import dataclass, field

import torch
from torch import Tensor

from nelbo.condition import Condition, ConditionLike
from nelbo.diffusion.bound import VariationalBound, num_dims
from nelbo.diffusion.continuous import ContinuousBound
from nelbo.diffusion.continuous_schedule import ContinuousSchedule
from nelbo.diffusion.objective import DiffusionObjective
from nelbo.diffusion.timesteps import stratified_uniforms
from nelbo.objective import NATS, Draws, Losses

LEARNING_RATE, BETAS = 3e-2, (0.9, 0.99)  # of the path
LEARNED = "schedule.alphas_bar"  # name of a learned table in model.safetensors


@dataclass
class ContinuousObjective(DiffusionObjective):
    """L_T + the integral over log SNR (see `ContinuousBound`), nats per dimension, at stratified u in [0, 1].

    L_0 is left out: it is nearly 0 where the first noise level is far below a grey level, and the network at that level
    is trained by the integral. If the schedule has a path, it learns to minimise the variance of this estimate, while
    the network minimises its mean. All processes of a training hold the same path, because they learn from the losses
    of the whole batch.

    Attributes:
        continuous: log SNR over continuous time; its path learns.
    """

    continuous: ContinuousSchedule = field(kw_only=True)

    def __post_init__(self) -> None:
        path = self.continuous.path
        self._optimizer = None if path is None else torch.optim.Adam(path.parameters(), LEARNING_RATE, BETAS)

    def draw(self, num: int, shape: tuple[int, int, int], generator: torch.Generator) -> Draws:
        """Draw u, the noise, and whose condition is withheld.

        Returns:
            "u" (num,), its "log_snr" and "slope" (num,), "noise" (num, *shape), and those of `DiffusionObjective`.
        """
        u = stratified_uniforms(num, generator)
        with torch.no_grad():
            levels = {"log_snr": self.continuous.log_snr(u).float(), "slope": self.continuous.slope(u).float()}
        noise = torch.randn(num, *shape, generator=generator)
        return {"u": u.float(), **levels, "noise": noise, **self.draw_withheld(num, generator)}

    def of_data(
        self, network: Callable[..., Tensor], x_0: Tensor, labels: ConditionLike | None, draws: Draws
    ) -> Losses:
        """Return the loss of each example at its own u, for data x_0 (B, ...)."""
        given = self.visible(Condition.of(labels), draws).simplest
        reverse = self.reverse(network)
        bound = ContinuousBound(reverse, self.continuous)
        nats = draws["slope"] * bound.per_log_snr(x_0, draws["log_snr"], draws["noise"], given)
        dims = num_dims(x_0, Condition.of(given).observed)
        loss = ((VariationalBound(reverse).prior(x_0, given) + nats) / dims).to(nats.dtype)
        return Losses(loss, loss.detach(), draws["u"], unit=NATS)

    def learn(self, draws: Draws, loss: Tensor) -> None:
        """Take a step of the path towards a smaller variance of the losses (num,)."""
        if self._optimizer is None:
            return
        self._optimizer.zero_grad()
        self.continuous.variance_loss(draws["u"].double(), loss.detach().double().cpu()).backward()
        self._optimizer.step()

    def model_tensors(self) -> dict[str, Tensor]:
        """Return the table of a schedule that learns, which a finished model needs beside its weights."""
        return {} if self.continuous.path is None else {LEARNED: self.continuous.table().alphas_bar}

    def state_dict(self) -> dict[str, Tensor]:
        """Return the path and the state of its optimizer."""
        if self.continuous.path is None or self._optimizer is None:
            return {}
        state = {f"path.{name}": value.detach() for name, value in self.continuous.path.named_parameters()}
        for name, parameter in self.continuous.path.named_parameters():
            state |= {f"{slot}.{name}": value for slot, value in self._optimizer.state[parameter].items()}
        return state

    def load_state_dict(self, state: dict[str, Tensor]) -> None:
        """Load what `state_dict` returned."""
        if self.continuous.path is None or self._optimizer is None:
            return
        for name, parameter in self.continuous.path.named_parameters():
            parameter.data.copy_(state[f"path.{name}"])
            slots = [slot for slot in ("step", "exp_avg", "exp_avg_sq") if f"{slot}.{name}" in state]
            self._optimizer.state[parameter] = {slot: state[f"{slot}.{name}"].clone() for slot in slots}
