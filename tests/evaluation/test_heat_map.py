"""The map of bits: its mean is the score of the image, and its dimensions add up to the terms of the bound."""

from dataclasses import replace

import pytest
import torch

from nelbo.data import ArrayDataset
from nelbo.diffusion import FixedSmall
from nelbo.evaluation import evaluate_bound, evaluate_heat_map, expected_terms
from tests.evaluation.test_bound import DATA, REVERSE, SCHEDULE, images


@pytest.mark.parametrize("steps", [1, 3, 9, 50, None])
@pytest.mark.parametrize("seed", [0, 7])
def test_mean_is_the_score_of_the_image(steps, seed):
    [image], proposal = images(1).images([0]), expected_terms(REVERSE, DATA.mse(SCHEDULE))
    found = evaluate_heat_map(REVERSE, image, steps_per_image=steps, proposal=proposal, seed=seed)
    report = evaluate_bound(
        REVERSE, ArrayDataset(image[None], levels=17), steps_per_image=steps, proposal=proposal, seed=seed
    )
    assert found.bits.shape == image.shape and found.pixels.shape == image.shape[1:]
    assert found.total == pytest.approx(float(report.scores[0]), rel=1e-5)
    for part in ("prior", "denoising", "decoder"):
        assert float(getattr(found, part).mean()) == pytest.approx(getattr(report, part), rel=1e-5)
    assert found.steps_per_image == report.steps_per_image


@pytest.mark.parametrize("index", [0, 2])
def test_mean_is_the_score_of_an_image_of_a_set(index):
    some = images(3)
    found = evaluate_heat_map(REVERSE, some[index], steps_per_image=3, seed=5, index=index)
    scores = evaluate_bound(REVERSE, some, steps_per_image=3, seed=5).scores
    assert found.total == pytest.approx(float(scores[index]), rel=1e-5)
    assert float(found.pixels.sum()) == pytest.approx(9 * float(scores[index]), rel=1e-5)


def test_surprising_pixel_has_most_bits():
    """Independent Gaussian pixels around the middle level, one of them at the end of the range; mean of 20 draws."""
    image = torch.full((1, 3, 3), 8, dtype=torch.uint8)
    image[0, 1, 2] = 16
    found = [evaluate_heat_map(REVERSE, image, steps_per_image=None, seed=seed) for seed in range(20)]
    pixels = torch.stack([each.pixels for each in found]).mean(0).flatten()
    others = pixels[torch.arange(9) != 5]
    assert float(pixels[5]) > float(others.max()) + 1 and float(others.std()) < 0.5
    row, column = divmod(int(found[0].pixels.argmax()), 3)
    assert found[0].summary()["most"].endswith(f"row {row}, column {column}")


def test_map_shows_itself_and_its_progress():
    calls = []
    found = evaluate_heat_map(REVERSE, images(1).images([0])[0], steps_per_image=2, progress=lambda *a: calls.append(a))
    assert calls == [(1, 4), (2, 4), (3, 4), (4, 4)]
    [[png]] = found.pictures().values()
    assert png.startswith(b"\x89PNG") and "bits/dim" in repr(found)


def test_chain_of_one_step():
    reverse = replace(REVERSE, schedule=SCHEDULE.strided(1), variance=FixedSmall())
    [image] = images(1).images([0])
    found = evaluate_heat_map(reverse, image)
    report = evaluate_bound(reverse, ArrayDataset(image[None], levels=17))
    assert found.total == pytest.approx(float(report.scores[0]), rel=1e-5)
