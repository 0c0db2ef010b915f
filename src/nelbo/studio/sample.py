"""The tab Sample: the reverse process as it runs, and two settings side by side from the same noise."""

import shlex
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import gradio as gr
import torch

from nelbo.errors import ConfigurationError, shown
from nelbo.plots import animate_images, sample_grid, save
from nelbo.probability import data_to_levels
from nelbo.runs import DiffusionRun, SamplingOptions
from nelbo.runs.classes import IN_TURN, WITHOUT
from nelbo.runs.sampling import pixels_of
from nelbo.samplers import Step
from nelbo.samplers.names import DEFAULT_SAMPLER, SAMPLER_NAMES
from nelbo.studio.collection import Collection
from nelbo.studio.inline import grid, row, said
from nelbo.studio.speaking import speaking

MOST = 64  # images at once
FRAMES = 48  # of an animation, at most
BY_FREQUENCY = "by frequency"  # of the classes in training
LARGEST_SEED = 2**32 - 1
FINAL = 5  # times that the last frame of an animation is kept


@dataclass(frozen=True)
class Setting:
    """How one of the two sets of images is sampled; None stands for the default of `SamplingOptions`."""

    sampler: str = DEFAULT_SAMPLER
    steps: int | None = None
    label: str | None = None
    guidance: float | None = None

    @classmethod
    def of(cls, sampler: str, steps: str, label: str, guidance: str) -> "Setting":
        """Read what the components hold; an empty field is the default.

        Raises:
            ConfigurationError: a field holds no number.
        """
        return cls(
            sampler,
            _number(steps, "steps", int),
            None if label == BY_FREQUENCY else label,
            _number(guidance, "guidance", float),
        )

    def words(self, run: DiffusionRun) -> str:
        """Return the setting in words, with the defaults of the model."""
        resolved = self.resolved(run)
        classes = f", class {self.label or BY_FREQUENCY}" if run.recipe.conditional else ""
        guided = f", guidance {resolved.guidance:g}" if resolved.guidance not in (None, 1) else ""
        return f"{self.sampler}, {resolved.steps} steps{classes}{guided}"

    @property
    def options(self) -> SamplingOptions:
        """The same for `DiffusionRun.sample`."""
        return SamplingOptions.of(**self._given())

    def resolved(self, run: DiffusionRun) -> SamplingOptions:
        """Return the options with the defaults of a model filled in."""
        return run.model.with_defaults(self.options, labelled=self.label != WITHOUT)

    def _given(self) -> dict[str, Any]:
        sampler = None if self.sampler == DEFAULT_SAMPLER else self.sampler
        given = {"sampler": sampler, "steps": self.steps, "guidance": self.guidance}
        return {name: value for name, value in given.items() if value is not None}

    def command(self, name: str, num: int, seed: int) -> str:
        """Return the command line that draws the same images."""
        words = ["nelbo", "sample", name]
        for option, value in {"num": num, "seed": seed, **self._given(), "label": self.label}.items():
            words += [] if value is None else [f"--{option}", str(_plain(value))]
        return shlex.join(words)

    def python(self, name: str, num: int, seed: int) -> str:
        """Return the Python lines that draw the same images."""
        given = {"seed": seed, "label": self.label, **self._given()}
        words = [f"{option}={_plain(value)!r}" for option, value in given.items() if value is not None]
        return f"import nelbo\n\nrun = nelbo.load({name!r})\nimages = run.sample({num}, {', '.join(words)})"


@dataclass(frozen=True, eq=False)
class Progress:
    """What is known while images are drawn.

    Attributes:
        steps: for each setting, its last step.
        done, total: steps.
        seconds: since the beginning.
    """

    steps: Sequence[Step]
    done: int
    total: int
    seconds: float

    @property
    def words(self) -> str:
        """The progress in words."""
        if self.done >= self.total:
            return f"{self.total} steps in {self.seconds:.1f} seconds"
        left = self.seconds / max(self.done, 1) * (self.total - self.done)
        return f"step {self.done} of {self.total}, about {left:.0f} seconds left"


