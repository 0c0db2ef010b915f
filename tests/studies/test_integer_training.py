"""Training of the model of archives: stopped and continued, and better than no network."""

import signal

import pytest
import torch

from nelbo.codec import ArchiveCodec
from nelbo.data import load_data
from nelbo.errors import ConfigurationError
from nelbo.lattice import IntegerChain, LatticeModel, sizes
from nelbo.lattice.storage import fingerprint_of
from nelbo.networks.step_network import StepNetwork
from nelbo.studies import Listener, integer_training
from nelbo.studies.decoder_examples import Gathering, image_order
from nelbo.studies.integer_training import IntegerOptions, linear_model, train_integer_model


@pytest.fixture(autouse=True)
def small_networks(monkeypatch):
    for name, value in {"WIDTHS": (8, 8, 8), "BOTTOM": 1, "HIDDEN": 16, "BLOCKS": 1}.items():
        monkeypatch.setattr(sizes, name, value)


def digits(num: int):
    return load_data("digits").train.subset(torch.arange(num))


def test_statistics_are_those_of_all_images(monkeypatch):
    monkeypatch.setattr(integer_training, "STATISTICS", 7)
    data = digits(50)
    linear, values = linear_model(data, Listener()), data.images(range(50)).double()
    torch.testing.assert_close(linear.mean, (2 * values.mean(0) - 16).round().long())
    assert linear.coefficient.shape == (sizes.STEPS, 1, 8, 8)


def test_trained_model_codes_digits_in_fewer_bits(tmp_path):
    stages = list[str]()
    listener = Listener(on_stage=lambda stage, done, total: stages.append(stage))
    data = digits(400)
    model = train_integer_model(data, tmp_path, IntegerOptions(steps=120), listener)
    assert isinstance(model, LatticeModel)
    assert list(dict.fromkeys(stages)) == [
        "reading images",
        "training the chain",
        "predicting for the pixels",
        "training the pixels",
    ]
    images = list(load_data("digits").require_test().images(range(297)))
    codec = ArchiveCodec(model, fingerprint_of(model))
    block = codec.encode(images)
    assert 8 * len(block) / (64 * 297) < 3.2  # log2 17 = 4.09; 7.6 without the model
    back = codec.decode(block, [(8, 8)] * 297)
    assert all(torch.equal(a, b) for a, b in zip(back, images, strict=True))


def test_stopped_training_goes_on_to_the_same_model(tmp_path):
    data, options = digits(60), IntegerOptions(steps=12)
    whole = train_integer_model(data, tmp_path / "whole", options, Listener())
    assert isinstance(whole, LatticeModel)
    stops = [("training the chain", 400), ("training the pixels", 500)]

    def stop(stage: str, done: int, total: int) -> None:
        if stops and stage == stops[0][0] and done >= stops[0][1]:
            stops.pop(0)
            signal.raise_signal(signal.SIGTERM)

    results = [train_integer_model(data, tmp_path / "parts", options, Listener(on_stage=stop)) for _ in range(3)]
    assert results[:2] == ["SIGTERM", "SIGTERM"] and isinstance(results[2], LatticeModel)
    assert fingerprint_of(results[2]) == fingerprint_of(whole)


def chain_of(data):
    torch.manual_seed(0)
    return IntegerChain(linear_model(data, Listener()), StepNetwork(sizes.step_options(data.shape)).exact())


def test_gathering_keeps_its_time_and_takes_all_images_in_turn():
    data = digits(250)
    found = integer_training._examples(chain_of(data), data, 0, Gathering(1, 1000, 0.0), Listener())
    assert len(found) == integer_training.GATHERED
    shown = found.images(range(100))[:, 0].byte()
    assert torch.equal(shown, data.images(image_order(250, 0)[:100])[:, 0])


def test_a_signal_while_gathering_stops_the_training():
    data = digits(150)
    stop = Listener(on_stage=lambda stage, done, total: signal.raise_signal(signal.SIGTERM))
    assert integer_training._examples(chain_of(data), data, 0, Gathering(1, 1000, None), stop) == "SIGTERM"


def test_larger_budget_trains_the_pixels_anew(tmp_path):
    """Stopped in the last stage with a small budget: the pixels of the longer chain have their own examples."""
    data = digits(60)

    def stop(stage: str, done: int, total: int) -> None:
        if stage == "training the pixels" and done >= 500:
            signal.raise_signal(signal.SIGTERM)

    assert train_integer_model(data, tmp_path, IntegerOptions(steps=6), Listener(on_stage=stop)) == "SIGTERM"
    seen = list[int]()
    follow = Listener(on_stage=lambda stage, done, total: stage == "training the pixels" and seen.append(done))
    assert isinstance(train_integer_model(data, tmp_path, IntegerOptions(steps=12), follow), LatticeModel)
    assert Gathering.read(tmp_path / "pixels").num == 12 * 32
    assert min(seen) < 100  # of 1000: the first of 12 steps


@pytest.mark.parametrize("given", [{}, {"minutes": 1.0, "steps": 3}])
def test_one_budget_is_needed(given):
    with pytest.raises(ConfigurationError, match="give minutes or steps"):
        IntegerOptions(**given)
