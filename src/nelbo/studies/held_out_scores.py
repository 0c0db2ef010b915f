"""The scores of held-out images, with which other images are compared: kept in the run folder, by what they depend on.

`held-out-scores.json` has the digest of the weights and, for each way of scoring, one score per image. Scores of other
weights are not used, and the next write drops them.
"""

import hashlib
import json
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from nelbo.data import ImageDataset, Images
from nelbo.data.given import hash_beside
from nelbo.display import Brief, counted
from nelbo.errors import ConfigurationError, warn
from nelbo.evaluation import Surprise, lossless_bits
from nelbo.evaluation.decision_options import DecisionOptions
from nelbo.files import WriteWarning, hash_tensors, or_warn, write_json
from nelbo.options import record_from
from nelbo.progress import Progress, StageProgress, no_stages
from nelbo.randomness import HELD_OUT, derived_seed
from nelbo.runs import Run, bundled_models
from nelbo.studies.listener import Listener
from nelbo.studies.run_data import held_out_part

HELD_OUT_FILE = "held-out-scores.json"
CHUNK = 64  # images that are hashed at a time


@dataclass(frozen=True)
class HeldOutScores(Brief):
    """The scores of held-out images, and what they depend on beside the weights.

    Attributes:
        own: whether the images are those that the run held out from training.
        images: digest of their pixels.
        num: n, the number of images.
        seed: from which the seed of their draws is derived.
        steps_per_image: values of t for each image; None for all, and for a model without a chain.
        bits_per_dim: n scores.
    """

    own: bool
    images: str
    num: int
    seed: int
    steps_per_image: int | None
    bits_per_dim: tuple[float, ...]

    @property
    def scores(self) -> Tensor:
        """(n,) float64 bits/dim."""
        return torch.tensor(self.bits_per_dim, dtype=torch.float64)


def score_images(
    run: Run, images: Images, options: DecisionOptions, *, seed: int | None = None, progress: Progress | None = None
) -> Tensor:
    """Score images as the options say: (N,) float64 bits/dim.

    Args:
        seed: of the draws, instead of that of the options.

    Raises:
        ConfigurationError: `steps_per_image` is given, and the model has no chain.
    """
    given: dict[str, Any] = {"seed": options.seed if seed is None else seed, "batch_size": options.batch_size}
    run.refuse_chain_options({"steps_per_image": options.steps_per_image})
    if run.has_chain:
        given["steps_per_image"] = options.values_of_t
    return run.score(images, progress=progress, **given)


def stored_scores(run: Run, options: DecisionOptions) -> HeldOutScores | None:
    """Return the scores of the run's own held-out images if its folder has them for these weights and options."""
    num = min(options.num_held_out, run.config.data.num_held_out)
    return next((each for each in _stored(run) if each.own and _fits(each, run, options, num)), None)


def measure_held_out(
    run: Run, options: DecisionOptions, *, data: Images | None = None, progress: StageProgress = no_stages
) -> Surprise:
    """Return how surprising held-out images are; their scores are computed if the run folder does not have them.

    Their draws are independent of those of `score_images`, so that an image of the same kind is exchangeable with them.

    Args:
        data: images that the model has never seen, instead of those that the run held out.
        progress: called with (stage, done, total).

    Raises:
        DataError: the images are missing or unknown, or cannot be compressed.

    Warns:
        WriteWarning: the scores cannot be kept.
    """
    known = stored_scores(run, options) if data is None else None
    if known is not None and options.complexity is None:
        return Surprise(known.scores)
    whole = held_out_part(run, Listener(on_stage=progress)) if data is None else run.dataset_of(data)
    chosen = whole.spread(options.num_held_out)
    digest = _digest(chosen)
    fits = [each for each in _stored(run) if each.images == digest and _fits(each, run, options, len(chosen))]
    bits = fits[0].scores if fits else _computed(run, chosen, options, data is None, digest, progress)
    if options.complexity is None:
        return Surprise(bits)
    stage = f"compressing held-out images as {options.complexity}"
    return Surprise(bits, lossless_bits(options.complexity, chosen, lambda *done: progress(stage, *done)))


def _computed(
    run: Run, images: ImageDataset, options: DecisionOptions, own: bool, digest: str, progress: StageProgress
) -> Tensor:
    """Score held-out images, and keep the scores in the run folder."""
    report: Progress = lambda done, total: progress("scoring held-out images, once", done, total)  # noqa: E731
    bits = score_images(run, images, options, seed=derived_seed(options.seed, HELD_OUT), progress=report)
    values = tuple(bits.tolist())
    _keep(run, HeldOutScores(own, digest, len(images), options.seed, _values_of_t(run, options), values))
    return bits


def _fits(stored: HeldOutScores, run: Run, options: DecisionOptions, num: int) -> bool:
    """Whether scores were computed as the options say."""
    found = (stored.num, stored.seed, stored.steps_per_image)
    return found == (num, options.seed, _values_of_t(run, options)) and len(stored.bits_per_dim) == num


def _values_of_t(run: Run, options: DecisionOptions) -> int | None:
    return options.values_of_t if run.has_chain else None


def _stored(run: Run) -> Sequence[HeldOutScores]:
    """Return what the run folder has for these weights; nothing if the file is missing, damaged or of other weights."""
    with suppress(OSError, ValueError, TypeError, KeyError, AttributeError, ConfigurationError):
        plain = json.loads((run.folder / HELD_OUT_FILE).read_text(encoding="utf-8"))
        if plain["model"] == run.digest():
            return [record_from(HeldOutScores, each) for each in plain["scores"]]
    return []


def _keep(run: Run, scores: HeldOutScores) -> None:
    """Add scores to the file in the run folder. That of a bundled model is a part of the package and stays as it is."""
    if run.folder in bundled_models().values():
        num = counted(len(scores.bits_per_dim), "held-out image")
        warn(
            f"the scores of {num} are not stored in a bundled model; to keep such scores, use a copy of {run.folder}.",
            WriteWarning,
        )
        return
    plain = [vars(each) for each in (*_stored(run), scores)]
    with or_warn():  # the run may be shared and read-only
        write_json(run.folder / HELD_OUT_FILE, {"nelbo": version("nelbo"), "model": run.digest(), "scores": plain})


def _digest(images: ImageDataset) -> str:
    """Return 64 hexadecimal digits that tell the images from others."""
    digest = hashlib.sha256(f"{len(images)} {images.shape} {images.levels}".encode())
    for chosen in torch.arange(len(images)).split(CHUNK):
        hash_tensors(digest, {"images": images.images(chosen)})
        hash_beside(digest, images, chosen)
    return digest.hexdigest()
