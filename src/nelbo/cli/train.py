"""`nelbo train`: Algorithm 1 on a person's own images."""

import json
import shlex
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

import nelbo
from nelbo.cli.console import Bars, err, name_rejects
from nelbo.data import Split
from nelbo.errors import ConfigurationError
from nelbo.recipes import Recipe
from nelbo.runs import RunConfig
from nelbo.studies import DataRequest, Listener
from nelbo.training import TrainingStep, bf16_wanted


def train(
    out: Annotated[Path, typer.Option(help="The run folder. If it holds a run already, training goes on with it.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="digits, fashion-mnist, toy:NAME, a folder of images, .npy, .npz, or IDX. Not needed to go on."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="A recipe by name (`nelbo presets`); chosen by the data if absent.")
    ] = None,
    minutes: Annotated[
        float | None,
        typer.Option(help="Time budget, over every session of the run; calibration and pictures come on top."),
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Budget in optimizer steps.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images an optimizer step, over all processes.")] = None,
    micro_batch: Annotated[
        int | None, typer.Option(help="Images a pass, to save memory: the mathematics stays.")
    ] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Adam's learning rate.")] = None,
    seed: Annotated[int | None, typer.Option(help="Of everything that is drawn.")] = None,
    size: Annotated[int | None, typer.Option(help="Resize and crop images to this side.")] = None,
    mode: Annotated[str | None, typer.Option(help="L (grey) or RGB; detected if absent.")] = None,
    held_out: Annotated[float | None, typer.Option(help="Share or number of images to hold out.")] = None,
    on_reject: Annotated[
        str, typer.Option(help="skip: go on without files that can't be decoded; stop: refuse.")
    ] = "skip",
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help="Mirror images at random.")] = None,
    conditional: Annotated[
        bool | None, typer.Option("--conditional/--unconditional", help="Learn from labels.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="auto, bf16 or fp32.")] = None,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help="Use torch.compile.")] = None,
    workers: Annotated[
        int | None,
        typer.Option(help="Processes that decode images; if absent as many as help, none for images held in memory."),
    ] = None,
    save_every: Annotated[
        int | None, typer.Option(help="Steps between saved states (besides every 5 minutes).")
    ] = None,
    preview_every: Annotated[
        int | None, typer.Option(help="Steps between previews (a tenth of the budget if absent).")
    ] = None,
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="Also write the metrics for TensorBoard.")] = False,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="NAME=VALUE", help="Any other setting, e.g. --set network.base=64."),
    ] = None,
) -> None:
    """Train a model. Ctrl-C saves and leaves; the same command goes on where it stopped.

    The run folder then holds the weights, the configuration, the metrics, samples and curves: `nelbo sample`,
    `nelbo evaluate` and `nelbo score` need nothing else.
    """
    given = {
        "training.minutes": minutes,
        "training.steps": steps,
        "training.batch_size": batch_size,
        "training.micro_batch": micro_batch,
        "training.learning_rate": learning_rate,
        "training.seed": seed,
        "training.flip": flip,
        "training.precision": precision,
        "training.compile": compile,
        "training.workers": workers,
        "training.save_every": save_every,
        "training.preview_every": preview_every,
        "conditional": conditional,
    }
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    overrides |= dict(parse_setting(text) for text in set_ or [])
    if data is None and (size, mode, held_out) != (None, None, None):
        raise ConfigurationError("--size, --mode and --held-out say how to read --data; give that too.")
    request = None if data is None else DataRequest(data, size, mode, held_out, on_reject)
    with TrainingDisplay() as display:
        run = nelbo.train(
            request,
            out,
            preset=preset,
            overrides=overrides,
            tensorboard=tensorboard,
            listener=display.listener(),
        )
    if display.stopped:
        err.print(display.stopped, highlight=False, soft_wrap=True)
        return
    name = shlex.quote(str(run.folder))
    drawn = [each for each in ("samples.png", "bound.png", "loss.png") if (run.folder / each).exists()]
    err.print(
        f"{run.folder} is trained: look at {', '.join(drawn)} in it, then try\n"
        f"  nelbo sample {name} --num 64 --out samples.png\n  nelbo evaluate {name}",
        highlight=False,
        soft_wrap=True,
    )


