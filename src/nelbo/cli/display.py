"""The display of a training run: messages, and a bar with the budget spent, the speed, the loss and the bound."""

from collections.abc import Sequence
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from nelbo.cli.console import err, name_rejects, say
from nelbo.data import Split
from nelbo.progress import Bars
from nelbo.recipes.fitting import IMAGES_PER_CLASS, learns_classes
from nelbo.recipes.recipe import Recipe
from nelbo.runs import RunConfig
from nelbo.studies import Listener
from nelbo.training import TrainingStep, bf16_wanted

BAR_WIDTH = 16  # so that bar, percentage, time, step and bound fit into 80 columns
CALLS_AFTERWARDS = 10_000  # network calls on one image for calibration and pictures
CALLS_OF_A_STEP = 3  # time of an image in a training step, in network calls without gradients
ANNOUNCED_FROM = 10.0  # seconds
SMOOTHING = 0.95  # weight of the earlier speeds in the running mean


class TrainingDisplay:
    """The training bar, and the messages around it. Use it as a context manager.

    Attributes:
        verbose: whether the bar also shows the loss by quarter of t.
        stopped: what to print if a signal ended training before its budget was spent, or "".
    """

    def __init__(self, verbose: bool = False) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        self.verbose = verbose
        self.progress = Progress(*columns, console=err, expand=True)
        self.stages = Bars(self.progress)
        self.task: TaskID | None = None
        self.losses = self.held_out = self.stopped = self.variance = ""
        self.speed = 0.0
        self.printed: set[str] = set()
        self.announced: set[str] = set()

    def __enter__(self) -> "TrainingDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def listener(self) -> Listener:
        """Return the callbacks for the training run."""
        return Listener(self.configured, self.stepped, self.previewed, self.staged, self.halted)

    def configured(self, config: RunConfig, split: Split, step: int) -> None:
        """Print the data and the recipe, and start the bar."""
        shape, recipe = config.data.shape, config.recipe
        self.variance = f" (variance {recipe.variance})" if isinstance(recipe, Recipe) else ""
        precision = "bf16" if bf16_wanted(recipe.training.precision) else "fp32"
        name_rejects(split.train.rejects, "`nelbo data` lists them")
        say(
            f"{config.data.spec}: {config.data.num_train} training images, {config.data.num_held_out} held out, "
            f"{' x '.join(map(str, shape))} (C x H x W), {config.data.levels} levels\n"
            f"preset {config.preset}: {recipe.in_words}, {precision}"
            f"{f'; resuming from step {step}' if step else ''}"
        )
        if isinstance(recipe, Recipe) and not step and (about := classes_in_words(recipe, config.data.class_counts)):
            say(about)
        if recipe.training.steps is not None and step >= recipe.training.steps:
            say(f"the budget of {recipe.training.steps} steps is spent; give a larger --steps to train further")
        self.task = self.progress.add_task("training", total=1.0, note="")

    def stepped(self, step: TrainingStep) -> None:
        """Move the bar."""
        self.speed = (
            SMOOTHING * self.speed + (1 - SMOOTHING) * step.images_per_second if self.speed else step.images_per_second
        )
        self.losses = losses_in_words(step.record, self.verbose) or self.losses
        left = step.seconds / max(step.fraction, 1e-9) * (1 - step.fraction)
        parts = (
            f"{duration(left)} left",
            f"step {step.step}",
            self.held_out,
            f"{self.speed:.0f} images/s",
            self.losses,
        )
        if self.task is not None:
            shown = ", ".join(part for part in parts if part)
            self.progress.update(self.task, completed=step.fraction, note=shown)

    def previewed(self, record: dict[str, Any]) -> None:
        """Print the held-out bound."""
        if "held_out_bits_per_dim" in record:
            bits, error = record["held_out_bits_per_dim"], record["held_out_standard_error"]
            self.held_out = f"bound {bits:.3f} bits/dim"
            spread = "" if error is None else f" +- {error:.3f}"
            say(f"step {record['step']}: held-out bound {bits:.3f}{spread} bits/dim{self.variance}")
        elif "held_out_chain_bits_per_dim" in record:
            self.held_out = f"chain {record['held_out_chain_bits_per_dim']:.3f} bits/dim"
            say(f"step {record['step']}: held-out {self.held_out}{self.variance}, without L_0: the decoder comes last")

    def halted(self, name: str, step: int) -> None:
        """Remember that a signal ended training."""
        self.stopped = f"stopped by {name} at step {step}; the state is saved, and the same command resumes"

    def staged(self, name: str, done: int, total: int) -> None:
        """Show a stage before or after training: a bar in a terminal, else its name once."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        if name == "calibrating" and name not in self.announced and self.speed:
            self.announced.add(name)
            left = CALLS_AFTERWARDS / (CALLS_OF_A_STEP * self.speed)
            if left > ANNOUNCED_FROM:
                say(f"the network is trained; calibration and pictures take about {duration(left)} besides the budget")
        if not err.is_terminal and done < total and name not in self.printed:
            self.printed.add(name)
            say(f"{name} ...")
        self.stages(name, done, total)


def classes_in_words(recipe: Recipe, class_counts: Sequence[int]) -> str:
    """Say which flag changes what a new model makes of the classes of the images; "" if they have none to speak of.

    Args:
        class_counts: number of training images of each class.
    """
    classes = sum(count > 0 for count in class_counts)
    if recipe.conditional:
        return f"the model learns the {len(class_counts)} classes of the images; --unconditional ignores them"
    if classes < 2 or learns_classes(class_counts):
        return ""
    return (
        f"the model ignores the {classes} classes of the images, which have fewer than {IMAGES_PER_CLASS} training "
        "images each on average; --conditional learns them"
    )


def losses_in_words(record: dict[str, Any], verbose: bool = False) -> str:
    """Write the losses in a line of the metrics, by quarter of t if `verbose`; "" if it has none."""
    words = f"loss {record['loss']:.4g}" if "loss" in record else ""
    if verbose and "loss_by_quarter" in record:
        quarters = " ".join("-" if q is None else f"{q:.3g}" for q in record["loss_by_quarter"])
        words += f" (by quarter of t: {quarters})"
    if "kl" in record:
        words += f" (reconstruction {record['reconstruction']:.4g}, KL {record['kl']:.4g})"
    return words


def duration(seconds: float) -> str:
    """Write a duration as 1:23:45 or 2:34."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
