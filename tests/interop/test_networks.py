"""An imported network outputs the same numbers as diffusers, for every configuration."""

import json
from pathlib import Path
from typing import Any

import diffusers
import pytest
import torch
from safetensors.torch import load_file, save_file

import nelbo
from nelbo.interop import import_model
from tests.interop.conftest import difference, noise, their_folder, their_unet

PLAIN = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
CIFAR10 = {  # google/ddpm-cifar10-32
    "sample_size": 32,
    "block_out_channels": (128, 256, 256, 256),
    "down_block_types": ("DownBlock2D", "AttnDownBlock2D", "DownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
    "layers_per_block": 2,
    "norm_num_groups": 32,
    "norm_eps": 1e-6,
    "attention_head_dim": None,
    "flip_sin_to_cos": False,
    "freq_shift": 1,
    "downsample_padding": 0,
}
VARIED: dict[str, dict[str, Any]] = {
    "diffusers' defaults": {},
    "norm_eps": {"norm_eps": 1e-2},
    "sines first": {"flip_sin_to_cos": False},
    "freq_shift": {"freq_shift": 1},
    "asymmetric padding": {"downsample_padding": 0},
    "one head": {"attention_head_dim": None},
    "heads that differ by level": {
        "attention_head_dim": 4,
        "down_block_types": ("AttnDownBlock2D",) * 2,
        "up_block_types": ("AttnUpBlock2D",) * 2,
    },
    "attention nowhere": {**PLAIN, "add_attention": False},
    "attention in the middle only": PLAIN,
    "layers_per_block": {"layers_per_block": 3},
    "norm_num_groups": {"norm_num_groups": 8, "attn_norm_num_groups": 8},
    "swish": {"act_fn": "swish"},
    "widths": {"block_out_channels": (16, 48)},
    "time_embedding_dim": {"time_embedding_dim": 64},
    "dropout": {"dropout": 0.3},
    "grey": {"in_channels": 1, "out_channels": 1},
    "not square": {"sample_size": (16, 24)},
    "one level": {
        "block_out_channels": (16,),
        "down_block_types": ("AttnDownBlock2D",),
        "up_block_types": ("AttnUpBlock2D",),
    },
}


def agrees(unet: Any, folder: Path, out: Path) -> float:
    """Return the largest difference over a few steps; step k of diffusers is our t = k + 1."""
    import_model(folder, out)
    run = nelbo.load(out, device="cpu")
    x_t, worst = noise(2, *run.shape), 0.0
    for t in (1, 2, 513, 1000):
        with torch.no_grad():
            expected, given = unet(x_t, t - 1).sample, run.network(x_t, torch.tensor([t, t]))
        worst = max(worst, difference(given, expected))
    return worst


@pytest.mark.parametrize("changes", VARIED.values(), ids=VARIED)
def test_imported_weights_give_the_same_output(changes: dict[str, Any], tmp_path: Path) -> None:
    unet = their_unet(**changes)
    assert agrees(unet, their_folder(tmp_path / "theirs", unet), tmp_path / "ours") <= 1e-5
    options = nelbo.load(tmp_path / "ours").recipe.network
    assert options.dropout == changes.get("dropout", 0.0)


@pytest.mark.slow
def test_cifar10_network_gives_the_same_output(tmp_path: Path) -> None:
    torch.manual_seed(0)
    unet = diffusers.UNet2DModel(**CIFAR10).eval()  # at initialization, so that the output has the scale of noise
    worst = agrees(unet, their_folder(tmp_path / "theirs", unet), tmp_path / "ours")
    print(f"max-abs {worst:.1e}")
    assert worst <= 1e-5
    network = nelbo.load(tmp_path / "ours").network
    assert sum(parameter.numel() for parameter in network.parameters()) == 35_746_307


def test_network_alone_with_and_without_scheduler(tmp_path: Path) -> None:
    unet = their_unet()
    unet.save_pretrained(tmp_path / "bare")
    assert agrees(unet, tmp_path / "bare", tmp_path / "ours") <= 1e-5
    assert "the paper's schedule is assumed" in import_model(tmp_path / "bare", tmp_path / "again").notes[0]
    diffusers.DDPMScheduler(num_train_timesteps=7).save_pretrained(tmp_path / "bare")
    assert import_model(tmp_path / "bare", tmp_path / "seven").notes == ()
    assert nelbo.load(tmp_path / "seven").schedule.num_steps == 7


def test_old_attention_names_and_half_precision(tmp_path: Path) -> None:
    unet = their_unet()
    folder = their_folder(tmp_path / "theirs", unet.half().float())
    path = folder / "unet" / "diffusion_pytorch_model.safetensors"
    former = {".to_q.": ".query.", ".to_k.": ".key.", ".to_v.": ".value.", ".to_out.0.": ".proj_attn."}
    weights = {}
    for name, weight in load_file(path).items():
        for today, before in former.items():
            name = name.replace(today, before)
        weights[name] = weight.half()
    assert any("proj_attn" in name for name in weights)
    save_file(weights, path)
    assert agrees(unet, folder, tmp_path / "ours") <= 1e-5


def test_size_is_needed_if_the_model_lacks_it(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "theirs", their_unet(sample_size=None))
    with pytest.raises(nelbo.NelboError, match="sample_size is null; set the side of the images, such as size=32"):
        import_model(folder, tmp_path / "ours")
    import_model(folder, tmp_path / "ours", size=8)
    assert nelbo.load(tmp_path / "ours").shape == (3, 8, 8)
    assert json.loads((tmp_path / "ours" / "config.json").read_text())["data"]["spec"] == "unknown"
    with pytest.raises(nelbo.NelboError, match="is a run folder, which states the size of its images; leave size out"):
        import_model(tmp_path / "ours", tmp_path / "again", size=8)


def test_size_that_differs_is_noted(tmp_path: Path) -> None:
    folder = their_folder(tmp_path / "theirs", their_unet(sample_size=8))
    assert not import_model(folder, tmp_path / "same", size=8).notes
    notes = import_model(folder, tmp_path / "ours", size=16).notes
    assert notes == ("the model states a side of 8 for its images, not 16",)
    assert nelbo.load(tmp_path / "ours").sample(1, steps=2).shape == (1, 3, 16, 16)
