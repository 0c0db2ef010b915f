"""The comparison on digits: its models train, and its figures are those of the bound."""

import pytest
import torch

import nelbo
from benchmarks.digits import DRAWS, MODELS, measure, table
from nelbo.data import load_data
from nelbo.evaluation import measure_bound

TINY = {"training.steps": 2, "training.minutes": None, "training.batch_size": 4, "schedule.num_steps": 12}
SMALL = {
    "digits": {"network.base": 8, "network.groups": 4, "network.blocks": 1},
    "dit-digits": {"network.width": 16, "network.depth": 1},
}


@pytest.mark.parametrize("name", MODELS)
def test_figures_are_those_of_the_bound(name, tmp_path):
    preset, overrides = MODELS[name]
    overrides = {**overrides, **TINY, **SMALL[preset]}
    run = nelbo.train("digits", tmp_path, preset=preset, overrides=overrides, pictures=False)
    images = load_data("digits").test.subset(torch.arange(5))
    row = measure(run, images)
    assert row.steps == 2
    assert row.bits == pytest.approx(run.bound(images, steps_per_image=None).total, abs=1e-6)
    some = [measure_bound(run.reverse(clip=True), images, steps_per_image=DRAWS, seed=seed).scores for seed in (0, 1)]
    assert 0 < row.spread < 10 * float((some[0] - some[1]).abs().mean())
    assert f"| {name} | {row.parameters:,} | 2 |" in table({name: row})
