"""The refinement in a run folder: p(fine levels | coarse levels) of a model of images of more than 256 levels."""

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import ImageDataset
from nelbo.diffusion import bits_per_dim, sum_dims
from nelbo.errors import RunError
from nelbo.evaluation import BoundReport
from nelbo.files import read_tensors, write_tensors
from nelbo.progress import Progress
from nelbo.refinement import Refinement
from nelbo.refinement.storage import fingerprint_of, model_from, settings_of, tensors_of

REFINEMENT_FILE = "refinement.safetensors"
CHUNK = 64  # images


def save_refinement(model: Refinement, folder: Path) -> None:
    """Write a refinement into a run folder."""
    stated = {"settings": settings_of(model), "fingerprint": fingerprint_of(model).hex()}
    write_tensors(folder / REFINEMENT_FILE, tensors_of(model), stated)


def load_refinement(folder: Path, channels: int) -> Refinement | None:
    """Read the refinement of a run of images of C channels; None if it is not trained yet.

    Raises:
        RunError: its file is damaged.
        CodecError: this machine does not compute its integers exactly.
    """
    path = folder / REFINEMENT_FILE
    if not path.is_file():
        return None
    tensors, metadata = read_tensors(path)
    try:
        found = model_from(metadata.get("settings", {}), tensors, channels)
    except RunError as error:
        raise RunError(f"{path}: {error.marked}") from error
    if fingerprint_of(found).hex() != metadata.get("fingerprint"):
        raise RunError(f"{path} is damaged: its tensors do not match its fingerprint; restore the file from a copy.")
    found.require_exact()
    return found


def refined(report: BoundReport, model: Refinement, images: ImageDataset, progress: Progress | None) -> BoundReport:
    """Add the bits of the fine levels to the bound of the coarse ones, as a part of L_0.

    L_0 = -log p(x_0|x_1) = -log p(coarse levels|x_1) - log p(fine levels|coarse levels).
    """
    bits = list[Tensor]()
    for chosen in torch.arange(len(images)).split(CHUNK):
        bits.append(bits_per_dim(sum_dims(model.nats(images.images(chosen))), report.num_dims))
        if progress is not None:
            progress(int(chosen[-1]) + 1, len(images))
    scores = report.scores + torch.cat(bits)
    mean = float(torch.cat(bits).mean())
    first, *later = report.per_step
    spread = float(scores.std()) / len(scores) ** 0.5 if len(scores) > 1 else report.standard_error
    return replace(
        report,
        total=report.total + mean,
        decoder=report.decoder + mean,
        standard_error=spread,
        scores=scores,
        levels=images.levels,
        per_step=[replace(first, bits_per_dim=first.bits_per_dim + mean), *later] if first.t == 1 else report.per_step,
    )
