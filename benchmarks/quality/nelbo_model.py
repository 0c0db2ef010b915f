"""Models of nelbo: a preset with changes, trained by `nelbo.train` in a run folder."""

import nelbo
from benchmarks.quality.clock import SAVE_SECONDS, Trained, machine, peak_bytes, say
from benchmarks.quality.plan import Job
from nelbo.data import Split
from nelbo.files import read_metadata
from nelbo.runs import DataOptions, DiffusionRun, load_as
from nelbo.studies import DataRequest, Listener, train
from nelbo.training import STATE_FILE, TrainingStep

RUN, NEVER = "run", 10**9


class Nelbo:
    """nelbo itself, without previews, which the others do not have either.

    Its last preview, its calibration and its pictures come after the last step.
    """

    packages: tuple[str, ...] = ()

    def train(self, job: Job, split: Split) -> Trained | None:
        """Train or resume; None if a signal stopped the training."""
        stopped, listening = list[str](), _Progress(job)
        overrides = {
            **job.settings["overrides"],
            "training.minutes": job.minutes,
            "training.seed": job.repeat,
            "training.save_minutes": SAVE_SECONDS / 60,
            "training.preview_every": NEVER,
        }
        run = train(
            DataRequest(**job.data),
            job.place / RUN,
            preset=job.settings["preset"],
            overrides=overrides,
            listener=Listener(on_step=listening, on_stop=lambda name, step: stopped.append(name)),
        )
        if stopped:
            return None
        state = read_metadata(job.place / RUN / STATE_FILE)
        return Trained(
            steps=state["step"],
            seconds=state["seconds"],
            parameters=sum(parameter.numel() for parameter in run.network.parameters()),
            peak_bytes=listening.peak or peak_bytes(),
            version=f"nelbo {nelbo.__version__}",
            machine=machine(),
            job=job.identity(),
        )

    def load(self, job: Job, data: DataOptions) -> DiffusionRun:
        """Load the run."""
        return load_as(DiffusionRun, job.place / RUN, device="cpu")


class _Progress:
    """Prints the progress every minute, and keeps the peak memory before calibration and pictures."""

    def __init__(self, job: Job) -> None:
        self.job, self.peak, self.said = job, 0, 0.0

    def __call__(self, step: TrainingStep) -> None:
        self.peak = peak_bytes()
        if step.seconds - self.said >= SAVE_SECONDS:
            self.said = step.seconds
            say(self.job, step.step, step.seconds)
