"""Training and accuracy of the classifier; every draw depends on the seed."""

import pytest
import torch

from nelbo.data import ArrayDataset
from nelbo.errors import DataError
from nelbo.networks import ClassifierOptions
from nelbo.training import classifier_accuracy, train_classifier
from nelbo.training.classifier import moved

OPTIONS = ClassifierOptions((1, 4, 4), 2, (8,), 4)


def halves(num: int = 64) -> ArrayDataset:
    """Images of class 0 are bright on the left, those of class 1 on the right; the last image has no class."""
    labels = torch.arange(num) % 2
    columns = torch.arange(4) >= 2
    bright = (columns[None] == labels[:, None].bool())[:, None, None].expand(num, 1, 4, 4)
    noise = torch.randint(0, 60, (num, 1, 4, 4), generator=torch.Generator().manual_seed(0))
    labels = torch.cat([labels[:-1], torch.tensor([-1])])
    return ArrayDataset((180 * bright + noise).to(torch.uint8), labels=labels, name="halves")


def test_training_learns_and_keeps_the_global_state():
    before = torch.get_rng_state()
    networks = [train_classifier(OPTIONS, halves(), steps=30, seed=1) for _ in range(2)]
    assert classifier_accuracy(networks[0], halves()) == 1
    assert torch.equal(torch.get_rng_state(), before)
    for one, other in zip(*(network.state_dict().values() for network in networks), strict=True):
        assert torch.equal(one, other)


def test_accuracy_ignores_unlabelled_images():
    network = train_classifier(OPTIONS, halves(), steps=30, seed=1)
    some = halves()
    wrong = ArrayDataset(
        some.images(range(64)), labels=torch.where(torch.arange(64) < 16, 1 - some.labels, some.labels)
    )
    assert classifier_accuracy(network, wrong) == pytest.approx(1 - 16 / 63)


def test_unlabelled_images_are_refused():
    images = ArrayDataset(torch.zeros(4, 1, 4, 4, dtype=torch.uint8))
    with pytest.raises(DataError, match="no labels; put the images into one sub-folder per class"):
        train_classifier(OPTIONS, images, steps=1)


def test_movement_scales_the_transformations():
    x_0 = torch.rand(3, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    assert torch.allclose(moved(x_0, 0.0, torch.Generator().manual_seed(1)), x_0, atol=1e-5)
    shaken = moved(x_0, 1.0, torch.Generator().manual_seed(1))
    assert shaken.shape == x_0.shape and not torch.allclose(shaken, x_0, atol=0.1)
    assert torch.allclose(moved(x_0 * 0 - 1, 1.0, torch.Generator().manual_seed(1)), x_0 * 0 - 1)
