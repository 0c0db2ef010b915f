"""Images in colour: three times as many passes, and many tiles in one call of the network."""

import pytest
import torch

from nelbo.codec import Bitstream, rmse
from nelbo.runs import DiffusionRun, load_as
from tests.codec.conftest import GOLDEN, colour_codec_run, ramps


@pytest.fixture(scope="module", params=["golden", pytest.param("trained", marks=pytest.mark.slow)])
def run(request, tmp_path_factory):
    if request.param == "golden":
        return load_as(DiffusionRun, GOLDEN / "colour", device="cpu")
    torch.set_num_threads(1)
    return colour_codec_run(tmp_path_factory.mktemp("colour"))


def test_colour_image_of_another_size_round_trips(run):
    image = torch.from_numpy(ramps(1, 19, 27, seed=5)[0])
    codec = run.codec()
    file = codec.encode([image], raw=False)[0]
    found = codec.decode([Bitstream.from_bytes(file.to_bytes())])[0]
    assert found.status == "lossless" and torch.equal(found.image, image)
    assert len(file.to_bytes()) < image.numel()
    errors = [rmse(codec.decode([file.first(int(s * len(file.to_bytes())))])[0].image, image) for s in (0.1, 0.4, 0.8)]
    assert errors == sorted(errors, reverse=True) and len(set(errors)) == 3
