"""Distributions of t: weighted means are unbiased, strata lower the variance, and every t is drawn.

All checks use |z| < 4.5 (one false alarm in 150,000 seeds for each) with fixed seeds.
"""

import pytest
import torch
from torch import Tensor

from nelbo.diffusion import ImportanceTimesteps, StratifiedTimesteps, Timesteps, UniformTimesteps, stratified_uniforms
from tests.diffusion.oracle import z_score

T = 50


def cost(t: Tensor) -> Tensor:
    """A cost that falls steeply with t, as L_{t-1} does."""
    return 100.0 / t.double() ** 1.5


MEAN = float(cost(torch.arange(1, T + 1)).mean())


def importance(num_steps: int = T, bins: int = 10) -> ImportanceTimesteps:
    """Return a distribution that has had the cost of every bin."""
    steps = ImportanceTimesteps(num_steps, bins=bins)
    every = torch.arange(1, num_steps + 1)
    steps.update(every, cost(every))
    return steps


def batch_means(steps: Timesteps, num: int = 16, batches: int = 2000, seed: int = 0) -> Tensor:
    """Return the weighted mean of the cost of each batch."""
    g = torch.Generator().manual_seed(seed)
    draws = [steps.draw(num, g) for _ in range(batches)]
    return torch.stack([(d.weight.double() * cost(d.t)).mean() for d in draws])


MAKERS = {
    "uniform": lambda: UniformTimesteps(T),
    "stratified": lambda: StratifiedTimesteps(T),
    "importance": importance,
    "importance-fresh": lambda: ImportanceTimesteps(T, bins=10),
}


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
@pytest.mark.parametrize("num", [1, 7, 16])
def test_weighted_means_are_unbiased(maker, num: int):
    assert abs(z_score(batch_means(maker(), num), MEAN)) < 4.5


@pytest.mark.parametrize("maker", MAKERS.values(), ids=MAKERS)
def test_frequency_of_each_t(maker):
    """Each count over 1,000 batches of 50 is within 5.5 binomial standard errors (strata only lower the error)."""
    steps, g = maker(), torch.Generator().manual_seed(1)
    draws = [steps.draw(50, g) for _ in range(1000)]
    t, weight = torch.cat([d.t for d in draws]), torch.cat([d.weight for d in draws])
    assert t.dtype == torch.int64 and int(t.min()) == 1 and int(t.max()) == T
    p = 1 / (T * torch.zeros(T, dtype=torch.float64).index_copy_(0, t - 1, weight.double()))
    assert float(p.sum()) == pytest.approx(1, abs=1e-5)  # the weights belong to one distribution
    counts = (t - 1).bincount(minlength=T).double()
    assert float(((counts - 50_000 * p) / (50_000 * p * (1 - p)).sqrt()).abs().max()) < 5.5


def test_strata_and_importance_lower_the_variance():
    uniform, stratified, by_importance = (
        batch_means(MAKERS[n]()).var() for n in ("uniform", "stratified", "importance")
    )
    assert float(stratified) < 0.5 * float(uniform)
    assert float(by_importance) < 0.5 * float(uniform)


def test_strata_hold_one_draw_each():
    u = stratified_uniforms(1000, torch.Generator().manual_seed(2))
    assert u.dtype == torch.float64 and torch.equal((u * 1000).long(), torch.arange(1000))
    draw = StratifiedTimesteps(T).draw(T, torch.Generator().manual_seed(3))
    assert torch.equal(draw.t, torch.arange(1, T + 1))  # as many draws as steps, so each t once


def test_more_bins_than_steps_and_uneven_bins():
    for num_steps, bins in ((3, 100), (7, 5), (1, 1)):
        steps = ImportanceTimesteps(num_steps, bins=bins)
        stretch = steps.bin_of(torch.arange(1, num_steps + 1))
        assert sorted(set(stretch.tolist())) == list(range(min(bins, num_steps)))
        steps.update(torch.arange(1, num_steps + 1), torch.ones(num_steps))
        torch.testing.assert_close(steps.probabilities(), torch.full((num_steps,), 1 / num_steps).double())


def test_importance_follows_the_root_mean_square():
    """Two bins of loss 3 and 1: probabilities 3 to 1 apart from the floor; uniform until both bins have had a loss."""
    steps = ImportanceTimesteps(4, bins=2, floor=0.2)
    steps.update(torch.tensor([1, 2]), torch.tensor([3.0, 3.0]))
    assert torch.equal(steps.probabilities(), torch.full((4,), 0.25).double())
    steps.update(torch.tensor([3, 4]), torch.tensor([1.0, -1.0]))
    expected = torch.tensor([0.375, 0.375, 0.125, 0.125]).double() * 0.8 + 0.05
    torch.testing.assert_close(steps.probabilities(), expected)


def test_importance_averages_past_losses():
    """The moving average is unbiased from the first update: two losses of one bin have the weights d and 1."""
    steps = ImportanceTimesteps(2, bins=2, decay=0.9, floor=0.0)
    for loss in (2.0, 6.0):
        steps.update(torch.tensor([1]), torch.tensor([loss]))
    steps.update(torch.tensor([2]), torch.tensor([1.0]))
    root = ((0.9 * 4 + 36) / 1.9) ** 0.5
    assert float(steps.probabilities()[0]) == pytest.approx(root / (root + 1))


def test_importance_state_round_trip():
    steps = importance()
    again = ImportanceTimesteps(T, bins=10)
    again.load_state_dict({name: value.clone() for name, value in steps.state_dict().items()})
    for _ in range(2):
        first, second = (s.draw(32, torch.Generator().manual_seed(4)) for s in (steps, again))
        assert torch.equal(first.t, second.t) and torch.equal(first.weight, second.weight)
        for s in (steps, again):
            s.update(first.t, cost(first.t) + 1)
    assert all(torch.equal(a, b) for a, b in zip(steps.state_dict().values(), again.state_dict().values(), strict=True))


def test_zero_losses_keep_draws_uniform():
    """Losses of 0 must not make the probabilities NaN."""
    steps = ImportanceTimesteps(4, bins=2)
    steps.update(torch.arange(1, 5), torch.zeros(4))
    torch.testing.assert_close(steps.probabilities(), torch.full((4,), 0.25).double())


def test_draws_follow_their_generator():
    for maker in MAKERS.values():
        first, again = (maker().draw(9, torch.Generator().manual_seed(5)).t for _ in range(2))
        assert torch.equal(first, again)
