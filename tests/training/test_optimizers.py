"""Muon for matrices and AdamW for the rest."""

import pytest
import torch
from torch import nn

from nelbo.errors import ConfigurationError
from nelbo.training import TrainerOptions
from nelbo.training.optimizers import MuonWithAdamW, build_optimizer, orthogonalized
from tests.training.conftest import assert_same_run, state_of

CPU = torch.device("cpu")
WIDE = {"base": 16, "groups": 8}


def options(**changes):
    return TrainerOptions(steps=1, optimizer="muon", learning_rate=0.1, **changes)


def with_gradients(*shapes, memory_format=torch.contiguous_format):
    """A network of parameters of these shapes, and their gradients."""
    network = nn.Module()
    generator = torch.Generator().manual_seed(0)
    for place, shape in enumerate(shapes):
        parameter = nn.Parameter(torch.randn(shape, generator=generator))
        if len(shape) == 4:
            parameter = nn.Parameter(parameter.detach().contiguous(memory_format=memory_format))
        parameter.grad = torch.randn(shape, generator=generator)
        network.register_parameter(str(place), parameter)
    return network, list(network.parameters())


@pytest.mark.parametrize("shape", [(16, 72), (72, 16), (32, 99)])
def test_update_of_a_matrix_is_nearly_orthogonal(shape):
    network, (weight,) = with_gradients(shape)
    before = weight.detach().clone()
    build_optimizer(network, options(), CPU).step()
    update = (before - weight.detach()) / (0.1 * 0.2 * max(shape) ** 0.5)
    assert torch.linalg.svdvals(update).sub(1).abs().max() < 0.35  # the iteration ends between 0.7 and 1.2


@pytest.mark.parametrize("rank", [1, 5, 16])
@pytest.mark.parametrize("shape", [(16, 32), (200, 16), (16, 400)])
def test_wide_matrices_are_orthogonalized_as_by_the_iteration(shape, rank):
    """Also matrices of a low rank, whose small singular values must not grow from rounding errors."""
    generator = torch.Generator().manual_seed(0)
    matrices = torch.randn(3, shape[0], rank, generator=generator) @ torch.randn(3, rank, shape[1], generator=generator)
    X = matrices.double() / matrices.double().flatten(1).norm(dim=1)[:, None, None]
    for _ in range(5):
        A = X @ X.mT
        X = 3.4445 * X + (-4.7750 * A + 2.0315 * A @ A) @ X
    assert (orthogonalized(matrices) - X).abs().max() < 1e-4
    assert orthogonalized(torch.zeros(1, 16, 32)).abs().max() == 0


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("gradient_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("shape", [(16, 8, 3, 3), (40, 2, 3, 3)])
def test_kernel_is_updated_as_its_matrix_in_any_memory_layout(memory_format, gradient_format, shape):
    network, (kernel,) = with_gradients(shape, memory_format=memory_format)
    kernel.grad = kernel.grad.contiguous(memory_format=gradient_format)
    matrices, (matrix,) = with_gradients((shape[0], 9 * shape[1]))
    matrix.data, matrix.grad = kernel.detach().flatten(1).clone(), kernel.grad.flatten(1).clone()
    for each in (network, matrices):
        optimizer = build_optimizer(each, options(), CPU)
        optimizer.step()
        optimizer.step()
    assert torch.allclose(kernel.detach().flatten(1), matrix.detach(), atol=2e-3)  # bfloat16 sums in another order


def test_small_matrices_and_vectors_are_left_to_adamw():
    shapes = [(32,), (2, 32, 3, 3), (32, 15)]
    _, parameters = with_gradients(*shapes, (32, 32))
    _, others = with_gradients(*shapes)
    together = MuonWithAdamW(parameters, options(), CPU)
    alone = torch.optim.AdamW(others, lr=0.1, betas=(0.9, 0.999), weight_decay=0.0, fused=True)
    for optimizer in (together, alone):
        optimizer.step()
        optimizer.step()
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(parameters, others, strict=False))
    assert [set(together.state[p]) for p in parameters[2:]] == [{"step", "exp_avg", "exp_avg_sq"}, {"momentum_buffer"}]


def test_learning_rate_of_the_trainer_reaches_both():
    network, parameters = with_gradients((16, 16), (16,))
    optimizer = build_optimizer(network, options(), CPU)
    before = [p.detach().clone() for p in parameters]
    optimizer.param_groups[0]["lr"] = 0.0
    optimizer.step()
    assert all(torch.equal(a, b) for a, b in zip(before, parameters, strict=True))


def test_parameter_without_a_gradient_stays():
    network, parameters = with_gradients((16, 16), (16, 16))
    parameters[0].grad, before = None, parameters[0].detach().clone()
    build_optimizer(network, options(), CPU).step()
    assert torch.equal(parameters[0], before)


def test_resume_with_muon_is_bitwise(trainer, tmp_path):
    common = {"steps": 7, "log_every": 3, "optimizer": "muon", "network": WIDE, "weight_decay": 0.1}
    trainer(tmp_path / "unbroken", **common).run()
    trainer(tmp_path / "broken", **common, stop_at=3).run()
    trainer(tmp_path / "broken", **common).run()
    assert_same_run(tmp_path / "unbroken", tmp_path / "broken")
    tensors, _ = state_of(tmp_path / "broken")
    assert any(name.endswith("/momentum_buffer") and value.ndim == 4 for name, value in tensors.items())


def test_muon_trains_differently_from_adamw(trainer, tmp_path):
    for name in ("adamw", "muon"):
        trainer(tmp_path / name, steps=2, optimizer=name, network=WIDE).run()
    ours, theirs = (state_of(tmp_path / name)[0] for name in ("adamw", "muon"))
    assert not torch.equal(ours["network/input.weight"], theirs["network/input.weight"])


@pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="PyTorch 2.9 or later has Muon")
@pytest.mark.parametrize("shape", [(16, 72), (72, 16)])
def test_updates_are_those_of_pytorch(shape):
    network, (weight,) = with_gradients(shape)
    _, (other,) = with_gradients(shape)
    ours = build_optimizer(network, options(weight_decay=0.1), CPU)
    ours._dtype = torch.bfloat16
    theirs = torch.optim.Muon([other], lr=0.1, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(3):
        ours.step()
        theirs.step()
    assert torch.allclose(weight, other, atol=2e-2)  # 1% of an update: bfloat16 sums in another order
    assert float((weight - other).detach().std()) < 2e-3


@pytest.mark.parametrize("supported", [True, False])
def test_bfloat16_is_used_where_the_processor_has_it(monkeypatch, supported):
    monkeypatch.setattr("nelbo.training.optimizers.bf16_wanted", lambda precision: supported)
    network, _ = with_gradients((16, 72))
    direction = build_optimizer(network, options(), CPU)._direction(next(iter(network.parameters())))
    assert direction.dtype == (torch.bfloat16 if supported else torch.float32)


def test_unknown_optimizer_is_refused():
    with pytest.raises(ConfigurationError, match=r"training\.optimizer must be adamw or muon, got 'sgd'"):
        TrainerOptions(steps=1, optimizer="sgd")