def draw(run: DiffusionRun, num: int, seed: int, settings: Sequence[Setting]) -> Iterator[Progress]:
    """Draw images by each setting, from the same noise; a shorter walk waits at its end."""
    walks = [run.trajectory(num, seed=seed, label=each.label, options=each.options) for each in settings]
    total = sum(each.resolved(run).steps or 0 for each in settings)
    began, done, last = time.perf_counter(), 0, list[Step]()
    with torch.no_grad():
        for steps in zip_longest(*walks):
            last = [before if step is None else step for step, before in zip(steps, last or steps, strict=True)]
            done += sum(step is not None and step.t > 0 for step in steps)
            yield Progress(last, done, total, time.perf_counter() - began)


def show(run: DiffusionRun, progress: Progress, settings: Sequence[Setting], noisy: bool) -> str:
    """Return the pictures of each setting as HTML.

    Args:
        noisy: show x_t instead of the predicted image.
    """
    pictures = []
    for setting, step in zip(settings, progress.steps, strict=True):
        x = step.x_t if noisy else step.x_0
        levels = pixels_of(x, run.levels) if step.t == 0 else data_to_levels(x.clamp(-1, 1), run.levels).byte().cpu()
        pictures.append(grid(levels, run.levels, setting.words(run), note=f"t = {step.t}"))
    return row(pictures)


