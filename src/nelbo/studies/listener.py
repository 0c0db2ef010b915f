"""What a training run reports to its caller while it works."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nelbo.errors import ConfigurationError, option, shown
from nelbo.progress import Bars, StageProgress, bars, no_stages
from nelbo.training.processes import is_first_process

if TYPE_CHECKING:  # so that importing this module loads no torch
    from nelbo.data import Split
    from nelbo.runs.folder import RunConfig
    from nelbo.training import TrainingStep


@dataclass
class Listener:
    """Callbacks of a training run; each is optional.

    Attributes:
        on_config: called before training with the resolved configuration, the data, and the step to resume from.
        on_spent: called after `on_config` if no budget is left for the network, with the configuration and the options
            of the budget that is spent: "steps" or "minutes".
        on_step: called after each optimizer step.
        on_record: called with each preview's line of the metrics.
        on_finish: called after training with the held-out bound of the finished model, as in a line of the metrics.
        on_stage: called with (stage, done, total) while reading, calibrating, scoring and sampling.
        on_stop: called with the signal's name and the step if a signal ended training before its budget was spent.
    """

    on_config: Callable[["RunConfig", "Split", int], None] = lambda config, split, step: None
    on_spent: Callable[["RunConfig", Sequence[str]], None] = lambda config, options: None
    on_step: Callable[["TrainingStep"], None] = lambda step: None
    on_record: Callable[[dict[str, Any]], None] = lambda record: None
    on_finish: Callable[[dict[str, Any]], None] = lambda record: None
    on_stage: StageProgress = no_stages
    on_stop: Callable[[str, int], None] = lambda name, step: None


@contextmanager
def listening(listener: Listener | None, progress: bool) -> Iterator[Listener]:
    """Yield the listener of a training run: the caller's, or with `progress` one that shows progress bars.

    Raises:
        ConfigurationError: both, or a `progress` that is neither true nor false.
    """
    if not isinstance(progress, bool):
        raise ConfigurationError(
            f"{option('progress')} is {shown(progress)}; expected true for progress bars, or false; "
            f"{option('listener')} takes functions."
        )
    if progress and listener is not None:
        raise ConfigurationError(f"give {option('progress')} or {option('listener')}, not both.")
    if not progress or not is_first_process():
        yield listener or Listener()
        return
    with bars() as bar:
        yield Listener(on_step=lambda step: _show_step(bar, step), on_stage=bar)


def _show_step(bar: Bars, step: "TrainingStep") -> None:
    """Move the bar of training; with a budget in minutes, the number of steps is estimated."""
    total = step.step if step.fraction >= 1 else max(round(step.step / max(step.fraction, 1e-9)), step.step + 1)
    bar("training", step.step, total)
