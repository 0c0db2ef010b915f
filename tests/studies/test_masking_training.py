"""Training of the model of photographs."""

import pytest
import torch

from nelbo.data import as_dataset
from nelbo.diffusion.passes import known_before
from nelbo.errors import ConfigurationError
from nelbo.masking import masking_passes
from nelbo.masking.storage import fingerprint_of
from nelbo.probability.integer_gaussian import MASS
from nelbo.studies import masking_training
from nelbo.studies.masking_training import train_masking_model
from tests.masking.tiny import picture


def crops(num: int = 12, side: int = 96, channels: int = 1):
    pictures = torch.stack([picture(side, side, channels, seed) for seed in range(num)])
    return as_dataset(pictures, (channels, side, side), 256, None)


@pytest.fixture(autouse=True)
def few_rounds(monkeypatch):
    """Fit the linear prediction on few crops."""
    monkeypatch.setattr(masking_training, "LINEAR_BATCH", 4)
    monkeypatch.setattr(masking_training, "LINEAR_ROUNDS", 2)


def bits(model, image: torch.Tensor) -> float:
    """Bits/dim of a picture (C, H, W)."""
    total, order = 0.0, masking_passes(len(image))
    for number, now in enumerate(order):
        mixture = model.mixture(image.long(), known_before(order, number, tuple(image.shape)), now)
        _, own = mixture.interval(now.of(image).flatten().long().numpy())
        total -= float(torch.from_numpy(own / MASS).log2().sum())
    return total / image.numel()


def test_training_lowers_the_bits(tmp_path):
    image = picture(64, 48, 1, seed=99)
    few = train_masking_model(crops(), tmp_path / "few", steps=1, hidden=16)
    more = train_masking_model(crops(), tmp_path / "more", steps=120, hidden=16)
    assert bits(more, image) < bits(few, image) - 0.05
    assert 3.9 < bits(more, image) < 4.6  # the noise alone has 4.05 bits


def test_training_continues_in_the_same_folder(tmp_path):
    whole = train_masking_model(crops(), tmp_path / "whole", steps=6, hidden=8)
    part = train_masking_model(crops(), tmp_path / "parts", steps=3, hidden=8)
    resumed = train_masking_model(crops(), tmp_path / "parts", steps=6, hidden=8)
    assert fingerprint_of(part) != fingerprint_of(whole)
    assert torch.equal(part.linear, whole.linear)
    assert fingerprint_of(train_masking_model(crops(), tmp_path / "again", steps=6, hidden=8)) == fingerprint_of(whole)
    assert fingerprint_of(resumed) != fingerprint_of(part)


@pytest.mark.parametrize(
    ("data", "budget", "said"),
    [
        (crops(2), {}, "minutes or steps"),
        (crops(2), {"minutes": 1.0, "steps": 1}, "minutes or steps"),
        (crops(2, side=64), {"steps": 1}, "at least 96 x 96"),
    ],
)
def test_refusals(tmp_path, data, budget, said):
    with pytest.raises(ConfigurationError, match=said):
        train_masking_model(data, tmp_path, **budget)
