"""Which network looks at a run's images for a Frechet distance: the classifier of its data, or one that is given."""

import hashlib
from pathlib import Path

import torch
from torch import Tensor

from nelbo.errors import ConfigurationError
from nelbo.evaluation import FeatureModule
from nelbo.runs.folder import DataOptions
from nelbo.studies.classifiers import ENDING, TrainedClassifier, bundled_classifiers, load_classifier

PROBE = 2  # images that a network is shown to learn how many features it has


def features_for(data: DataOptions, path: str | Path | None = None, *, device: str | None = None) -> FeatureModule:
    """What a distance between images of `data` looks through.

    Args:
        data: of a run: `run.config.data`.
        path: a network to use instead of the bundled ones: a TorchScript module that maps uint8 images (B, C, H, W) of
            the run's shape to (B, D), such as an Inception with its own resizing inside, or a classifier that
            `train_features` made (.safetensors).
        device: the best one if None.

    Raises:
        ConfigurationError: no bundled classifier knows such images, or the file is no such network.
        RunError: a .safetensors file that is damaged or holds something else.
    """
    device = device or ("cuda" if torch.cuda.is_available() else "cpu")
    if path is None:
        return _bundled(data, device).features()
    path = Path(path)
    if not path.is_file():
        raise ConfigurationError(f"--features {path} is no file; expected a TorchScript module or a {ENDING} file.")
    if path.suffix != ENDING:
        return scripted_features(path, data.shape, device)
    given = load_classifier(path, device=device)
    if (given.network.options.shape, given.card.levels) != (tuple(data.shape), data.levels):
        raise ConfigurationError(
            f"--features {path} is for images of {given.network.options.shape} and {given.card.levels} levels; this "
            f"model's are {tuple(data.shape)} of {data.levels}."
        )
    return given.features()


def _bundled(data: DataOptions, device: str) -> TrainedClassifier:
    """The classifier of these images' own labels: by the name of the set, or else by shape, levels and classes."""
    kind = (tuple(data.shape), data.levels, tuple(data.class_names))
    for name, path in bundled_classifiers().items():
        trained = load_classifier(path, device=device)
        like = (trained.network.options.shape, trained.card.levels, trained.card.class_names)
        if like == kind or (name == data.spec and like[:2] == kind[:2]):
            return trained
    raise ConfigurationError(
        f"no classifier for images like those of {data.spec} comes with nelbo, only for "
        f"{', '.join(bundled_classifiers())}; give a network by --features: a TorchScript file, such as an Inception, "
        "that maps uint8 images to features."
    )


def scripted_features(path: Path, shape: tuple[int, int, int], device: str = "cpu") -> FeatureModule:
    """A TorchScript module as features: the one format that holds a network of any kind and runs no code of pickle.

    It is told from others by the digest of its file, since a distance through another network is another figure.

    Raises:
        ConfigurationError: the file is no TorchScript module, or cannot take images of `shape` (C, H, W).
    """
    try:
        module = torch.jit.load(str(path), map_location=device).eval()
    except (RuntimeError, ValueError) as error:
        raise ConfigurationError(
            f"--features {path} is no TorchScript module ({_first_sentence(error)}); save the network by "
            "`torch.jit.script(network).save(path)`."
        ) from error

    def look(images: Tensor) -> Tensor:
        try:
            found = module(images.to(device))
        except RuntimeError as error:
            raise ConfigurationError(
                f"--features {path} cannot take uint8 images of {tuple(images.shape)}: {_last_line(error)}; resizing "
                "and scaling belong into the module."
            ) from error
        if not isinstance(found, Tensor) or found.ndim != 2 or len(found) != len(images):
            what = f"a tensor of {tuple(found.shape)}" if isinstance(found, Tensor) else type(found).__name__
            raise ConfigurationError(
                f"--features {path} made {what} of {tuple(images.shape)}; expected ({len(images)}, D) features."
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
