from .classifier import classifier_accuracy, train_classifier
from .hardware import TrainingWarning, bf16_wanted, compiled
from .memory import keep_freed_memory
from .metrics import MetricsLog, TrainingStep
from .options import PRECISIONS, TrainerOptions
from .processes import Processes, is_first_process, is_lost_process, leave_processes
from .state import TrainState
from .tensorboard import tensorboard_log
from .trainer import METRICS_FILE, STATE_FILE, Trainer

__all__ = [
    "METRICS_FILE",
    "PRECISIONS",
    "STATE_FILE",
    "MetricsLog",
    "Processes",
    "TrainState",
    "Trainer",
    "TrainerOptions",
    "TrainingStep",
    "TrainingWarning",
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
