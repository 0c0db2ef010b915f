"""The pictures of a finished model, drawn into its folder."""

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from nelbo.data import ImageDataset
from nelbo.plots import per_step_bound, picture_of, reconstruction_grid, sample_grid, save, trajectory_strip
from nelbo.progress import StageProgress, no_stages
from nelbo.runs.conditions import condition_like
from nelbo.runs.diffusion_run import DiffusionRun
from nelbo.runs.folder import MODEL_FILE
from nelbo.runs.latent_run import LatentRun
from nelbo.runs.run import Run
from nelbo.runs.vae_run import VAERun

SAMPLES, PAIRS, TRAJECTORY_STEPS = 64, 24, 100

Due = Callable[[str], bool]  # whether the picture of a name is to be drawn


def show_run(
    run: Run, held_out: ImageDataset | None, on_stage: StageProgress = no_stages, *, again: bool = True
) -> None:
    """Draw samples and the other pictures of this kind of model into its folder.

    Args:
        held_out: images for the pictures that need some; None leaves these pictures out.
        on_stage: called with the stage ("sampling", "scoring"), done and total.
        again: draw also the pictures that are newer than the weights.
    """
    PICTURES[run.family](run, held_out, on_stage, lambda name: again or _is_older(run.folder / name))


def _is_older(picture: Path) -> bool:
    """Return whether a picture is missing, or older than the weights in its folder."""
    model = picture.with_name(MODEL_FILE)
    return not picture.is_file() or picture.stat().st_mtime_ns < model.stat().st_mtime_ns


def _show_diffusion(run: DiffusionRun, held_out: ImageDataset | None, on_stage: StageProgress, due: Due) -> None:
    """Draw samples, a trajectory of Algorithm 2 and the bound by t, conditioned by what lies beside held-out images."""

    def sampling(done: int, total: int) -> None:
        on_stage("sampling", done, total)

    if due("samples.png"):
        drawn = run.sample(SAMPLES, progress=sampling, **condition_like(held_out, SAMPLES))
        save(picture_of(drawn, run.levels), run.folder / "samples.png")
    if run.shape[0] in (1, 3) and due("trajectory.png"):  # points of the plane are no images
        steps = min(TRAJECTORY_STEPS, run.schedule.num_steps)
        given = condition_like(held_out, 1)
        chain = run.trajectory(1, sampler="ancestral", steps=steps, **given)  # as in fig. 6 of the paper
        save(trajectory_strip(list(chain)), run.folder / "trajectory.png")
    if held_out is not None and due("bound-per-step.png"):
        report = run.bound(held_out, progress=lambda done, total: on_stage("scoring", done, total))
        if 0 < report.total < math.inf:
            save(per_step_bound([vars(step) for step in report.per_step]), run.folder / "bound-per-step.png")


def _show_vae(run: VAERun, held_out: ImageDataset | None, on_stage: StageProgress, due: Due) -> None:
    """Draw samples, held-out images above their reconstructions, and a traversal of the most used latent dimensions."""
    if due("samples.png"):
        save(picture_of(run.sample(SAMPLES), run.levels), run.folder / "samples.png")
    if held_out is None or run.shape[0] not in (1, 3):
        return
    if due("reconstructions.png"):
        _show_reconstructions(run, held_out)
    if due("latent-traversal.png"):
        walk = run.traversal(held_out)
        save(sample_grid(walk.flatten(0, 1), run.levels, columns=walk.shape[1]), run.folder / "latent-traversal.png")


def _show_latent(run: LatentRun, held_out: ImageDataset | None, on_stage: StageProgress, due: Due) -> None:
    """Draw samples, and held-out images above their reconstructions."""
    if due("samples.png"):
        drawn = run.sample(SAMPLES, progress=lambda done, total: on_stage("sampling", done, total))
        save(picture_of(drawn, run.levels), run.folder / "samples.png")
    if held_out is not None and run.shape[0] in (1, 3) and due("reconstructions.png"):
        _show_reconstructions(run, held_out)


def _show_reconstructions(run: VAERun | LatentRun, held_out: ImageDataset) -> None:
    originals = held_out.images(torch.arange(min(PAIRS, len(held_out))))
    save(reconstruction_grid(originals, run.reconstruct(originals), run.levels), run.folder / "reconstructions.png")


PICTURES: dict[str, Callable[[Any, ImageDataset | None, StageProgress, Due], None]] = {
    "diffusion": _show_diffusion,
    "latent": _show_latent,
    "vae": _show_vae,
}
