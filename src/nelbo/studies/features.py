"""The network whose features a Frechet distance compares: the classifier of the data, or a network from a file."""

import hashlib
import zipfile
from pathlib import Path

import torch
from torch import Tensor
from torch.export.passes import move_to_device_pass

from nelbo.errors import ConfigurationError, option
from nelbo.evaluation import FeatureModule
from nelbo.files import refuse_pointer
from nelbo.paths import expanded
from nelbo.runs.data_options import DataOptions
from nelbo.studies.classifiers import ENDING, TrainedClassifier, bundled_classifiers, load_classifier

PROBES = (2, 3)  # numbers of images that a program is tried with
PROGRAMS = (
    "models/model.json",
    "serialized_exported_program.json",
)  # in a .pt2 file of PyTorch 2.8, and of earlier ones
SAVE = (
    "write it with torch.export.save(torch.export.export(network, (images,), dynamic_shapes=({0: "
    "torch.export.Dim('batch')},)), path) for uint8 images (2, C, H, W)"
)


def features_for(data: DataOptions, path: str | Path | None = None, *, device: str | None = None) -> FeatureModule:
    """Return the features for distances between images like those of `data`.

    Args:
        data: the data of a run: `run.config.data`.
        path: a network to use instead of the bundled classifiers: a torch.export program (.pt2) that maps uint8 images
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
    path = expanded(path)
    if not path.is_file():
        raise ConfigurationError(
            f"{option('features', path)} is no file; expected a torch.export program (.pt2) or a {ENDING} file."
        )
    if path.suffix != ENDING:
        return exported_features(path, data.shape, device)
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
        f"set {option('features')} to the torch.export program (.pt2) of a network, such as an Inception network, that "
        "maps uint8 images to features."
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


def exported_features(path: Path, shape: tuple[int, int, int], device: str = "cpu") -> FeatureModule:
    """Return the features of a torch.export program (.pt2), a format that holds any network.

    PyTorch may run code of the file when it is opened, so the user must trust it. The description holds the digest of
    the file, because distances through different networks cannot be compared.

    Raises:
        ConfigurationError: the file is no such program, or does not accept images of `shape` (C, H, W).
        RunError: the file is a git-lfs pointer.
    """
    _require_program(path)
    try:
        program = move_to_device_pass(torch.export.load(path), device).module()
    except Exception as error:  # of a damaged file, and of a later version of PyTorch
        raise ConfigurationError(
            f"{option('features', path)} cannot be read as a torch.export program ({_first_sentence(error)}); {SAVE}."
        ) from error

    def look(images: Tensor) -> Tensor:
        try:
            found = program(images.to(device))
        except Exception as error:  # a guard of the program, or any operation in it
            raise ConfigurationError(
                f"{option('features', path)} does not accept uint8 images of {tuple(images.shape)}: "
                f"{_last_line(error)}; the network must take any number of images, and resize and scale them itself."
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            what = f"a tensor of {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigurationError(
                f"{option('features', path)} returned {what} for images of {tuple(images.shape)}; expected features of "
                f"({len(images)}, D)."
            )
        return found

    with torch.no_grad():
        num_features, *_ = (look(torch.zeros(number, *shape, dtype=torch.uint8)).shape[1] for number in PROBES)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()[:12]
    return FeatureModule(path.name, num_features, look, None, f"a torch.export program, sha256 {digest}")


def _require_program(path: Path) -> None:
    """Check by its contents that a file is a torch.export program, before PyTorch opens it."""
    refuse_pointer(path)
    names = zipfile.ZipFile(path).namelist() if zipfile.is_zipfile(path) else []
    if any("/code/" in name for name in names):
        raise ConfigurationError(
            f"{option('features', path)} is a TorchScript file, which PyTorch has replaced by torch.export; load the "
            f"network in Python and save it again: {SAVE}."
        )
    if not any(name.endswith(PROGRAMS) for name in names):
        raise ConfigurationError(f"{option('features', path)} is no torch.export program; {SAVE}.")


def _first_sentence(error: Exception) -> str:
    return str(error).strip().split("\n")[0].partition(". ")[0].rstrip(".")


def _last_line(error: Exception) -> str:
    return str(error).strip().split("\n")[-1].rstrip(".")
