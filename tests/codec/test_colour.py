"""Images in colour: three times the passes, and tiles that go through the network together."""

import numpy as np
import pytest
import torch
from PIL import Image

from nelbo.codec import Bitstream, rmse
from nelbo.config import DiffusionRun, fit_codec, load_as
from nelbo.config.training import data_of, train
from tests.codec.conftest import FIT, TINY


def ramps(num: int, height: int, width: int, seed: int) -> np.ndarray:
    """Smooth pictures: each channel a ramp of its own direction, the channels alike."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width] / 8
    turns = generator.uniform(-1, 1, (num, 1, 2)) + generator.uniform(-0.2, 0.2, (num, 3, 2))
    values = 128 + 60 * (turns[:, :, 0, None, None] * x + turns[:, :, 1, None, None] * y)
    return (values + generator.normal(0, 2, values.shape)).clip(0, 255).round().astype(np.uint8)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    torch.set_num_threads(1)
    folder, out = tmp_path_factory.mktemp("colour"), tmp_path_factory.mktemp("run") / "colour"
    for i, image in enumerate(ramps(200, 8, 8, seed=0)):
        Image.fromarray(image.transpose(1, 2, 0)).save(folder / f"{i}.png")
    overrides = {**TINY, "parameterization": "noise", "training.steps": 200, "schedule.log_snr_max": 12.0}
    train(str(folder), out, preset="images", overrides=overrides)
    made = load_as(DiffusionRun, out, device="cpu")
    fit_codec(made, data_of(made).train, FIT)
    return made


def test_a_picture_in_colour_of_another_size_comes_back(run):
    image = torch.from_numpy(ramps(1, 19, 27, seed=5)[0])
    codec = run.codec()
    file = codec.encode([image], raw=False)[0]
    found = codec.decode([Bitstream.from_bytes(file.to_bytes())])[0]
    assert found.status == "lossless" and torch.equal(found.image, image)
    assert len(file.to_bytes()) < image.numel()
    errors = [rmse(codec.decode([file.first(int(s * len(file.to_bytes())))])[0].image, image) for s in (0.1, 0.4, 0.8)]
    assert errors == sorted(errors, reverse=True) and len(set(errors)) == 3
