"""The features for a run: bundled classifiers match their cards, and networks from files are checked."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from nelbo.data import Split, load_data
from nelbo.errors import ConfigurationError, DataError, NelboError, RunError
from nelbo.networks import ClassifierOptions
from nelbo.runs import DataOptions, bundled_models, find_run
from nelbo.studies import ClassifierCard, bundled_classifiers, features_for, load_classifier, train_features
from nelbo.training import classifier_accuracy

DIGITS = DataOptions("digits", (1, 8, 8), 17, 1500, 297, class_names=tuple("0123456789"))
LEAST = {"digits": 0.96, "fashion-mnist": 0.9}


@pytest.mark.parametrize("name", ["digits", pytest.param("fashion-mnist", marks=pytest.mark.slow)])
def test_bundled_accuracy_matches_the_card(name: str):
    try:
        test = load_data(name).test
    except DataError:
        pytest.skip(f"{name} is not on this machine")
    trained = load_classifier(bundled_classifiers()[name])
    found = classifier_accuracy(trained.network, test)
    assert found == pytest.approx(trained.card.accuracy, abs=2.5 / len(test))  # another processor may round differently
    assert found > LEAST[name]
    every = torch.arange(min(len(test), 500))
    right = (trained.classify(test.images(every)) == test.labels[every]).double().mean()
    assert float(right) == pytest.approx(found, abs=0.05)
    assert (trained.card.num_held_out, trained.card.class_names) == (len(test), test.class_names)


def test_bundled_classifiers_are_small_and_not_runs():
    assert set(bundled_classifiers()) == set(LEAST)
    for path in bundled_classifiers().values():
        assert path.stat().st_size < 1_000_000
        assert load_classifier(path).network.options.num_features <= 64
    assert "classifiers" not in bundled_models()
    with pytest.raises(RunError, match="no run folder or bundled model 'classifiers'"):
        find_run("classifiers")


def test_data_selects_its_classifier():
    images = load_data("digits").test.images(range(5))
    for data in (DIGITS, replace(DIGITS, spec="/somewhere/mine.npz"), replace(DIGITS, class_names=())):
        features = features_for(data, device="cpu")
        assert features.name == "digits classifier" and features.accuracy > LEAST["digits"]
        assert features.fn(images).shape == (5, features.num_features)


@pytest.mark.parametrize(
    "other",
    [
        {"spec": "/somewhere/mine", "class_names": ("cat", "dog")},
        {"spec": "/somewhere/mine", "levels": 256},
        {"spec": "/somewhere/mine", "shape": (3, 8, 8)},
    ],
)
def test_unknown_images_need_a_network(other):
    with pytest.raises(ConfigurationError, match="only for digits, fashion-mnist; set features to"):
        features_for(replace(DIGITS, **other))


class Pooled(nn.Module):
    """The means of the rows, as a custom network."""

    def forward(self, images: Tensor) -> Tensor:
        return images.float().mean((1, 3))


class Maps(nn.Module):
    def forward(self, images: Tensor) -> Tensor:
        return images.float()


class Grey(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, 4, 3)

    def forward(self, images: Tensor) -> Tensor:
        return self.convolution(images.float()).mean((2, 3))


def exported(network: nn.Module, path: Path, channels: int = 1, batch: Any = torch.export.Dim.DYNAMIC) -> Path:
    images = torch.zeros(2, channels, 8, 8, dtype=torch.uint8)
    program = torch.export.export(network.eval(), (images,), dynamic_shapes=({0: batch},))
    torch.export.save(program, path)
    return path


def test_exported_network_gives_its_features(tmp_path: Path):
    images = load_data("digits").test.images(range(5))
    features = features_for(DIGITS, exported(Pooled(), tmp_path / "rows.pt2"), device="cpu")
    assert torch.equal(features.fn(images), Pooled()(images))
    assert (features.name, features.num_features, features.accuracy) == ("rows.pt2", 8, None)
    assert "a torch.export program, sha256" in features.description


def test_unsuitable_networks_are_refused(tmp_path: Path):
    (tmp_path / "text.pt2").write_text("no network")
    torch.save(Pooled(), tmp_path / "pickled.pt2")
    whole = exported(Pooled(), tmp_path / "cut.pt2").read_bytes()
    (tmp_path / "cut.pt2").write_bytes(whole[: len(whole) // 2])
    cases = {
        "absent.pt2": "is no file; expected a torch.export program",
        "text.pt2": "is no torch.export program; write it with torch.export.save",
        "pickled.pt2": "is no torch.export program",
        "cut.pt2": "is no torch.export program",
        exported(Maps(), tmp_path / "maps.pt2").name: r"returned a tensor of \(2, 1, 8, 8\)",
        exported(Grey(), tmp_path / "colour.pt2", 3).name: "does not accept uint8 images",
        exported(Pooled(), tmp_path / "two.pt2", batch=None).name: r"of \(3, 1, 8, 8\).*must take any number of images",
    }
    for name, message in cases.items():
        with pytest.raises(ConfigurationError, match=message):
            features_for(DIGITS, tmp_path / name, device="cpu")


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_is_named_with_what_to_do(tmp_path: Path):
    torch.jit.trace(Pooled(), torch.zeros(2, 1, 8, 8, dtype=torch.uint8)).save(str(tmp_path / "rows.pt"))
    with pytest.raises(ConfigurationError, match=r"is a TorchScript file.*save it again: .*torch\.export\.save\("):
        features_for(DIGITS, tmp_path / "rows.pt", device="cpu")


def test_trained_classifier_is_saved_and_loaded(tmp_path: Path):
    split = load_data("digits")
    few = Split(split.train.spread(100), split.test.spread(50))
    trained = train_features(few, ClassifierOptions((1, 8, 8), 10, (8, 8), 6), steps=20)
    path = tmp_path / "mine.safetensors"
    trained.save(path)
    again = load_classifier(path)
    assert again.card == trained.card and again.card.accuracy == classifier_accuracy(again.network, few.test)
    images = few.test.images(range(4))
    assert torch.equal(features_for(DIGITS, path, device="cpu").fn(images), trained.features().fn(images))
    with pytest.raises(ConfigurationError, match=r"is for images of \(1, 8, 8\) and 17 levels"):
        features_for(replace(DIGITS, levels=256), path, device="cpu")
    (tmp_path / "noise.safetensors").write_bytes(b"noise" * 100)
    with pytest.raises(NelboError, match=r"is no classifier.*is damaged or cut short \(500 bytes[^;]*\)\.$"):
        load_classifier(tmp_path / "noise.safetensors")
    with pytest.raises(NelboError, match="is no classifier"):
        features_for(DIGITS, bundled_models()["fashion-mnist"] / "model.safetensors", device="cpu")


@pytest.mark.parametrize(
    ("accuracy", "classes", "num", "chance", "cautious"),
    [
        (0.0, 2, 2, None, True),
        (1.0, 2, 2, None, True),  # of four equally likely results of two guesses
        (0.11, 10, 1000, None, True),
        (0.875, 10, 1000, None, False),
        (0.91, 2, 200, 0.9, True),
        (0.99, 2, 200, 0.9, False),
    ],
)
def test_accuracy_near_chance_has_a_caution(accuracy, classes, num, chance, cautious):
    names = tuple(map(str, range(classes)))
    card = ClassifierCard("mine", 256, names, accuracy, 10, num, 20, 1.0, 0, chance)
    assert bool(card.caution) is cautious
    if cautious:
        stated = f"{chance or 1 / classes:.1%}"
        assert f"{accuracy:.1%} on {num:,} held-out images is not clearly above chance ({stated})" in card.caution


def test_trained_classifier_knows_its_chance():
    split = load_data("digits")
    labels = split.test.labels
    zeros = split.test.subset(torch.cat([(labels == 0).nonzero()[:9], (labels == 1).nonzero()[:1]]).flatten())
    trained = train_features(Split(split.train.spread(50), zeros), ClassifierOptions((1, 8, 8), 10, (8,), 6), steps=1)
    assert trained.card.chance == 0.9 and trained.features().caution == trained.card.caution
