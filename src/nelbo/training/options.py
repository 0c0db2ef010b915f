"""Options of the training loop; no torch is imported here."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError, setting
from nelbo.options import Annotated, Doc, check_types

PRECISIONS = ("auto", "bf16", "fp32")
DECAYS = ("constant", "cosine")
OPTIMIZERS = ("adamw", "muon")


@dataclass(frozen=True)
class TrainerOptions:
    """How long and how to train. The defaults are the paper's values for CIFAR-10, where it gives them.

    Raises:
        ConfigurationError: no budget, or a value outside its range.
    """

    steps: Annotated[
        int | None,
        Doc("Optimizer steps in total. If `minutes` is also given, training stops at the limit that is reached first."),
    ] = None
    minutes: Annotated[
        float | None,
        Doc("Total training time in minutes, including earlier sessions that were interrupted."),
    ] = None
    batch_size: Annotated[int, Doc("Images per optimizer step, summed over all processes.")] = 128
    micro_batch: Annotated[
        int | None,
        Doc("Images per pass through the network, with accumulated gradients; by default each process's whole batch."),
    ] = None
    optimizer: Annotated[
        str, Doc("adamw, or muon: Muon for matrices and convolution kernels, AdamW for all other parameters.")
    ] = "adamw"
    learning_rate: Annotated[float, Doc("Learning rate after the warm-up.")] = 2e-4
    betas: Annotated[tuple[float, float], Doc("beta_1 and beta_2 of Adam.")] = (0.9, 0.999)
    weight_decay: Annotated[float, Doc("Decoupled weight decay (AdamW).")] = 0.0
    warmup: Annotated[int, Doc("Steps over which the learning rate rises linearly from 0.")] = 5000
    decay: Annotated[
        str, Doc('Learning rate after the warm-up: "constant", or "cosine", which falls to 0 at the end of the budget.')
    ] = "constant"
    clip_gradient: Annotated[float, Doc("Largest norm of the gradient; a larger gradient is scaled down to it.")] = 1.0
    ema: Annotated[float, Doc("Decay of the exponential moving average of the weights.")] = 0.9999
    flip: Annotated[bool, Doc("Flip each image horizontally with probability 0.5.")] = False
    precision: Annotated[
        str,
        Doc("Precision of the network: bf16 (bfloat16 autocast), fp32, or auto (bf16 if the hardware supports it)."),
    ] = "auto"
    compile: Annotated[
        bool | None, Doc("Compile the network with torch.compile; none: only on a GPU, because CPUs gain nothing.")
    ] = False
    workers: Annotated[
        int | None, Doc("Processes that decode images; 0 decodes in the main process. Chosen automatically by default.")
    ] = None
    seed: Annotated[int, Doc("Random seed.")] = 0
    log_every: Annotated[int, Doc("Steps between lines of metrics.jsonl.")] = 50
    save_every: Annotated[
        int | None,
        Doc("Steps between saved states, in addition to the save every few minutes (`save_minutes`)."),
    ] = None
    save_minutes: Annotated[float, Doc("Minutes between saved states.")] = 5.0
    preview_every: Annotated[
        int | None,
        Doc(
            "Steps between previews (samples and held-out bound). By default a tenth of training; with `minutes`, "
            "longer if previews would take more than 5% of the time."
        ),
    ] = None

    def __post_init__(self) -> None:
        check_types(self, lambda name: setting(f"training.{name}"))
        if self.steps is None and self.minutes is None:
            raise ConfigurationError(
                f"training needs a budget: give {setting('training.steps')} or {setting('training.minutes')}."
            )
        positive = ("steps", "minutes", "batch_size", "micro_batch", "learning_rate", "clip_gradient")
        for name in (*positive, "log_every", "save_every", "save_minutes", "preview_every"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"{setting(f'training.{name}')} must be a finite number above 0, got {value}.")
        for name in ("warmup", "weight_decay"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(
                    f"{setting(f'training.{name}')} must be a finite number, 0 or more, got {value}."
                )
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ConfigurationError(f"{setting('training.betas')} must be at least 0 and below 1, got {self.betas}.")
        if not 0 <= self.ema < 1:
            raise ConfigurationError(f"{setting('training.ema')} must be at least 0 and below 1, got {self.ema}.")
        if self.workers is not None and self.workers < 0:
            raise ConfigurationError(f"{setting('training.workers')} must be 0 or more, got {self.workers}.")
        for name, choices in (("optimizer", OPTIMIZERS), ("decay", DECAYS), ("precision", PRECISIONS)):
            if getattr(self, name) not in choices:
                listed = f"{', '.join(choices[:-1])} or {choices[-1]}"
                raise ConfigurationError(
                    f"{setting(f'training.{name}')} must be {listed}, got {getattr(self, name)!r}."
                )
