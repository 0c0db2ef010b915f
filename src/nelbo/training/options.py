"""How long and how to train, as one record that is checked when it is made."""

import math
from dataclasses import dataclass

from nelbo.errors import ConfigurationError

PRECISIONS = ("auto", "bf16", "fp32")


@dataclass(frozen=True)
class TrainerOptions:
    """How long and how to train. The defaults are the paper's for CIFAR-10 where it gives one.

    Attributes:
        steps: optimizer steps in all, or None to go by `minutes` alone.
        minutes: time in all, over every session of the run, or None to go by `steps` alone. One of them is needed.
        batch_size: examples of one optimizer step, over all processes.
        micro_batch: examples of one pass through the network (a process's share of the batch if None).
        learning_rate: Adam's, after warm-up.
        betas: Adam's.
        weight_decay: decoupled (AdamW).
        warmup: steps over which the learning rate rises linearly from 0.
        decay: "constant", or "cosine" to 0 at the end of the budget.
        clip_gradient: largest norm of the gradient.
        ema: decay of the moving average of the weights.
        flip: mirror each image left to right with probability 1/2.
        precision: "bf16" runs the network in bfloat16 autocast, "fp32" doesn't, "auto" chooses by the hardware.
        compile: use `torch.compile`.
        workers: processes that decode images; None for as many as help (`nelbo.data.loader`).
        seed: of everything that is drawn.
        log_every: steps between lines of metrics.jsonl.
        save_every: steps between saved states; besides, a state is saved every `save_minutes`.
        save_minutes: minutes between saved states.
        preview_every: steps between previews (samples, held-out bound); None for a tenth of the budget, and by the
            clock no oftener than takes up a twentieth of the time.
    """

    steps: int | None = None
    minutes: float | None = None
    batch_size: int = 128
    micro_batch: int | None = None
    learning_rate: float = 2e-4
    betas: tuple[float, float] = (0.9, 0.999)
    weight_decay: float = 0.0
    warmup: int = 5000
    decay: str = "constant"
    clip_gradient: float = 1.0
    ema: float = 0.9999
    flip: bool = False
    precision: str = "auto"
    compile: bool = False
    workers: int | None = None
    seed: int = 0
    log_every: int = 50
    save_every: int | None = None
    save_minutes: float = 5.0
    preview_every: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "betas", tuple(self.betas))
        if self.steps is None and self.minutes is None:
            raise ConfigurationError("training needs a budget: give --steps or --minutes.")
        for flag, value in (
            ("--steps", self.steps),
            ("--minutes", self.minutes),
            ("--batch-size", self.batch_size),
            ("--micro-batch", self.micro_batch),
            ("--learning-rate", self.learning_rate),
            ("--set training.clip_gradient", self.clip_gradient),
            ("--set training.log_every", self.log_every),
            ("--save-every", self.save_every),
            ("--set training.save_minutes", self.save_minutes),
            ("--preview-every", self.preview_every),
        ):
            if value is not None and not (math.isfinite(value) and value > 0):
                raise ConfigurationError(f"{flag} must be a finite number above 0, got {value}.")
        for flag, value in (("--set training.warmup", self.warmup), ("--set training.weight_decay", self.weight_decay)):
            if not (math.isfinite(value) and value >= 0):
                raise ConfigurationError(f"{flag} must be a finite number, 0 or more, got {value}.")
        if not 0 <= self.ema < 1:
            raise ConfigurationError(f"--set training.ema must be at least 0 and below 1, got {self.ema}.")
        if self.workers is not None and self.workers < 0:
            raise ConfigurationError(f"--workers must be 0 or more, got {self.workers}.")
        if self.decay not in ("constant", "cosine"):
            raise ConfigurationError(f"--set training.decay must be constant or cosine, got {self.decay!r}.")
        if self.precision not in PRECISIONS:
            raise ConfigurationError(f"--precision must be auto, bf16 or fp32, got {self.precision!r}.")