def parse_setting(text: str) -> tuple[str, Any]:
    """`NAME=VALUE` of --set, the value read as JSON, or as a word where it is none."""
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise ConfigurationError(f"--set {text!r} is not of the form NAME=VALUE, such as --set training.ema=0.999.")
    try:
        return name, json.loads(value)
    except json.JSONDecodeError:
        return name, value


class TrainingDisplay:
    """The training bar: share of the budget, images/s, loss by quarter of t, and the last held-out bound."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self.progress = Progress(*columns, console=err)
        self.stages = Bars(self.progress)
        self.task: TaskID | None = None
        self.losses = self.held_out = self.stopped = self.variance = ""
        self.speed = 0.0
        self.told: set[str] = set()

    def __enter__(self) -> "TrainingDisplay":
        self.progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.progress.stop()

    def listener(self) -> Listener:
        """What the training session calls."""
        return Listener(self.configured, self.stepped, self.previewed, self.staged, self.halted)

    def configured(self, config: RunConfig, split: Split, step: int) -> None:
        """Say what is about to happen."""
        shape, recipe = config.data.shape, config.recipe
        self.variance = f" (variance {recipe.variance})" if isinstance(recipe, Recipe) else ""
        precision = "bf16" if bf16_wanted(recipe.training.precision) else "fp32"
        name_rejects(split.train.rejects, "`nelbo data` lists them")
        err.print(
            f"{config.data.spec}: {config.data.num_train} images to train on, {config.data.num_held_out} held out, "
            f"{' x '.join(map(str, shape))} (C x H x W), {config.data.levels} levels\n"
            f"preset {config.preset}: {recipe.in_words}, {precision}"
            f"{f'; going on from step {step}' if step else ''}",
            highlight=False,
            soft_wrap=True,
        )
        if recipe.training.steps is not None and step >= recipe.training.steps:
            err.print(f"its budget of {recipe.training.steps} steps is spent; give more --steps to train further")
        self.task = self.progress.add_task("training", total=1.0, note="")

    def stepped(self, progress: TrainingStep) -> None:
        """Move the bar."""
        self.speed = (
            progress.images_per_second if not self.speed else 0.95 * self.speed + 0.05 * progress.images_per_second
        )
        record = progress.record
        if "loss" in record:
            self.losses = f"loss {record['loss']:.4g}"
        if "loss_by_quarter" in record:
            quarters = " ".join("-" if q is None else f"{q:.3g}" for q in record["loss_by_quarter"])
            self.losses += f" (by quarter of t: {quarters})"
        if "kl" in record:
            self.losses += f" (reconstruction {record['reconstruction']:.4g}, KL {record['kl']:.4g})"
        left = progress.seconds / max(progress.fraction, 1e-9) * (1 - progress.fraction)
        note = f"step {progress.step}, {self.speed:.0f} images/s, {eta(left)} left"
        if self.task is not None:
            shown = " | ".join(part for part in (note, self.losses, self.held_out) if part)
            self.progress.update(self.task, completed=progress.fraction, note=shown)

    def previewed(self, record: dict[str, Any]) -> None:
        """Print the held-out bound."""
        if "held_out_bits_per_dim" in record:
            bits, error = record["held_out_bits_per_dim"], record["held_out_standard_error"]
            self.held_out = f"held-out bound {bits:.3f}"
            spread = "" if error is None else f" +- {error:.3f}"
            err.print(
                f"step {record['step']}: held-out bound {bits:.3f}{spread} bits/dim{self.variance}",
                highlight=False,
                soft_wrap=True,
            )

    def halted(self, name: str, step: int) -> None:
        """Remember that training was ended before its time."""
        self.stopped = f"stopped by {name} at step {step}, and saved; the same command goes on from there"

    def staged(self, name: str, done: int, total: int) -> None:
        """Show a stage around training."""
        if self.task is not None:
            self.progress.remove_task(self.task)
            self.task = None
        if not err.is_terminal and done < total and name not in self.told:
            self.told.add(name)
            err.print(f"{name} ...")
        self.stages(name, done, total)


def eta(seconds: float) -> str:
    """A duration as 1:23:45 or 2:34."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
