"""The network whose features a Frechet distance compares: the classifier of the data, or a network from a file."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError, option
from nelbo.evaluation import FeatureModule
from nelbo.runs.folder import DataOptions
from nelbo.studies.classifiers import ENDING, TrainedClassifier, bundled_classifiers, load_classifier

PROBE = 2  # images passed to a scripted network to find out its number of features


def features_for(data: DataOptions, path: str | Path | None = None, *, device: str | None = None) -> FeatureModule:
    """Return the features for distances between images like those of `data`.

    Args:
        data: the data of a run: `run.config.data`.
        path: a network to use instead of the bundled classifiers: a TorchScript module that maps uint8 images
            (B, C, H, W) of the run's shape to features (B, D), such as an Inception network that resizes its input, or
            a classifier saved by `TrainedClassifier.save` (.safetensors).
        device: where the network runs; None chooses the GPU if there is one.

    Raises:
        ConfigurationError: no bundled classifier fits the images, or the file holds no network that fits them.
        RunError: the .safetensors file is damaged or holds something else.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if path is None:
        return _bundled(data, device).features()
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(
            f"{option('features', path)} is no file; expected a TorchScript module or a {ENDING} file."
        )
    if path.suffix != ENDING:
        return scripted_features(path, data.shape, device)
    given = load_classifier(path, device=device)
    if (given.network.options.shape, given.card.levels) != (tuple(data.shape), data.levels):
        raise ConfigurationError(
            f"{option('features', path)} is for images of {given.network.options.shape} and {given.card.levels} "
            f"levels; the images of this model are {tuple(data.shape)} with {data.levels} levels."
        )
    return given.features()


def knows(data: DataOptions) -> bool:
    """Return whether a bundled classifier fits images like those of `data`."""
    return _fitting(data, "cpu") is not None


def _bundled(data: DataOptions, device: str) -> TrainedClassifier:
    if (fitting := _fitting(data, device)) is not None:
        return fitting
    raise ConfigurationError(
        f"nelbo has no classifier for images like those of {data.spec}, only for {', '.join(bundled_classifiers())}; "
        f"set {option('features')} to the TorchScript file of a network, such as an Inception network, that maps uint8 "
        "images to features."
    )


def _fitting(data: DataOptions, device: str) -> TrainedClassifier | None:
    """Return the bundled classifier for the shape and levels of `data`, and for its classes or its name, or None."""
    kind = (tuple(data.shape), data.levels, tuple(data.class_names))
    for name, path in bundled_classifiers().items():
        trained = load_classifier(path, device=device)
        like = (trained.network.options.shape, trained.card.levels, trained.card.class_names)
        if like == kind or (name == data.spec and like[:2] == kind[:2]):
            return trained
    return None


def scripted_features(path: Path, shape: tuple[int, int, int], device: str = "cpu") -> FeatureModule:
    """Return the features of a TorchScript module, a format that holds any network and runs no pickled code.

    The description holds the digest of the file, because distances through different networks cannot be compared.

    Raises:
        ConfigurationError: the file is no TorchScript module, or does not accept images of `shape` (C, H, W).
    """
    try:
        module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"{option('features', path)} is no TorchScript module ({_first_sentence(error)}); save the network by "
            "`torch.jit.script(network).save(path)`."
        ) from error

    def look(images: Tensor) -> Tensor:
        try:
            found = module(images.to(device))
        except RuntimeError as error:
            raise ConfigurationError(
                f"{option('features', path)} does not accept uint8 images of {tuple(images.shape)}: "
                f"{_last_line(error)}; the module must resize and scale the images itself."
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            what = f"a tensor of {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigurationError(
                f"{option('features', path)} returned {what} for images of {tuple(images.shape)}; expected features of "
                f"({len(images)}, D)."
            )
        return found

    with torch.no_grad():
        num_features = look(torch.zeros(PROBE, *shape, dtype=torch.uint8)).shape[1]
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return FeatureModule(path.name, num_features, look, None, f"a TorchScript module, sha256 {digest}")


def _first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0].partition(". ")[0].rstrip(".")


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1].rstrip(".")
