"""The MLP for points."""

import pytest
import torch

from nelbo.errors import ConfigurationError, ShapeError
from nelbo.networks import MLP, MLPOptions


def points(*shape: int) -> torch.Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(0))


def test_shapes_with_and_without_a_learned_variance() -> None:
    t = torch.tensor([1, 2, 3, 4, 1000])
    assert MLP()(points(5, 2), t).shape == (5, 2)
    assert MLP(MLPOptions(dims=7, learned_variance=True))(points(5, 7), t.float()).shape == (5, 14)


def test_wrong_dimensions_are_refused() -> None:
    with pytest.raises(ShapeError, match=r"\(5, 3\), but expects \(batch, 2\)"):
        MLP()(points(5, 3), torch.ones(5))


@pytest.mark.parametrize("fields", [{"dims": 0}, {"depth": 0}, {"width": 7}])
def test_impossible_options_are_refused(fields: dict[str, int]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(fields))):
        MLPOptions(**fields)


def test_gradient_reaches_every_parameter() -> None:
    network = MLP(MLPOptions(width=16, depth=2, num_classes=2))
    network(points(4, 2), torch.arange(4), torch.tensor([0, 1, 2, 0])).square().sum().backward()
    assert [name for name, p in network.named_parameters() if p.grad is None or not p.grad.abs().max() > 0] == []


def test_network_learns_times_and_classes() -> None:
    """The target, t / 10 for class 1 and -t / 10 for class 0, needs both conditions."""
    torch.manual_seed(0)
    network = MLP(MLPOptions(dims=1, width=32, depth=2, num_classes=2))
    optimizer = torch.optim.Adam(network.parameters(), lr=3e-3)
    t, label = torch.arange(16) % 8, torch.arange(16) // 8
    target = (t / 10 * (2 * label - 1))[:, None]
    for _ in range(150):
        loss = (network(torch.zeros(16, 1), t, label) - target).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.01 * target.square().mean()
