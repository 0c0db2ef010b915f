"""The display of a training run: messages, and a bar with the budget spent, the speed, the loss and the bound."""

from collections.abc import Sequence
from typing import Any

from rich.progress import BarColumn, Progress, TaskID, TextColumn
from rich.table import Column

from nelbo.cli.console import err, name_rejects, say, without_echo
from nelbo.cli.expectations import forecast, outcome, too_short
from nelbo.data import Split
from nelbo.evaluation import baselines_of
from nelbo.progress import Bars, Lines, Pace, duration
from nelbo.recipes.fitting import IMAGES_PER_CLASS, learns_classes
from nelbo.recipes.recipe import Recipe
from nelbo.runs import RunConfig
from nelbo.studies import Listener
from nelbo.training import TrainingStep, bf16_wanted

BAR_WIDTH = 16  # so that bar, percentage, time, step and bound fit into 80 columns
CALLS_OF_PICTURES, SCORED = 1_500, 8 * 512  # network calls on one image: of samples, and at most of their bounds
CALLS_OF_A_STEP = 3  # time of an image in a training step, in network calls without gradients
ANNOUNCED_FROM = 10.0  # seconds
WARM, COMPARED = 20, 128  # steps until the speed is known; held-out images for the baselines
SMOOTHING = 0.95  # weight of the earlier speeds in the running mean


class TrainingDisplay:
    """The training bar, and the messages around it. Use it as a context manager.

    Attributes:
        verbose: whether the bar also shows the loss by quarter of t.
        pictures: whether the finished model is drawn, which takes time.
        stopped: what to print if a signal ended training before its budget was spent, or "".
    """

    def __init__(self, verbose: bool = False, pictures: bool = True) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(bar_width=BAR_WIDTH),
            TextColumn("{task.percentage:>3.0f}%"),
            TextColumn("{task.fields[note]}", table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis")),
        )
        self.verbose, self.pictures = verbose, pictures
        self.progress = Progress(*columns, console=err, expand=True)
        self.stages = Bars(self.progress) if err.is_terminal else Lines(err)
        self.pace = Pace()
        self.task: TaskID | None = None
        self.losses = self.held_out = self.stopped = self.without_model = ""
        self.config: RunConfig | None = None
        self.first: TrainingStep | None = None
        self.last: TrainingStep | None = None
        self.speed = 0.0
        self.printed: set[str] = set()
        self.announced: set[str] = set()

    def __enter__(self) -> "TrainingDisplay":
        self.terminal = without_echo()
        self.terminal.__enter__()
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()
        self.terminal.__exit__(None, None, None)

    def listener(self) -> Listener:
        """Return the callbacks for the training run."""
        return Listener(
            on_config=self.configured,
            on_spent=spent,
            on_step=self.stepped,
            on_record=self.previewed,
            on_finish=self.finished,
            on_stage=self.staged,
            on_stop=self.halted,
        )

    def configured(self, config: RunConfig, split: Split, step: int) -> None:
        """Print the data and the recipe, and start the bar."""
        shape, recipe = config.data.shape, config.recipe
        self.config = config
        precision = "bf16" if bf16_wanted(recipe.training.precision) else "fp32"
        name_rejects(split.train.rejects, "`nelbo data` lists them")
        say(
            f"{config.data.spec}: {config.data.num_train} training images, {config.data.num_held_out} held out, "
            f"{' x '.join(map(str, shape))} (C x H x W), {config.data.num_levels} levels\n"
            f"preset {config.preset}: {recipe.in_words}, {precision}"
            f"{f'; resuming from step {step}' if step else ''}"
        )
        if isinstance(recipe, Recipe) and not step and (about := classes_in_words(recipe, config.data.class_counts)):
            say(about)
        if len(split.test):
            self.without_model = str(baselines_of(split.test.spread(COMPARED), split.train))
            say(f"bits/dim of held-out images without a model: {self.without_model}")
        self.task = self.progress.add_task("training", total=1.0, note="")

    def stepped(self, step: TrainingStep) -> None:
        """Move the bar; without a terminal, print a line now and then."""
        self.first = self.first or step
        past = SMOOTHING if step.step > self.first.step + 1 else 0.0  # the first step is slower than the others
        self.speed = past * self.speed + (1 - past) * step.images_per_second
        self.losses = losses_in_words(step.record, self.verbose) or self.losses
        self.last = step
        self._expect(step)
        parts = (
            self._left(step),
            f"step {step.step}",
            self.held_out,
            f"{self.speed:.0f} images/s",
            self.losses,
        )
        shown = ", ".join(part for part in parts if part)
        if self.task is None and step.fraction < 1:  # an earlier stage took its place
            self.task = self.progress.add_task("training", total=1.0, note="")
        if self.task is not None:
            self.progress.update(self.task, completed=step.fraction, note=shown)
        if not err.is_terminal and self.pace.due():
            say(f"training: {step.fraction:.0%}, {shown}")

    def _left(self, step: TrainingStep) -> str:
        """Write how long the rest takes at this session's speed, which is known from the second step on."""
        first = self.first or step
        if step.fraction <= first.fraction:
            return ""
        pace = (step.seconds - first.seconds) / (step.fraction - first.fraction)
        return f"{duration(pace * (1 - step.fraction))} left"

    def previewed(self, record: dict[str, Any]) -> None:
        """Print the held-out bound of a preview, which is a rough one."""
        if "held_out_bits_per_dim" in record:
            self.held_out = f"bound {record['held_out_bits_per_dim']:.3f} bits/dim"
            say(f"step {record['step']}: held-out bound {_with_error(record)} bits/dim, a rough estimate")
        elif "held_out_chain_bits_per_dim" in record:
            self.held_out = f"chain {record['held_out_chain_bits_per_dim']:.3f} bits/dim"
            say(
                f"step {record['step']}: held-out {self.held_out}, a rough estimate without L_0: the decoder is "
                "trained last"
            )

    def finished(self, record: dict[str, Any]) -> None:
        """Print the held-out bound of the finished model, and what to do if its training was short."""
        if "held_out_bits_per_dim" in record:
            say(
                f"held-out bound of the finished model: {_with_error(record)} bits/dim, a rough estimate (`nelbo "
                f"evaluate` gives a precise one); without a model: {self.without_model}"
            )
        if self.config and self.last and too_short(self.config.recipe, self.config.data.shape, self.last.step):
            say(outcome(self.config.recipe, self.last.step, self.last.seconds))

    def _expect(self, step: TrainingStep) -> None:
        """Say once what a short training will give, when its speed is known."""
        if self.config is None or step.step < WARM or "short" in self.announced:
            return
        self.announced.add("short")
        steps = step.step / max(step.fraction, 1e-9)
        if too_short(self.config.recipe, self.config.data.shape, steps):
            say(forecast(self.config.recipe, steps))

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
            scored = min(8 * self.config.data.num_held_out, SCORED) if self.config else 0
            left = (total + (CALLS_OF_PICTURES + scored) * self.pictures) / (CALLS_OF_A_STEP * self.speed)
            if left > ANNOUNCED_FROM:
                rest = "calibration and pictures take" if self.pictures else "calibration takes"
                say(f"the network is trained; {rest} about {duration(left)} besides the budget")
        if not err.is_terminal and done < total and name not in self.printed:
            self.printed.add(name)
            say(f"{name} ...")
        self.stages(name, done, total)


