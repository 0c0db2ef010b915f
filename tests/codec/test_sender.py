"""The sender: how many chunks it uses, what it refuses, and the offsets that protect the grid."""

import pytest
import torch

from nelbo.codec.chunks import ChunkLayout
from nelbo.codec.grid import BLOCK, OFFSETS, centers, safe_offset, safe_offsets
from nelbo.codec.sender import _number_of_chunks, send_steps
from nelbo.diffusion.pixel_decoder import on_grid, top_place
from nelbo.errors import NonFiniteError
from nelbo.probability import levels_to_data

FLAT = ChunkLayout(torch.full((1, 24), 256))


def kl_of(*bits: float) -> torch.Tensor:
    """Return the running KL of 24 dimensions, in the order of the scan, with these bits in the first ones."""
    kl = torch.zeros(24, dtype=torch.float64)
    kl[: len(bits)] = torch.tensor(bits, dtype=torch.float64)
    return kl.cumsum(0)


@pytest.mark.parametrize(("total", "number"), [(0.0, 1), (12.0, 1), (12.48, 1), (12.52, 2), (24.48, 2), (24.52, 3)])
def test_even_kl_takes_the_fewest_chunks(total, number):
    assert _number_of_chunks(FLAT, 0, kl_of(*[total / 24] * 24), 12) == number


@pytest.mark.parametrize(("excess", "number"), [(0.0, 2), (2.0**-20, 3)])
def test_overfull_chunk_adds_a_chunk(excess, number):
    """The first of two chunks holds 13 bits and the excess in its dimensions 7 to 12, which three chunks split."""
    kl = kl_of(*[0.0] * 6, *[2.5 + excess, 2.5, 2.0, 2.0, 2.0, 2.0], *[0.5] * 12)
    assert _number_of_chunks(FLAT, 0, kl, 12) == number


def test_number_of_chunks_at_most_doubles():
    assert _number_of_chunks(FLAT, 0, kl_of(30.0), 12) == 2 * 3


def test_output_that_is_not_finite_is_an_error(codec, digits, monkeypatch):
    predictions = type(codec.chain).predictions

    def broken(self, x, t):
        prediction = predictions(self, x, t)
        prediction.x_0.fill_(torch.nan)
        return prediction

    monkeypatch.setattr(type(codec.chain), "predictions", broken)
    x_0 = levels_to_data(digits.images([0]), 17, torch.float64)
    with pytest.raises(NonFiniteError, match=rf"output at t = {int(codec.chain.plan.steps[-1])} is not finite"):
        send_steps(codec.chain, x_0, 5, 0, None)


def test_seed_changes_messages_but_not_images(codec, digits):
    images = list(digits.images(range(12)))
    first, second = (codec.encode(images, seed=seed, verify=False) for seed in (0, 1))
    assert [file.message for file in first] != [file.message for file in second]
    for files in (first, second):
        assert all(torch.equal(a.image, b) for a, b in zip(codec.decode(files), images, strict=True))


def test_grid_spans_the_levels():
    assert top_place(17) == 32
    assert on_grid(torch.tensor([-1.0, 0.0, 1.0]), 17).tolist() == [0, 16, 32]


@pytest.mark.parametrize(
    ("value", "offset"),
    [(0.25, 0), (0.4375 - 1 / 256, 0), (0.4375, 32), (0.5, 16), (0.5625 - 1 / 256, 1), (0.5625, 0)],
)
def test_offset_is_the_first_that_keeps_the_margin(value, offset):
    """The edge lies at 0.5 - offset / 256, and the margin is 1/16; rounding at an edge goes up."""
    assert safe_offset(torch.tensor([value], dtype=torch.float64), 1 / 16, 0, 5) == offset


def test_blocks_have_their_own_offsets():
    values = torch.full((1, BLOCK + 1), 3.0, dtype=torch.float64)
    values[0, -1] = 3.5  # on an edge of the offset 0
    (offsets,) = safe_offsets(values, 17)
    assert len(offsets) == 2 and offsets[0] == 0 < offsets[1] < OFFSETS
    assert centers(values, [offsets], 17)[0, -2:].tolist() == [3, 4]


def test_values_without_a_safe_offset_get_the_middle():
    values = torch.tensor([[torch.nan, 3.0]], dtype=torch.float64)
    assert safe_offsets(values, 17) == [[OFFSETS]]
    assert centers(values, [[OFFSETS]], 17).tolist() == [[16, 16]]


def test_centers_stay_within_the_levels():
    values = torch.tensor([[-2.0, 31.9, 40.0]], dtype=torch.float64)
    assert centers(values, [[0]], 17).tolist() == [[0, 32, 32]]
    assert centers(values, [[OFFSETS - 1]], 17).tolist() == [[0, 32, 32]]


def test_chunks_are_at_most_the_dimensions():
    """More would be read as another number: a receiver takes the number of chunks modulo its own limits."""
    layout = ChunkLayout(torch.full((1, 4), 256))
    assert _number_of_chunks(layout, 0, torch.tensor([500.0, 1000.0, 1500.0, 2000.0]), 12) == 4
