"""`nelbo train`: Algorithm 1 on the user's images."""

from __future__ import annotations

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nelbo.cli.console import say
from nelbo.cli.ending import Ended
from nelbo.cli.options import (
    ConditionImagesOption,
    MaskOption,
    SetOption,
    TableOption,
    flag_help,
    parse_settings,
)
from nelbo.data.names import read_range, read_size
from nelbo.errors import SETTING
from nelbo.options import known
from nelbo.recipes.presets import PRESETS
from nelbo.recipes.recipe import Recipe
from nelbo.studies.data_request import DataRequest
from nelbo.training.options import TrainerOptions

if TYPE_CHECKING:
    from nelbo.studies import Listener


def _of_training(name: str) -> str:
    return flag_help(TrainerOptions, name, f"{SETTING}training.")


def _of_data(name: str) -> str:
    return flag_help(DataRequest, name)


def train(
    out: Annotated[
        Path,
        typer.Option("--out", "-o", help="Run folder to write. If it contains an unfinished run, training resumes."),
    ],
    data: Annotated[
        str | None,
        typer.Option(
            help="Images: digits, fashion-mnist, toy:NAME (moons, spiral, checkerboard, eight-gaussians), a folder of "
            "images, a .npy, .npz or Zarr array, a folder of IDX files (MNIST format), WebDataset shards, "
            "hf:OWNER/NAME or Parquet files; or a stream: the URL of shards, or stream: before the others. Not needed "
            "to resume."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Named settings (see `nelbo presets`); the default depends on the data.")
    ] = None,
    minutes: Annotated[float | None, typer.Option(help=_of_training("minutes"))] = None,
    steps: Annotated[int | None, typer.Option(help=_of_training("steps"))] = None,
    batch_size: Annotated[int | None, typer.Option(help=_of_training("batch_size"))] = None,
    micro_batch: Annotated[int | None, typer.Option(help=_of_training("micro_batch"))] = None,
    learning_rate: Annotated[float | None, typer.Option(help=_of_training("learning_rate"))] = None,
    seed: Annotated[int | None, typer.Option(help=_of_training("seed"))] = None,
    size: Annotated[str | None, typer.Option(metavar="SIDE", help=_of_data("size"))] = None,
    mode: Annotated[str | None, typer.Option(help=_of_data("mode"))] = None,
    held_out: Annotated[float | None, typer.Option(help=_of_data("held_out"))] = None,
    on_reject: Annotated[str | None, typer.Option(help=_of_data("on_reject"))] = None,
    num_images: Annotated[int | None, typer.Option(help=_of_data("num_images"))] = None,
    mask: MaskOption = None,
    table: TableOption = None,
    condition_images: ConditionImagesOption = None,
    range: Annotated[str | None, typer.Option(help=_of_data("range"))] = None,
    quantum: Annotated[float | None, typer.Option(help=_of_data("quantum"))] = None,
    flip: Annotated[bool | None, typer.Option("--flip/--no-flip", help=_of_training("flip"))] = None,
    conditional: Annotated[
        bool | None, typer.Option("--conditional/--unconditional", help=flag_help(Recipe, "conditional"))
    ] = None,
    precision: Annotated[str | None, typer.Option(help=_of_training("precision"))] = None,
    compile: Annotated[bool | None, typer.Option("--compile/--no-compile", help=_of_training("compile"))] = None,
    workers: Annotated[int | None, typer.Option(help=_of_training("workers"))] = None,
    save_every: Annotated[int | None, typer.Option(help=_of_training("save_every"))] = None,
    preview_every: Annotated[int | None, typer.Option(help=_of_training("preview_every"))] = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard logs. Needs the extra tensorboard.")
    ] = False,
    pictures: Annotated[
        bool, typer.Option("--pictures/--no-pictures", help="Draw samples and other pictures of the finished model.")
    ] = True,
    verbose: Annotated[bool, typer.Option("--verbose", help="Also show the loss by quarter of t.")] = False,
    set_: SetOption = None,
) -> None:
    """Train a model. Press Ctrl-C to save and stop; run the same command again to resume.

    Settings that you do not set take the values of the preset. After training, the run folder contains the weights, the
    configuration, metrics, samples and curves. `nelbo evaluate` also reads the held-out images from --data.
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
    overrides |= parse_settings(set_, overrides)
    if preset is not None:
        known(preset, PRESETS, "preset")  # before torch is imported
    reading: dict[str, Any] = {"mode": mode, "held_out": held_out, "on_reject": on_reject, "quantum": quantum}
    reading |= {"mask": mask, "table": table, "condition_images": condition_images, "num_images": num_images}
    reading |= {"size": read_size(size), "range": None if range is None else read_range(range)}
    reading = {name: value for name, value in reading.items() if value is not None}
    _train(data, reading, out, preset, overrides, tensorboard, pictures, verbose)


def _train(
    data: str | None,
    reading: dict[str, Any],
    out: Path,
    preset: str | None,
    overrides: dict[str, Any],
    tensorboard: bool,
    pictures: bool,
    verbose: bool,
) -> None:
    """Train with a display, then name the pictures and the next commands."""
    import nelbo
    from nelbo.cli.display import TrainingDisplay

    work = _Work()
    try:
        with TrainingDisplay(verbose, pictures) as display:
            run = nelbo.train(
                data,
                out,
                preset=preset,
                overrides=overrides,
                tensorboard=tensorboard,
                pictures=pictures,
                listener=work.noting(display.listener()),
                **reading,
            )
    except (KeyboardInterrupt, Ended) as end:
        say(work.stopped)
        if isinstance(end, Ended):
            raise
        raise typer.Exit(130) from None
    if display.stopped:
        say(display.stopped)
        return
    name = shlex.quote(str(run.folder))
    drawn = sorted(path.name for path in run.folder.glob("*.png"))
    say(
        f"{run.folder} is trained{': its pictures are ' if drawn else ''}{', '.join(drawn)}. Next:\n"
        f"  nelbo sample {name} --num 64 --out samples.png\n  nelbo evaluate {name}"
    )


@dataclass
class _Work:
    """What a training run does at the moment, for the message if it is stopped there.

    Attributes:
        name: the stage, such as "calibrating".
        begun: whether there is a run to resume.
    """

    name: str = "starting"
    begun: bool = False

    @property
    def stopped(self) -> str:
        """What to print if a signal ends the run."""
        return f"stopped while {self.name}; the same command {'resumes' if self.begun else 'starts again'}"

    def noting(self, listener: Listener) -> Listener:
        """Return the listener so that it also notes the work."""

        def configured(*arguments: Any) -> None:
            self.name, self.begun = "training", True
            listener.on_config(*arguments)

        def staged(name: str, done: int, total: int) -> None:
            self.name = name
            listener.on_stage(name, done, total)

        return replace(listener, on_config=configured, on_stage=staged)