def spent(config: RunConfig, options: Sequence[str]) -> None:
    """Say that a budget is spent, and which option raises it.

    Args:
        options: those of the budget that is spent: "steps" or "minutes".
    """
    training = config.recipe.training
    amounts = {"steps": f"{training.steps} steps", "minutes": f"{training.minutes or 0:g} minutes"}
    part = "the network's part of " if config.recipe.network_training != training else ""
    say(
        f"{part}the budget of {' and '.join(amounts[name] for name in options)} is spent; give a larger "
        f"{' and '.join(f'--{name}' for name in options)} to train further"
    )


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
    words = f"loss {record['loss']:.4g}{_unit(record)}" if "loss" in record else ""
    if verbose and "loss_by_quarter" in record:
        quarters = " ".join("-" if q is None else f"{q:.3g}" for q in record["loss_by_quarter"])
        words += f" (by quarter of t: {quarters})"
    if "kl" in record:
        words += f" (reconstruction {record['reconstruction']:.4g}, KL {record['kl']:.4g})"
    return words


def _with_error(record: dict[str, Any]) -> str:
    """Write the held-out bound of a line of the metrics with its standard error, if there is one."""
    bits, error = record["held_out_bits_per_dim"], record["held_out_standard_error"]
    return f"{bits:.3f}" if error is None else f"{bits:.3f} +- {error:.3f}"


def _unit(record: dict[str, Any]) -> str:
    return f" {record['loss_unit']}" if "loss_unit" in record else ""
