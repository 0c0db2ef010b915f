"""Algorithm 1: the trainer, its state, and its options."""

from nelbo.training.hardware import bf16_wanted, is_first_process
from nelbo.training.metrics import MetricsLog
from nelbo.training.options import TrainerOptions
from nelbo.training.state import TrainState
from nelbo.training.tensorboard import tensorboard_log
from nelbo.training.trainer import METRICS_FILE, STATE_FILE, Progress, Trainer

__all__ = [
    "METRICS_FILE",
    "STATE_FILE",
    "MetricsLog",
    "Progress",
    "TrainState",
    "Trainer",
    "TrainerOptions",
    "bf16_wanted",
    "is_first_process",
    "tensorboard_log",
]
