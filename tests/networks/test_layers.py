"""The layers for which nelbo has its own implementation, against their definitions."""

import pytest
import torch
import torch.nn.functional as F

from nelbo.networks.conditioning import ConditionEmbedding
from nelbo.networks.group_norm import sliced_group_norm
from nelbo.networks.layers import FeatureDropout, GroupNorm, attend, working_dtype


@pytest.mark.parametrize("shape", [(8, 33, 31, 29), (9, 701, 33)])  # images and tokens, no multiples of 4 elements
@pytest.mark.parametrize("probability", [0.1, 0.5])
def test_dropout_has_its_probability_and_scale(probability: float, shape: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    x = torch.ones(shape)
    y = FeatureDropout(probability)(x)
    dropped = (y == 0).double().mean().item()
    standard_error = (probability * (1 - probability) / x.numel()) ** 0.5
    assert abs(dropped - probability) < 5 * standard_error  # one false alarm in 1.7 million seeds
    torch.testing.assert_close(y[y != 0], torch.full_like(y[y != 0], 1 / (1 - probability)))


def test_dropout_of_elements_is_independent() -> None:
    torch.manual_seed(0)
    kept = (FeatureDropout(0.5)(torch.ones(64, 64, 16, 16)) != 0).double() - 0.5
    flat = kept.permute(0, 2, 3, 1).flatten()
    for lag in (1, 2, 3, 4, 64):
        correlation = 4 * (flat[lag:] * flat[:-lag]).mean().item()
        assert abs(correlation) < 5 / len(flat) ** 0.5


def test_dropout_is_identity_in_evaluation() -> None:
    x = torch.randn(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    assert FeatureDropout(0.5).eval()(x) is x
    assert FeatureDropout(0.0)(x) is x


def test_dropout_repeats_with_its_seed() -> None:
    x, dropout = torch.ones(2, 4, 8, 8), FeatureDropout(0.5)
    first, second = (dropout(x) for _ in range(2))
    torch.manual_seed(3)
    third = dropout(x)
    torch.manual_seed(3)
    assert torch.equal(third, dropout(x))
    assert not torch.equal(first, second)


@pytest.mark.parametrize("shape", [(2, 64, 14, 14), (2, 64, 33, 32), (2, 16, 2, 3)])
@pytest.mark.parametrize("groups", [1, 2, 8])
def test_group_norm_equals_definition_and_keeps_layout(shape: tuple[int, ...], groups: int) -> None:
    x = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 3 + 1
    x = x.contiguous(memory_format=torch.channels_last)
    y = GroupNorm(groups, shape[1])(x)
    assert y.is_contiguous(memory_format=torch.channels_last)
    grouped = x.double().reshape(shape[0], groups, -1)
    expected = (grouped - grouped.mean(2, keepdim=True)) / (grouped.var(2, correction=0, keepdim=True) + 1e-6).sqrt()
    torch.testing.assert_close(y.double(), expected.view(shape), atol=1e-5, rtol=1e-5)


def test_group_norm_statistics_are_float32() -> None:
    """With a mean far above the spread, statistics in bfloat16 would lose the spread."""
    x = (torch.randn(1, 8, 24, 24, generator=torch.Generator().manual_seed(0)) + 20).bfloat16()
    y = GroupNorm(2, 8)(x.contiguous(memory_format=torch.channels_last))
    torch.testing.assert_close(y.float(), F.group_norm(x.float(), 2, eps=1e-6), atol=0.02, rtol=0.01)


def test_working_dtype_follows_autocast() -> None:
    x = torch.zeros(1)
    assert working_dtype(x) == torch.float32
    with torch.autocast("cpu", torch.bfloat16):
        assert working_dtype(x) == torch.bfloat16


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_group_norm_gradient_equals_reference(dtype: torch.dtype) -> None:
    """Every path of GroupNorm: narrow and wide groups, small and large images."""
    for width, groups, side in ((16, 4, 8), (32, 4, 8), (64, 4, 8), (16, 4, 32), (64, 4, 32)):
        x = torch.randn(2, width, side, side, generator=torch.Generator().manual_seed(0)).to(dtype)
        x = x.contiguous(memory_format=torch.channels_last).requires_grad_()
        reference = x.detach().float().requires_grad_()
        y, expected = GroupNorm(groups, width)(x), F.group_norm(reference, groups, eps=1e-6)
        torch.testing.assert_close(GroupNorm(groups, width, activated=True)(x), F.silu(y))
        assert y.dtype == dtype and y.is_contiguous(memory_format=torch.channels_last)
        (y.float() ** 3).sum().backward()
        (expected**3).sum().backward()
        tolerance = {"atol": 0.1, "rtol": 0.03} if dtype == torch.bfloat16 else {"atol": 1e-4, "rtol": 1e-4}
        torch.testing.assert_close(y.float(), expected, **tolerance)
        torch.testing.assert_close(x.grad.float(), reference.grad, **tolerance)


@pytest.mark.parametrize("tokens", [5, 1025])
def test_bfloat16_attention_is_close_to_float32(tokens: int) -> None:
    qkv = torch.randn(3, 2, 2, tokens, 16, generator=torch.Generator().manual_seed(0))
    query, key, value = qkv.bfloat16()
    expected = torch.softmax(query.double() @ key.double().mT / 4, -1) @ value.double()
    torch.testing.assert_close(attend(query, key, value).double(), expected, atol=0.03, rtol=0.02)
    torch.testing.assert_close(attend(query.float(), key.float(), value.float()).double(), expected, atol=1e-5, rtol=0)


def test_class_embedding_is_initialised_once(monkeypatch):
    """The default draw of `nn.Embedding` would be wasted; on the meta device it also imports a thousand modules."""
    monkeypatch.setattr(torch.nn.init, "normal_", lambda *_, **__: pytest.fail("drawn twice"))
    weight = ConditionEmbedding(8, 3).label.weight
    assert weight.shape == (4, 32) and weight.requires_grad and 0 < weight.abs().max().item() <= (6 / 36) ** 0.5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("activated", [False, True])
@pytest.mark.parametrize(("width", "groups"), [(8, 8), (12, 4), (32, 2), (128, 32)])
def test_sliced_group_norm_gradient_equals_pytorch(dtype: torch.dtype, activated: bool, width: int, groups: int):
    generator = torch.Generator().manual_seed(0)
    x, slope = (torch.randn(3, width, 32, 34, generator=generator) + 0.5 for _ in range(2))
    x, slope = (each.to(dtype=dtype, memory_format=torch.channels_last) for each in (x, slope))
    weight, bias = (torch.randn(width, generator=generator) for _ in range(2))

    exact = [each.double().requires_grad_() for each in (x, weight, bias)]
    expected = F.group_norm(exact[0], groups, exact[1], exact[2], 1e-6)
    expected = F.silu(expected) if activated else expected
    expected.backward(slope.double())
    kept = slope.clone()
    ours = [each.clone().requires_grad_() for each in (x, weight, bias)]
    output = sliced_group_norm(*ours[:3], groups, 1e-6, activated)
    close = {"atol": 0.05, "rtol": 0.01} if dtype == torch.bfloat16 else {"atol": 1e-5, "rtol": 1e-5}
    torch.testing.assert_close(output.double(), expected, **close)
    output.backward(slope)
    assert torch.equal(slope, kept)
    assert ours[0].grad is not None and ours[0].grad.is_contiguous(memory_format=torch.channels_last)
    for mine, true in zip(ours, exact, strict=True):
        assert mine.grad is not None and true.grad is not None and mine.grad.dtype == mine.dtype
        error = (mine.grad.double() - true.grad).abs().max() / true.grad.abs().max()
        assert float(error) < (8e-3 if mine.dtype == torch.bfloat16 else 1e-5)


def test_sliced_group_norm_supports_torch_func():
    """An exact divergence differentiates in many directions at once."""
    norm = GroupNorm(2, 4)
    x = torch.randn(1, 4, 32, 32).to(dtype=torch.bfloat16, memory_format=torch.channels_last)
    leaf = x.clone().requires_grad_()
    assert "SlicedGroupNorm" in repr(norm(leaf).grad_fn)
    _, pull = torch.func.vjp(lambda x: sliced_group_norm(x, norm.weight, norm.bias, 2, 1e-6), x)
    directions = torch.randn(3, *x.shape).to(x)
    together = torch.func.vmap(pull)(directions)[0]
    torch.testing.assert_close(together[1], pull(directions[1])[0], atol=0.05, rtol=0.02)
