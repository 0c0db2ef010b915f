"""Classifiers of a data set's labels as files: the weights, the training data and the accuracy.

The classifiers of digits and fashion-mnist are part of the package; `benchmarks/train_classifier.py` trains them.
"""

import math
from dataclasses import dataclass
from importlib.metadata import version
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from nelbo.data import Split
from nelbo.display import counted
from nelbo.errors import ConfigurationError, NelboError, RunError, option
from nelbo.evaluation import FeatureModule
from nelbo.files import read_tensors, write_tensors
from nelbo.networks import Classifier, ClassifierOptions
from nelbo.options import record_from
from nelbo.probability import levels_to_data
from nelbo.progress import Progress
from nelbo.training import classifier_accuracy, train_classifier

ENDING = ".safetensors"


@dataclass(frozen=True)
class ClassifierCard:
    """The training data and the accuracy of a classifier.

    Attributes:
        data: name of the data set.
        levels: K, the number of grey levels of its images.
        class_names: by label.
        accuracy: share of the held-out images that it classifies correctly, 0..1.
        num_train, num_held_out: number of images in each part.
        steps, movement, seed: arguments of `train_classifier`.
        chance: share of the held-out images in their most frequent class, 0..1; None if unknown.
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
    chance: float | None = None

    @property
    def caution(self) -> str:
        """Why the accuracy does not show that the features tell the classes apart, in words; "" if it does.

        It must be two standard errors above the accuracy of always answering the most frequent class; of that, one
        class of several equal ones if `chance` is unknown.
        """
        chance = max(self.chance or 0.0, 1 / max(len(self.class_names), 1))
        error = math.sqrt(chance * (1 - chance) / max(self.num_held_out, 1))
        if self.accuracy > chance + 2 * error:
            return ""
        images = counted(self.num_held_out, "held-out image")
        return (
            f"an accuracy of {self.accuracy:.1%} on {images} is not clearly above chance ({chance:.1%}), so these "
            "features may not tell the classes apart; train on more images"
        )


@dataclass(frozen=True)
class TrainedClassifier:
    """A classifier in evaluation mode and its card."""

    network: Classifier
    card: ClassifierCard

    def save(self, path: Path) -> None:
        """Write one .safetensors file: the weights, with the options and the card as metadata."""
        metadata = {"nelbo": version("nelbo"), "options": vars(self.network.options), "card": vars(self.card)}
        write_tensors(path, self.network.state_dict(), metadata)

    @torch.no_grad()
    def classify(self, images: Tensor) -> Tensor:
        """Return the most likely class of each uint8 image (B, C, H, W): int64 (B,), indices of `card.class_names`."""
        x_0 = levels_to_data(images, self.card.levels).to(self.network.output.weight.device)
        return self.network(x_0).argmax(1).cpu()  # type: ignore[no-any-return]

    def features(self) -> FeatureModule:
        """Return its last hidden layer as features for a distance."""

        def look(images: Tensor) -> Tensor:
            x_0 = levels_to_data(images, self.card.levels)
            return self.network.features(x_0.to(self.network.output.weight.device))

        return FeatureModule(
            f"{self.card.data} classifier",
            self.network.options.num_features,
            look,
            self.card.accuracy,
            f"a small convolutional network trained on the labels of {self.card.data}",
            self.card.caution,
        )


def train_features(
    split: Split,
    options: ClassifierOptions,
    *,
    steps: int,
    movement: float = 1.0,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
) -> TrainedClassifier:
    """Train a classifier on the training part of labelled images and measure its accuracy on the held-out part.

    See `train_classifier` for the arguments.

    Raises:
        DataError: the images have no labels, or none are held out.
    """
    train, test = split.train, split.require_test()
    network = train_classifier(
        options, train, steps=steps, movement=movement, seed=seed, device=device, progress=progress
    )
    accuracy = classifier_accuracy(network, test)
    counts = [count for count in test.class_counts if count]
    card = ClassifierCard(
        train.name,
        train.levels,
        train.class_names,
        accuracy,
        len(train),
        len(test),
        steps,
        movement,
        seed,
        max(counts) / sum(counts) if counts else None,
    )
    return TrainedClassifier(network, card)


def load_classifier(path: Path, *, device: str = "cpu") -> TrainedClassifier:
    """Load a classifier that `TrainedClassifier.save` wrote.

    Raises:
        RunError: the file is damaged or holds something else.
        ConfigurationError: the device cannot be used.
    """
    try:
        tensors, metadata = read_tensors(path)
        options = record_from(ClassifierOptions, metadata["options"])
        card = record_from(ClassifierCard, metadata["card"])
        with torch.device("meta"):
            network = Classifier(options)
        network.load_state_dict(tensors, assign=True)
    except (KeyError, TypeError, RuntimeError, NelboError) as error:
        raise RunError(f"{path} is no classifier trained by nelbo ({str(error).partition(';')[0]}).") from error
    try:
        network = network.to(device)
    except (RuntimeError, AssertionError) as error:
        raise ConfigurationError(f"{option('device', device)} cannot be used here ({error}).") from error
    return TrainedClassifier(network.eval().requires_grad_(False), card)


def bundled_classifiers() -> dict[str, Path]:
    """Return the files of the bundled classifiers by the name of their data."""
    root = Path(str(files("nelbo") / "models" / "classifiers"))
    return {path.stem: path for path in sorted(root.glob(f"*{ENDING}"))}
