"""Features for images that no bundled classifier knows: of a classifier of their classes, or of a random network."""

import math
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import Split
from nelbo.errors import DataError
from nelbo.evaluation import FeatureModule
from nelbo.networks import Classifier, ClassifierOptions
from nelbo.probability import levels_to_data
from nelbo.runs.data_options import DataOptions
from nelbo.runs.run import Run
from nelbo.studies.classifiers import load_classifier, train_features
from nelbo.studies.features import features_for, knows
from nelbo.studies.listener import Listener
from nelbo.studies.run_data import data_of

CLASSIFIER_FILE = "classifier.safetensors"
WIDTHS, NUM_FEATURES = (16, 32, 64), 32
STEPS, SEED = 600, 0


def features_of_run(
    run: Run,
    path: str | Path | None = None,
    *,
    needs_data: bool = True,
    device: str | None = None,
    listener: Listener | None = None,
) -> FeatureModule:
    """Return the features for distances between images like those of a run.

    They are those of `path` or of a bundled classifier (see `features_for`), or else those of `own_features`, whose
    classifier is kept in the run folder.

    Args:
        needs_data: raise if the images of the run cannot be read. Otherwise the features are those of the classifier in
            the run folder, or of a random network.

    Raises:
        ConfigurationError, RunError, DataError: the file cannot be used, or the images of the run cannot be read.
    """
    data = run.config.data
    if path is not None or knows(data):
        return features_for(data, path, device=device)
    listener, device = listener or Listener(), _device(device)
    try:
        split = data_of(run, listener)
    except DataError:
        if needs_data:
            raise
        classifier = run.folder / CLASSIFIER_FILE
        if classifier.is_file():
            return load_classifier(classifier, device=device).features()
        return _random(data, device, "the images of the run cannot be read to train a classifier")
    return own_features(data, split, run.folder, device=device, listener=listener)


def _device(device: str | None) -> str:
    return device or ("cuda" if torch.cuda.is_available() else "cpu")


def own_features(
    data: DataOptions, split: Split, place: Path, *, device: str | None = None, listener: Listener | None = None
) -> FeatureModule:
    """Return the features of a classifier of the images' labels, or of a random network if they have none.

    The classifier is trained once, in a minute or less, and kept in the folder `place`.
    """
    device = _device(device)
    path, progress = place / CLASSIFIER_FILE, (listener or Listener()).on_stage
    if not _has_classes(split):
        return _random(data, device, "the images have no classes")
    if not path.is_file():
        train_features(
            split,
            _options(data, len(data.class_names)),
            steps=STEPS,
            seed=SEED,
            device=device,
            progress=lambda done, total: progress("training a classifier for the distance", done, total),
        ).save(path)
    return load_classifier(path, device=device).features()


def _has_classes(split: Split) -> bool:
    """Return whether all images have a class, of at least two."""
    labels = [part.labels for part in (split.train, split.test)]
    if any(each is None or not len(each) or int(each.min()) < 0 for each in labels):
        return False
    return sum(count > 0 for count in split.train.class_counts) >= 2


def _options(data: DataOptions, num_classes: int) -> ClassifierOptions:
    """Return a network for the shape, with one width for each time that the sides can be halved, at most three."""
    halvings = max(int(math.log2(min(data.shape[1:]))), 1)
    return ClassifierOptions(data.shape, num_classes, WIDTHS[:halvings], NUM_FEATURES)


def _random(data: DataOptions, device: str, why: str) -> FeatureModule:
    """Return the features of an untrained network, the same for all images of a shape.

    Args:
        why: what kept a classifier from being trained, for the description.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = Classifier(_options(data, 2)).to(device).eval().requires_grad_(False)

    def look(images: Tensor) -> Tensor:
        return network.features(levels_to_data(images, data.levels).to(device))

    return FeatureModule(
        "random network",
        NUM_FEATURES,
        look,
        None,
        f"an untrained network, because {why}: its distances show gross differences only, and cannot be compared with "
        "those of a trained network",
    )
