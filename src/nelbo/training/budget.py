"""The budget of a run: how much of it is spent, and when previews and saves are due."""

from nelbo.training.options import TrainerOptions
from nelbo.training.state import TrainState

PREVIEWS = 10  # per budget, if `preview_every` is None
FEWEST_STEPS = 20  # between two of them, with a budget in steps
PREVIEW_PAUSE = 20  # with a time budget: least time between the starts of two previews, in durations of the first


def spent_by(options: TrainerOptions, step: int, seconds: float) -> tuple[str, ...]:
    """Return the options, "steps" or "minutes", of which nothing is left after so many steps and seconds."""
    return tuple(name for name, share in _shares(options, step, seconds).items() if share >= 1)


def _shares(options: TrainerOptions, step: int, seconds: float) -> dict[str, float]:
    """Return the share of each limit that is spent, by the option."""
    by_steps = {"steps": step / options.steps} if options.steps else {}
    by_clock = {"minutes": seconds / (60 * options.minutes)} if options.minutes else {}
    return {**by_steps, **by_clock}


class Budget:
    """The budget of steps and minutes, read from the options and the state of a run.

    Also keeps the times of the last preview and the last save of this session.
    """

    def __init__(self, options: TrainerOptions, state: TrainState) -> None:
        self.options, self.state = options, state
        self._previews, self._next_preview, self._saved = self._previews_by_now(), state.seconds, state.seconds

    @property
    def fraction(self) -> float:
        """Share of the budget spent, 0..1; the larger one if both steps and minutes are limited."""
        return min(1.0, max(_shares(self.options, self.state.step, self.state.seconds).values(), default=0.0))

    @property
    def spent(self) -> bool:
        """Whether nothing of the budget is left."""
        return bool(self.spent_by)

    @property
    def spent_by(self) -> tuple[str, ...]:
        """The options, "steps" or "minutes", of which nothing is left."""
        return spent_by(self.options, self.state.step, self.state.seconds)

    def preview_due(self) -> bool:
        """Whether a preview is due now; False once the budget is spent: the last preview is not scheduled here."""
        by_clock = self.options.preview_every is None and self.options.minutes is not None
        affordable = not by_clock or self.state.seconds >= self._next_preview
        return self._previews_by_now() > self._previews and affordable and not self.spent

    def begin_preview(self) -> None:
        """Record that a preview begins now."""
        self._previews, self._next_preview = self._previews_by_now(), self.state.seconds

    def end_preview(self, seconds: float) -> None:
        """Record that the preview took `seconds`."""
        self._next_preview += PREVIEW_PAUSE * seconds

    def save_due(self) -> bool:
        """Whether a save is due now; False once the budget is spent: the last save is not scheduled here."""
        every = self.options.save_every
        by_step = every is not None and self.state.step % every == 0
        by_clock = self.state.seconds - self._saved > 60 * self.options.save_minutes
        return (by_step or by_clock) and not self.spent

    def mark_saved(self) -> None:
        """Record that the state is saved now."""
        self._saved = self.state.seconds

    def _previews_by_now(self) -> int:
        """Number of previews due since the beginning of the run."""
        every = self.options.preview_every
        if every is None and self.options.steps is not None and self.options.steps < PREVIEWS * FEWEST_STEPS:
            every = FEWEST_STEPS
        return self.state.step // every if every else int(PREVIEWS * self.fraction)