def files(run: DiffusionRun, frames: Sequence[Sequence[Step]], folder: Path) -> tuple[Path, Path]:
    """Write the images of all settings beside each other as samples.png, and how they came about as samples.gif.

    Args:
        frames: the steps of all settings, from noise to images.
    """
    final = torch.cat([pixels_of(step.x_0, run.levels) for step in frames[-1]])
    kept = [*frames[:: -(-len(frames) // FRAMES)], *[frames[-1]] * FINAL]
    batches = ((f"t = {steps[0].t}", torch.cat([step.x_0.cpu() for step in steps])) for steps in kept)
    columns = max(1, round(len(final) ** 0.5))
    return (
        save(sample_grid(final, run.levels, columns), folder / "samples.png"),
        save(animate_images(batches, columns), folder / "samples.gif"),
    )


def _plain(value: object) -> object:
    """Return a float that is whole as an int, for shorter commands."""
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _classes(run: DiffusionRun) -> list[str]:
    return [BY_FREQUENCY, WITHOUT, IN_TURN, *run.config.data.class_names] if run.recipe.conditional else [BY_FREQUENCY]


def _number(text: str, name: str, kind: type[int] | type[float]) -> Any:
    """Read a field; None if it is empty.

    Raises:
        ConfigurationError: it holds no number.
    """
    if not text.strip():
        return None
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise ConfigurationError(f"{name} is {shown(text)}; expected {what}, or nothing for the default.") from None


def whole(value: float | None, name: str, least: int, most: int) -> int:
    """Return the whole number of a field.

    Raises:
        ConfigurationError: it is empty, or outside its range.
    """
    if value is None or not least <= value <= most:
        given = "empty" if value is None else f"{value:g}"
        raise ConfigurationError(f"{name} is {given}; enter a whole number within {least}..{most}.")
    return int(value)


def _setting(run: DiffusionRun, title: str) -> list[Any]:
    """Build the components of one setting: sampler, steps, class and guidance; empty fields are the defaults."""
    usual = Setting().resolved(run)
    gr.Markdown(title)
    with gr.Row():
        parts = [
            gr.Dropdown(list(SAMPLER_NAMES), value=DEFAULT_SAMPLER, label="sampler", filterable=False),
            gr.Textbox("", label="steps", placeholder=f"{usual.steps} (the default)", max_lines=1),
            gr.Dropdown(_classes(run), value=BY_FREQUENCY, label="class", filterable=False),
            gr.Textbox("", label="guidance", placeholder=f"{usual.guidance or 1:g} (the default)", max_lines=1),
        ]
    return parts


def _fit(collection: Collection, model: Any, first: Sequence[Any], second: Sequence[Any]) -> None:
    """Let the classes and the defaults that are shown follow the model, the sampler and the class."""

    def usual(name: str, sampler: str, label: str) -> tuple[Any, Any]:
        options = Setting.of(sampler, "", label, "").resolved(collection.diffusion(name))
        values = options.steps, f"{options.guidance or 1:g}"
        steps, guidance = (gr.update(placeholder=f"{value} (the default)") for value in values)
        return steps, guidance

    @speaking
    def other_model(name: str) -> tuple[Any, ...]:
        choices = gr.update(choices=_classes(collection.diffusion(name)), value=BY_FREQUENCY)
        return (choices, *usual(name, DEFAULT_SAMPLER, BY_FREQUENCY)) * 2

    model.input(other_model, model, [parts[i] for parts in (first, second) for i in (2, 1, 3)], queue=False)
    for parts in (first, second):
        for changed in (parts[0], parts[2]):
            changed.change(usual, [model, parts[0], parts[2]], [parts[1], parts[3]], queue=False)


def tab(collection: Collection) -> None:
    """Build the tab."""
    names = collection.diffusion_names
    gr.Markdown("The reverse process turns noise into images. Watch what the network predicts at each step.")
    with gr.Row():
        model = gr.Dropdown(names, value=names[0], label="model", visible=len(names) > 1, filterable=False)
        num = gr.Number(16, label=f"images (1 to {MOST})", precision=0)
        seed = gr.Number(0, label="seed", precision=0)
        noisy = gr.Checkbox(False, label="show the noisy images x_t")
    first = _setting(collection.diffusion(names[0]), "**Setting**")
    beside = gr.Checkbox(False, label="compare with a second setting, from the same noise")
    with gr.Group(visible=False) as group:
        second = _setting(collection.diffusion(names[0]), "**Second setting**")
    beside.input(lambda on, *own: (gr.update(visible=on), *own), [beside, *first], [group, *second], queue=False)
    with gr.Row():
        start, stop = gr.Button("Draw", variant="primary"), gr.Button("Stop")
    state, view = gr.HTML(elem_id="sample-state"), gr.HTML(elem_id="sample-view")
    with gr.Row():
        png = gr.DownloadButton("Download PNG", interactive=False)
        gif = gr.DownloadButton("Download GIF", interactive=False)
    with gr.Accordion("The same images without this page", open=False):
        command = gr.Code(language="shell", label="command", interactive=False)
        python = gr.Code(language="python", label="Python", interactive=False)

    @speaking
    def begin(
        name: str, num: float | None, seed: float | None, noisy: bool, beside: bool, *parts: Any
    ) -> Iterator[tuple[Any, ...]]:
        run = collection.diffusion(name)
        given = whole(num, "the number of images", 1, MOST), whole(seed, "the seed", 0, LARGEST_SEED)
        settings = [Setting.of(*parts[:4]), *([Setting.of(*parts[4:])] if beside else [])]
        commands = "\n".join(each.command(name, *given) for each in settings)
        lines = "\n\n".join(each.python(name, *given) for each in settings)
        waiting, frames = gr.update(interactive=False), list[Sequence[Step]]()
        for progress in draw(run, *given, settings):
            frames.append(progress.steps)
            pictures = show(run, progress, settings, noisy)
            yield said(progress.words), pictures, waiting, waiting, commands, lines
        ready = [gr.update(value=str(path), interactive=True) for path in files(run, frames, collection.folder())]
        yield said(progress.words), pictures, *ready, commands, lines

    inputs = [model, num, seed, noisy, beside, *first, *second]
    drawing = start.click(begin, inputs, [state, view, png, gif, command, python], show_progress="hidden")
    stop.click(lambda: said("Stopped."), None, state, cancels=[drawing], queue=False)
    _fit(collection, model, first, second)
