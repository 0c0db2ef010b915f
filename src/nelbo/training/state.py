"""The complete state of training, saved and restored as one file."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from nelbo.errors import RunError
from nelbo.files import read_tensors, write_tensors
from nelbo.objective import Objective
from nelbo.training.metrics import LossWindow


@dataclass
class TrainState:
    """Weights, their moving average, the optimizer, the state of the objective, the step and the clock.

    There is no random state: every draw is a function of the seed and the step (`nelbo.randomness`).

    Attributes:
        step: optimizer steps done.
        seconds: training time so far, over all sessions.
        window: the losses since the last line of the metrics.
    """

    network: nn.Module
    average: AveragedModel
    optimizer: torch.optim.Optimizer
    objective: Objective
    step: int = 0
    seconds: float = 0.0
    window: LossWindow = field(default_factory=LossWindow)

    def save(self, path: Path) -> None:
        """Write the whole state to `path`, atomically."""
        tensors = {
            **_prefixed("network", self.network.state_dict()),
            **_prefixed("average", self.average.state_dict()),
            **_prefixed("objective", self.objective.state_dict()),
            **_prefixed("window", self.window.state_dict()),
        }
        for name, slots in self._slots():
            tensors |= _prefixed(f"optimizer.{name}", slots)
        write_tensors(path, tensors, {"step": self.step, "seconds": self.seconds})

    def load(self, path: Path) -> None:
        """Restore the whole state from `path`.

        Raises:
            RunError: the file is missing, damaged, or belongs to another network.
        """
        tensors, metadata = read_tensors(path)
        try:
            self.network.load_state_dict(_under("network", tensors))
            self.average.load_state_dict(_under("average", tensors))
            self.objective.load_state_dict(_under("objective", tensors))
            self.window.load_state_dict(_under("window", tensors))
            for name, parameter in self.network.named_parameters():
                self.optimizer.state[parameter] = {
                    # the fused optimizer step expects the memory layout of the parameter
                    slot: torch.empty_like(parameter).copy_(value) if value.ndim else value.to(parameter.device)
                    for slot, value in _under(f"optimizer.{name}", tensors).items()
                }
            self.step, self.seconds = int(metadata["step"]), float(metadata["seconds"])
        except (KeyError, RuntimeError) as error:
            raise RunError(f"{path} does not hold the training state of this network: {error}.") from error

    def _slots(self) -> list[tuple[str, dict[str, Tensor]]]:
        """Return the name of each parameter with the optimizer's tensors for it."""
        named = self.network.named_parameters()
        return [(name, dict(self.optimizer.state[parameter])) for name, parameter in named]


def _prefixed(prefix: str, tensors: Mapping[str, Any]) -> dict[str, Tensor]:
    return {f"{prefix}/{name}": tensor for name, tensor in tensors.items()}


def _under(prefix: str, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}/")}
