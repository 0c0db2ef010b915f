"""Algorithm 1: the trainer, its state, and its options."""

from nelbo.training.classifier import classifier_accuracy, train_classifier
from nelbo.training.hardware import bf16_wanted, compiled, keep_freed_memory
from nelbo.training.metrics import MetricsLog
from nelbo.training.options import PRECISIONS, TrainerOptions
from nelbo.training.processes import Processes, is_first_process, is_lost_process, leave_processes
from nelbo.training.state import TrainState
from nelbo.training.tensorboard import tensorboard_log
from nelbo.training.trainer import METRICS_FILE, STATE_FILE, Progress, Trainer

__all__ = [
    "METRICS_FILE",
    "PRECISIONS",
    "STATE_FILE",
    "MetricsLog",
    "Processes",
    "Progress",
    "TrainState",
    "Trainer",
    "TrainerOptions",
    "bf16_wanted",
    "classifier_accuracy",
    "compiled",
    "is_first_process",
    "is_lost_process",
    "keep_freed_memory",
    "leave_processes",
    "tensorboard_log",
    "train_classifier",
]
