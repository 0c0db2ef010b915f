"""Classifiers of a set's own labels, as files: the weights, what they were trained on, and how well they do.

Those of the digits and of fashion-mnist come with the package; `benchmarks/train_classifier.py` makes them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import Split
from nelbo.errors import ConfigurationError, NelboError, RunError
from nelbo.evaluation import FeatureModule
from nelbo.files import read_tensors, write_tensors
from nelbo.networks import Classifier, ClassifierOptions
from nelbo.options import record_from
from nelbo.probability import levels_to_data
from nelbo.training import classifier_accuracy, train_classifier

ENDING = ".safetensors"


@dataclass(frozen=True)
class ClassifierCard:
    """What a classifier was trained on, and how well it does.

    Attributes:
        data: the name of the set; levels: K of its images; class_names: by label.
        accuracy: share of the num_held_out held-out images that it names rightly.
        num_train, num_held_out: how many images each part has.
        steps, movement, seed: of `train_classifier`.
    """

    data: str
    levels: int
    class_names: tuple[str, ...]
    accuracy: float
    num_train: int
    num_held_out: int
    steps: int
    movement: float
    seed: int


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier in evaluation mode, with its card."""

    network: Classifier
    card: ClassifierCard

    def save(self, path: Path) -> None:
        """Write one .safetensors file: the weights, and the rest as its metadata."""
        metadata = {"nelbo": version("nelbo"), "options": vars(self.network.options), "card": vars(self.card)}
        write_tensors(path, self.network.state_dict(), metadata)

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """(B,) int64, the likeliest class of uint8 images (B, C, H, W), as `card.class_names` counts them."""
        x_0 = levels_to_data(images, self.card.levels).to(self.network.output.weight.device)
        return self.network(x_0).argmax(1).cpu()  # type: ignore[no-any-return]

    def features(self) -> FeatureModule:
        """Its layer before the last, as what a distance looks through."""

        def look(images: Tensor) -> Tensor:
            x_0 = levels_to_data(images, self.card.levels)
            return self.network.features(x_0.to(self.network.output.weight.device))

        return FeatureModule(
            f"{self.card.data} classifier",
            self.network.options.num_features,
            look,
            self.card.accuracy,
            f"a small convolutional network trained on the labels of {self.card.data}",
        )


def train_features(
    split: Split,
    options: ClassifierOptions,
    *,
    steps: int,
    movement: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    progress: Callable[[int, int], None] | None = None,
) -> TrainedClassifier:
    """Train a classifier on one part of a labelled set and measure it on the other; see `train_classifier`."""
    train, test = split.train, split.require_test()
    network = train_classifier(
        options, train, steps=steps, movement=movement, seed=seed, device=device, progress=progress
    )
    accuracy = classifier_accuracy(network, test)
    card = ClassifierCard(
        train.name, train.levels, train.class_names, accuracy, len(train), len(test), steps, movement, seed
    )
    return TrainedClassifier(network, card)


def load_classifier(path: Path, *, device: str = "cpu") -> TrainedClassifier:
    """A classifier that `TrainedClassifier.save` wrote.

    Raises:
        RunError: the file is damaged, or holds something else.
    """
    try:
        tensors, metadata = read_tensors(path)
        options = record_from(ClassifierOptions, metadata["options"])
        card = record_from(ClassifierCard, metadata["card"])
        with torch.device("meta"):
            network = Classifier(options)
        network.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError, NelboError) as error:
        raise RunError(f"{path} is no classifier that nelbo trained ({str(error).partition(';')[0]}).") from error
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"--device {device} cannot be used here ({error}).") from error
    return TrainedClassifier(network.eval().requires_grad_(False), card)


def bundled_classifiers() -> dict[str, Path]:
    """The classifiers that come with the package, by the name of their data."""
    root = Path(str(files("nelbo") / "models" / "classifiers"))
    return {path.stem: path for path in sorted(root.glob(f"*{ENDING}"))}
