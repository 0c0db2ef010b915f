"""Files of measured values: exact, checked, and a picture from every beginning."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nelbo.codec.measured_codec import MeasuredCodec
from nelbo.codec.measured_file import MeasuredFile, is_measured, packed, unpacked
from nelbo.data import LevelScale
from nelbo.errors import CodecError, NelboError, ShapeError
from nelbo.networks.digit_network import DigitNetwork
from nelbo.refinement import LevelSplit, Refinement
from nelbo.refinement.storage import options_for
from nelbo.runs.masking_run import photographs

LEVELS = 65_536


def refinement(levels, channels=3, seed=0):
    split = LevelSplit(levels)
    torch.manual_seed(seed)
    network = DigitNetwork(options_for(split, channels, 8))
    for parameter in network.parameters():
        torch.nn.init.normal_(parameter, 0, 0.1)
    return Refinement(split, network.exact())


@pytest.fixture(scope="module")
def codec():
    return MeasuredCodec(photographs().codec(), LevelScale(0, 1, LEVELS, "uint16"), refinement(LEVELS))


@pytest.fixture(scope="module")
def content(codec):
    return codec.encode([image_of(codec, 5, (3, 4, 4))])[0].to_bytes()


def image_of(codec, seed=0, shape=(3, 6, 7)):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(codec.scale.levels, shape, generator=generator, dtype=torch.int32)


@pytest.mark.parametrize("shape", [(3, 6, 7), (3, 17, 9), (3, 1, 1)])
def test_levels_come_back(codec, shape):
    images = [image_of(codec, seed, shape) for seed in range(2)]
    for image, file in zip(images, codec.encode(images), strict=True):
        content = file.to_bytes()
        assert is_measured(content)
        found = codec.decode(MeasuredFile.from_bytes(content))
        assert found.status == "lossless"
        assert torch.equal(found.image, image)


def test_the_digits_take_the_bits_that_the_bound_counts(codec):
    image = image_of(codec, 3, (3, 16, 16))
    [file] = codec.encode([image])
    bits = float(codec.refinement.nats(image[None]).sum()) / np.log(2)
    assert bits <= 8 * file.length <= bits + 32


def test_every_beginning_gives_a_picture_with_the_digits_that_are_known(codec):
    image = image_of(codec, 4)
    content = codec.encode([image])[0].to_bytes()
    errors = []
    for end in [*range(0, 64, 3), *range(64, len(content), 41), len(content) - 1]:
        try:
            found = codec.decode(MeasuredFile.from_bytes(content[:end]))
        except CodecError as error:
            assert "cut short" in str(error)
            continue
        assert found.status == "truncated"
        errors.append(float((found.image - image).double().square().mean().sqrt()))
    assert errors[-1] < errors[0]
    assert errors[-1] < 16  # only the last digit of the last pixels is unknown


@settings(max_examples=100, deadline=None)
@given(st.data())
def test_damage_is_an_error_or_a_file_that_is_cut_short(codec, content, data):
    """Damage in a length can only look like a file that is cut short, which is never called lossless."""
    damaged, place = bytearray(content), data.draw(st.integers(0, len(content) - 1))
    damaged[place] ^= data.draw(st.integers(1, 255))
    try:
        status = codec.decode(MeasuredFile.from_bytes(bytes(damaged))).status
    except NelboError:
        return
    assert status == "truncated"


def test_files_of_another_model_are_refused(codec):
    [file] = codec.encode([image_of(codec)])
    other = MeasuredCodec(codec.images, codec.scale, refinement(LEVELS, seed=1))
    with pytest.raises(CodecError, match="was made by the model"):
        other.decode(file)


def test_levels_outside_of_the_scale_are_refused(codec):
    with pytest.raises(ShapeError, match=r"but those of the model within 0\.\.65535"):
        codec.encode([image_of(codec) + 1_000_000])


def test_values_of_up_to_256_levels_need_no_digits(codec):
    small = MeasuredCodec(codec.images, LevelScale(-1, 0.1, 200, "float32"), None)
    image = torch.randint(200, (3, 6, 7), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    [file] = small.encode([image])
    assert file.length == 0
    assert torch.equal(small.decode(MeasuredFile.from_bytes(file.to_bytes())).image, image)


def test_missing_pixels_are_in_the_file_and_not_in_the_message(codec):
    image = image_of(codec, 6, (3, 8, 9))
    observed = torch.rand(image.shape, generator=torch.Generator().manual_seed(0)) > 0.4
    [file] = codec.encode([image], [observed])
    bits = float(codec.refinement.nats(image[None], observed[None]).sum()) / np.log(2)
    assert bits <= 8 * file.length <= bits + 32
    found = codec.decode(MeasuredFile.from_bytes(file.to_bytes()))
    assert found.status == "lossless"
    assert torch.equal(found.observed, observed)
    assert torch.equal(found.image, image.where(observed, 0))
    assert codec.encode([image], [torch.ones_like(observed)])[0].mask == b""


def test_a_damaged_mask_is_reported():
    observed = torch.rand(1, 9, 9, generator=torch.Generator().manual_seed(0)) > 0.5
    mask = packed(observed)
    assert torch.equal(unpacked(mask, (1, 9, 9)), observed)
    for damaged, shape in ((mask[:-3], (1, 9, 9)), (mask, (1, 9, 90)), (b"no mask", (1, 9, 9))):
        with pytest.raises(CodecError, match="damaged"):
            unpacked(damaged, shape)
