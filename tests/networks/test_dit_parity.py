"""The DiT and diffusers' `DiTTransformer2DModel` have the same output for the same weights."""

from typing import cast

import pytest
import torch
from torch import Tensor, nn

from nelbo.networks import DiT, DiTOptions

diffusers = pytest.importorskip("diffusers", reason="diffusers (the extra `test`) is the independent implementation")

WIDTH, DEPTH, HEADS, CLASSES = 24, 2, 3, 5
EMBEDDED = "transformer_blocks.0.norm1.emb"  # each block of diffusers holds a copy of the time and class embedding
BLOCK = {
    "modulation": "norm1.linear",
    "mixed": "attn1.to_out.0",
    "expand": "ff.net.0.proj",
    "contract": "ff.net.2",
}


def theirs_of(patch: int, side: int) -> nn.Module:
    """Build their network in float64 with random weights and one embedding for all blocks, as in DiT's own code."""
    from diffusers.models.embeddings import get_2d_sincos_pos_embed

    network = diffusers.DiTTransformer2DModel(
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        in_channels=3,
        out_channels=6,
        num_layers=DEPTH,
        sample_size=side,
        patch_size=patch,
        num_embeds_ada_norm=CLASSES,
        norm_eps=1e-6,
    )
    network = network.double().eval()
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator, dtype=torch.float64))
    for block in network.transformer_blocks[1:]:
        block.norm1.emb.load_state_dict(network.transformer_blocks[0].norm1.emb.state_dict())
    # rounded to float32 in their constructor; this is the same function at full precision
    network.pos_embed.pos_embed = get_2d_sincos_pos_embed(WIDTH, side // patch, base_size=side // patch)[None].double()
    return cast(nn.Module, network)


def ours_of(theirs: nn.Module, patch: int) -> DiT:
    """Build our network with their weights, under our names."""
    weights: dict[str, Tensor] = {}
    given = theirs.state_dict()

    def copy(own: str, other: str) -> None:
        weights.update({f"{own}.{kind}": given[f"{other}.{kind}"] for kind in ("weight", "bias")})

    copy("input", "pos_embed.proj")
    copy("condition.time.0", f"{EMBEDDED}.timestep_embedder.linear_1")
    copy("condition.time.2", f"{EMBEDDED}.timestep_embedder.linear_2")
    cosines, sines = weights["condition.time.0.weight"].chunk(2, dim=1)  # ours has the sines first
    weights["condition.time.0.weight"] = torch.cat([sines, cosines], dim=1)
    weights["condition.label.weight"] = given[f"{EMBEDDED}.class_embedder.embedding_table.weight"]
    for i in range(DEPTH):
        for own, other in BLOCK.items():
            copy(f"blocks.{i}.{own}", f"transformer_blocks.{i}.{other}")
        for kind in ("weight", "bias"):
            parts = [given[f"transformer_blocks.{i}.attn1.to_{part}.{kind}"] for part in "qkv"]
            weights[f"blocks.{i}.query_key_value.{kind}"] = torch.cat(parts)
    copy("modulation", "proj_out_1")
    copy("output", "proj_out_2")
    options = DiTOptions(width=WIDTH, depth=DEPTH, heads=HEADS, patch=patch, num_classes=CLASSES, learned_variance=True)
    ours = DiT(options).double().eval()
    ours.load_state_dict(weights)
    return ours


@pytest.mark.parametrize(("patch", "side"), [(2, 8), (1, 4), (4, 16)])
def test_same_weights_same_output(patch: int, side: int) -> None:
    theirs = theirs_of(patch, side)
    ours = ours_of(theirs, patch)
    x_t = torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    t, label = torch.tensor([0, 1, 517, 999]), torch.tensor([0, 4, 2, CLASSES])  # the last class is "no class"
    # the sinusoids of their time embedding are float32, so the same numbers are given to ours
    sinusoids = theirs.transformer_blocks[0].norm1.emb.time_proj(t).double()
    cosines, sines = sinusoids.chunk(2, dim=1)
    ours.condition.time.register_forward_pre_hook(lambda _, given: _near(given[0], torch.cat([sines, cosines], 1)))
    with torch.no_grad():
        expected, given = theirs(x_t, t, label).sample, ours(x_t, t, label.where(label < CLASSES, -1))
    assert expected.abs().mean() > 0.5  # for smaller outputs, a small error would prove little
    assert (given - expected).abs().max() <= 1e-10 * expected.abs().max()


def _near(own: Tensor, theirs: Tensor) -> Tensor:
    """Return their sinusoids of the time, once ours are found to equal them in float32."""
    assert (own - theirs).abs().max() < 2e-4
    return theirs


def test_same_weights_same_gradient() -> None:
    theirs = theirs_of(2, 8)
    ours = ours_of(theirs, 2)
    x_t = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    t, label = torch.tensor([0, 0]), torch.tensor([1, 3])  # at t = 0 their float32 sinusoids are exact
    theirs(x_t, t, label).sample.square().mean().backward()
    ours(x_t, t, label).square().mean().backward()
    pairs = [
        (ours.input.weight, theirs.pos_embed.proj.weight),
        (ours.output.weight, theirs.proj_out_2.weight),
        (ours.modulation.weight, theirs.proj_out_1.weight),
    ]
    for own, other in zip(ours.blocks, theirs.transformer_blocks, strict=True):
        pairs += [(own.modulation.weight, other.norm1.linear.weight), (own.expand.weight, other.ff.net[0].proj.weight)]
    for own, other in pairs:
        assert (own.grad - other.grad).abs().max() <= 1e-10 * other.grad.abs().max()
