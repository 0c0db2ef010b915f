"""The tab Train: follow a run while it trains, and start, stop and resume a small one."""

import shutil
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from nelbo.data.names import IMAGE_ENDINGS
from nelbo.errors import ConfigurationError, DataError, NelboError
from nelbo.options import known
from nelbo.plots import bound_curve, loss_curve
from nelbo.studio.collection import Collection, check_pixels
from nelbo.studio.inline import drawn, said, source
from nelbo.studio.speaking import speaking
from nelbo.training import METRICS_FILE, MetricsLog

DIGITS = "digits"
MINUTES = (0.5, 240.0)
SIDES = (16, 24, 32, 48, 64)
MOST_FILES = 5000
EVERY = 3.0  # seconds between looks at the folder
WAIT = 20.0  # seconds for a training to save and end


@dataclass
class Job:
    """A training that was started from the page.

    Attributes:
        folder: the run folder.
        command: the words after `nelbo`.
        process: while it runs, and after.
    """

    folder: Path
    command: Sequence[str]
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def running(self) -> bool:
        """Whether the process runs."""
        return self.process is not None and self.process.poll() is None

    def start(self) -> None:
        """Start or resume the training."""
        if self.running:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with open(self.log, "wb") as log:
            words = [sys.executable, "-m", "nelbo", *self.command]
            self.process = subprocess.Popen(words, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def stop(self) -> None:
        """Stop the training; it saves its state first."""
        if self.process is not None and self.running:
            self.process.terminate()
            with suppress(subprocess.TimeoutExpired):
                self.process.wait(WAIT)

    @property
    def log(self) -> Path:
        """What the process prints."""
        return self.folder.with_name(f"{self.folder.name}.log")

    def words(self) -> str:
        """Return the last line that the process printed."""
        with suppress(OSError):
            lines = self.log.read_text(encoding="utf-8", errors="replace").replace("\r", "\n").splitlines()
            return next((line.strip() for line in reversed(lines) if line.strip()), "")
        return ""


@dataclass
class Trainings:
    """The trainings of a page. Their folders are in `place`, and the names of a visitor are never paths.

    Attributes:
        place: where run folders are made.
        jobs: by the name of the folder.
    """

    place: Path = field(default_factory=lambda: Path("runs"))
    jobs: dict[str, Job] = field(default_factory=dict)

    def begin(self, minutes: float, images: Sequence[str] = (), side: int = 32) -> str:
        """Start a training of the digits, or of images that were uploaded; return its name.

        Raises:
            ConfigurationError: a time or a side that the page does not offer.
            DataError: a file is no image, or there are too many.
        """
        least, most = MINUTES
        if not least <= minutes <= most:
            raise ConfigurationError(f"a training takes {least:g} to {most:g} minutes here, got {minutes:g}.")
        if any(job.running for job in self.jobs.values()):
            raise ConfigurationError("a training is running; stop it first.")
        name = self._free_name()
        options: dict[str, object] = {"data": DIGITS, "out": self.place / name, "minutes": f"{minutes:g}"}
        if images:
            known(str(side), [str(each) for each in SIDES], "side")
            options |= {"data": self._copied(name, images), "size": side}
        words = ["train", *(str(word) for option, value in options.items() for word in (f"--{option}", value))]
        self.jobs[name] = Job(self.place / name, words)
        self.jobs[name].start()
        return name

    def job(self, name: str) -> Job:
        """Return a training of the page.

        Raises:
            ConfigurationError: there is none of this name.
        """
        if name not in self.jobs:
            raise ConfigurationError("the page has not started this training; choose one that it started.")
        return self.jobs[name]

    def stop_all(self) -> None:
        """Stop every training, when the studio ends."""
        for job in self.jobs.values():
            job.stop()

    def _free_name(self) -> str:
        number = 1
        while (self.place / f"studio-{number}").exists() or f"studio-{number}" in self.jobs:
            number += 1
        return f"studio-{number}"

    def _copied(self, name: str, images: Sequence[str]) -> Path:
        """Copy uploaded images into a folder beside the run's."""
        if len(images) > MOST_FILES:
            raise DataError(f"{len(images):,} files are too many; train on their folder by `nelbo train`.")
        kinds = [Path(image).suffix.lower() for image in images]
        for image, kind in zip(images, kinds, strict=True):
            if kind not in IMAGE_ENDINGS:
                raise DataError(f"{Path(image).name} is no image; give PNG, JPEG, WebP or TIFF files.")
            check_pixels(image)
        folder = self.place / f"{name}-images"
        folder.mkdir(parents=True)
        for number, (image, kind) in enumerate(zip(images, kinds, strict=True)):
            shutil.copyfile(image, folder / f"{number:05d}{kind}")
        return folder


def followed(folder: Path) -> str:
    """Return what a run folder holds so far as HTML: the loss, the bound, and the newest samples."""
    records, parts = MetricsLog(folder / METRICS_FILE).records(), list[str]()
    if not records:
        return said("No metrics yet.")
    last = records[-1]
    parts.append(said(f"step {last['step']:,}, {last.get('minutes', 0):.1f} minutes"))
    for draw, name in ((loss_curve, "training loss"), (bound_curve, "held-out bound")):
        with suppress(NelboError):
            parts.append(drawn(draw(records), name))
    pictures = sorted((folder / "samples").glob("*.png"), key=lambda path: path.name)
    final = folder / "samples.png"
    newest = final if final.is_file() else pictures[-1] if pictures else None
    if newest is not None:
        parts += [said("Samples:"), f"<img class='figure' alt='samples' src='{source(newest.read_bytes())}'>"]
    return "".join(parts)


def tab(collection: Collection, trainings: Trainings | None = None) -> None:
    """Build the tab.

    Args:
        trainings: where trainings are started; None only follows runs.
    """
    gr.Markdown("Follow a run while it trains: the loss, the bound of held-out images, and samples.")
    names = collection.names
    chosen = gr.Dropdown(names, value=names[0], label="run", filterable=False, elem_id="train-run")
    if trainings is not None:
        with gr.Row():
            minutes = gr.Number(1, label="minutes", minimum=MINUTES[0], maximum=MINUTES[1], step=0.5)
            side = gr.Dropdown(list(SIDES), value=32, label="side of uploaded images, in pixels", filterable=False)
            images = gr.File(file_count="multiple", file_types=["image"], label="images (empty: digits)", height=120)
        with gr.Row():
            start = gr.Button("Start a new run", variant="primary")
            stop, resume = gr.Button("Stop"), gr.Button("Resume")
    state, view = gr.HTML(elem_id="train-state"), gr.HTML(elem_id="train-view")

    @speaking
    def look(name: str) -> tuple[str, str]:
        job = None if trainings is None else trainings.jobs.get(name)
        folder = collection.run(name).folder if job is None else job.folder
        words = "" if job is None else said(("running: " if job.running else "not running: ") + job.words())
        return words, followed(folder)

    if trainings is not None:

        @speaking
        def begin(minutes: float, side: int, images: Sequence[str] | None) -> Any:
            trainings.begin(float(minutes), images or (), int(side))
            every = [*trainings.jobs, *names]
            return gr.update(choices=every, value=list(trainings.jobs)[-1])

        start.click(begin, [minutes, side, images], chosen)
        stop.click(speaking(lambda name: trainings.job(name).stop()), chosen)
        resume.click(speaking(lambda name: trainings.job(name).start()), chosen)
    gr.Timer(EVERY).tick(look, chosen, [state, view], show_progress="hidden")
    chosen.change(look, chosen, [state, view], show_progress="hidden")
