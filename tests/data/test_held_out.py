import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from nelbo.data import ArrayDataset, Split, load_data
from nelbo.data.held_out import held_out_count, split_off
from nelbo.errors import DataError


def numbered(total: int) -> ArrayDataset:
    """Make images of two pixels that encode their index."""
    index = torch.arange(total)
    images = torch.stack([index // 256, index % 256], 1).to(torch.uint8)
    return ArrayDataset(images[:, None, None], labels=index)


def members(split: Split) -> tuple[list[int], list[int]]:
    assert split.train.labels is not None and split.test.labels is not None
    return split.train.labels.tolist(), split.test.labels.tolist()


@given(st.integers(2, 300), st.one_of(st.none(), st.floats(0, 0.9)), st.integers(0, 2**63 - 1))
def test_parts_are_disjoint_complete_and_seeded(total: int, held_out: float | None, seed: int) -> None:
    split = split_off(numbered(total), held_out, seed)
    train, test = members(split)
    assert sorted(train + test) == list(range(total)) and train == sorted(train)
    assert members(split_off(numbered(total), held_out, seed)) == (train, test)
    pixels = split.train.images(range(len(train)))[:, 0, 0].int()
    assert (pixels[:, 0] * 256 + pixels[:, 1]).tolist() == train


def test_seed_changes_the_held_out_part() -> None:
    assert members(split_off(numbered(200), None, 0)) != members(split_off(numbered(200), None, 1))


@pytest.mark.parametrize(
    ("held_out", "total", "count"),
    [
        (None, 1, 0),
        (None, 2, 1),
        (None, 100, 5),
        (None, 10**6, 10_000),
        (0, 50, 0),
        (0.5, 50, 25),
        (0.001, 50, 1),
        (7, 50, 7),
        (7.0, 50, 7),
    ],
)
def test_number_of_held_out_images(held_out: float | None, total: int, count: int) -> None:
    assert held_out_count(held_out, total) == count


@pytest.mark.parametrize("held_out", [-1, -0.1, 1.5, float("nan"), float("inf"), "0.1", True])
def test_invalid_held_out_is_refused_before_reading(held_out: float) -> None:
    with pytest.raises(DataError, match=r"^held_out is"):
        held_out_count(held_out, 100)
    with pytest.raises(DataError, match=r"^held_out is"):
        load_data("a folder that does not exist", held_out=held_out)


def test_an_array_as_a_number_is_shown_in_one_line() -> None:
    with pytest.raises(DataError, match=r"^held_out is an array of float64 \(50, 50\); expected a fraction below 1"):
        load_data("digits", held_out=np.zeros((50, 50)))


def test_seeds_count_modulo_two_to_the_64() -> None:
    for seed, same in ((2**64, 0), (2**64 + 5, np.int64(5)), (-1, 2**64 - 1)):
        assert members(split_off(numbered(200), None, seed)) == members(split_off(numbered(200), None, same))
        points, others = (load_data("toy:moons", seed=each).train for each in (seed, same))
        assert torch.equal(points.images(range(100)), others.images(range(100)))


def test_holding_out_everything_is_refused() -> None:
    for total, held_out in ((10, 10), (1, 1), (10, 50), (1, 0.1)):
        with pytest.raises(DataError, match="which leaves none to train on"):
            split_off(numbered(total), held_out, 0)
