"""The codec of a class-conditional model: its files store no class, and its chain is that of the bound."""

import pytest
import torch

from nelbo.codec import Bitstream
from nelbo.codec.report import report_files


def test_files_of_a_class_conditional_model_are_exact(run, codec, digits):
    assert run.recipe.conditional and run.network.options.num_classes == 10
    images = digits.images([3, 70])
    files = codec.encode(list(images), raw=False)
    assert all(isinstance(file, Bitstream) for file in files)
    for file, image in zip(files, images, strict=True):
        assert torch.equal(run.decompress(file.to_bytes()).image, image)


@pytest.fixture
def calls(run, codec):
    """The number of arguments of every call of the network, in the model and in the codec."""
    numbers = []
    hooks = [
        network.register_forward_pre_hook(lambda network, given: numbers.append(len(given)))
        for network in (run.network, codec.chain.reverse.network)
    ]
    yield numbers
    for hook in hooks:
        hook.remove()


def test_bound_and_codec_call_the_network_without_a_class(run, codec, digits, calls):
    images = digits.subset(torch.tensor([3, 70]))
    bound = run.bound(images, steps_per_image=4)
    assert set(calls) == {2}  # x_t and t
    calls.clear()
    files = codec.encode(list(images.images([0, 1])), raw=False)
    codec.decode(files)
    report_files(codec, files, images.images([0, 1]), bound.total)
    assert set(calls) == {2}
