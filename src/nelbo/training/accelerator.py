"""Accelerate: the device of the trainer, its precision, and what its processes exchange."""

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, option, setting
from nelbo.training.hardware import bf16_wanted
from nelbo.training.options import TrainerOptions

if TYPE_CHECKING:
    from accelerate import Accelerator


def accelerator_for(options: TrainerOptions) -> "Accelerator":
    """Return an accelerator of the wanted precision. Accelerate is imported here, when a trainer needs it.

    Raises:
        ConfigurationError: the batch cannot be divided evenly among the processes.
    """
    from accelerate import Accelerator
    from accelerate.state import AcceleratorState

    AcceleratorState._reset_state()  # otherwise Accelerate refuses a second trainer of another precision
    accelerator = Accelerator(
        cpu=not torch.cuda.is_available(),  # without it, processes on CPUs do not find each other
        mixed_precision="bf16" if bf16_wanted(options.precision) else "no",
    )
    if options.batch_size % accelerator.num_processes:
        raise ConfigurationError(
            f"{setting('training.batch_size', options.batch_size)} cannot be divided evenly among "
            f"{accelerator.num_processes} processes; give a multiple of {accelerator.num_processes}."
        )
    return accelerator


def require_same_step(accelerator: "Accelerator", step: int, folder: Path) -> None:
    """Check that all processes resume at the same step.

    Processes that do not share a disk would each resume from a different state, or from none.

    Raises:
        ConfigurationError: the steps differ.
    """
    if accelerator.num_processes > 1:
        steps = accelerator.gather(torch.tensor([step], device=accelerator.device)).tolist()
        if len(set(steps)) > 1:
            raise ConfigurationError(
                f"the processes found states of different steps ({', '.join(map(str, steps))}) in {folder}; "
                f"{option('out')} must be on a disk that all machines share."
            )


def gathered(accelerator: "Accelerator", parts: list[Tensor]) -> Tensor:
    """Return one float32 value per example of the global batch, on the CPU, from the micro-batches of this process."""
    values: Tensor = accelerator.gather(torch.cat([part.detach().float() for part in parts]))
    return values.cpu()


def largest(accelerator: "Accelerator", value: float) -> float:
    """Return the largest of the values of all processes."""
    if accelerator.num_processes == 1:
        return value
    own = torch.tensor([value], dtype=torch.float64, device=accelerator.device)
    return float(accelerator.gather(own).max())


def true_anywhere(accelerator: "Accelerator", condition: bool) -> bool:
    """Whether a condition holds in any of the processes."""
    if accelerator.num_processes == 1:
        return condition
    return bool(accelerator.gather(torch.tensor([condition], device=accelerator.device)).any())
