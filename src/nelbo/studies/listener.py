"""What a training run reports to its caller while it works."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nelbo.progress import StageProgress, no_stages

if TYPE_CHECKING:  # so that importing this module loads no torch
    from nelbo.data import Split
    from nelbo.runs.folder import RunConfig
    from nelbo.training import TrainingStep


@dataclass
class Listener:
    """Callbacks of a training run; each is optional.

    Attributes:
        on_config: called before training with the resolved configuration, the data, and the step to resume from.
        on_step: called after each optimizer step.
        on_record: called with each preview's line of the metrics.
        on_finish: called after training with the held-out bound of the finished model, as in a line of the metrics.
        on_stage: called with (stage, done, total) while reading, calibrating, scoring and sampling.
        on_stop: called with the signal's name and the step if a signal ended training before its budget was spent.
    """

    on_config: Callable[["RunConfig", "Split", int], None] = lambda config, split, step: None
    on_step: Callable[["TrainingStep"], None] = lambda step: None
    on_record: Callable[[dict[str, Any]], None] = lambda record: None
    on_finish: Callable[[dict[str, Any]], None] = lambda record: None
    on_stage: StageProgress = no_stages
    on_stop: Callable[[str, int], None] = lambda name, step: None
