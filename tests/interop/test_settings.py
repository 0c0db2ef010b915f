"""Settings without a counterpart are refused by name, one row each: settings of diffusers, and ours."""

import json
import shutil
from collections.abc import Callable
from dataclasses import fields
from inspect import signature
from pathlib import Path
from typing import Any

import diffusers
import pytest

import nelbo
from nelbo.errors import ConfigurationError, NelboError
from nelbo.interop import export_model, import_model
from nelbo.interop.scheduler_config import ADDED, Chain, SchedulerConfig, config_of
from nelbo.interop.scheduler_config import ONE_WAY as CHAIN
from nelbo.interop.unet_config import ONE_WAY as NETWORK
from nelbo.interop.unet_config import UNetConfig
from nelbo.networks import DiTOptions, MLPOptions, UNetOptions
from nelbo.recipes import ScheduleOptions, VAERecipe, preset
from nelbo.recipes.assembly import build_network
from nelbo.runs import DataOptions, DiffusionRun, RunConfig
from nelbo.runs.run import save_model
from tests.interop.conftest import edit

REFUSED_UNET: list[tuple[dict[str, Any], str]] = [
    (
        {"center_input_sample": True},
        "center_input_sample is true, which nelbo does not support; expected false",
    ),
    ({"time_embedding_type": "fourier"}, 'time_embedding_type is "fourier"'),
    ({"mid_block_type": None}, "mid_block_type is null"),
    ({"mid_block_scale_factor": 1.41}, "mid_block_scale_factor is 1.41"),
    ({"downsample_padding": 2}, "downsample_padding is 2"),
    ({"downsample_type": "resnet"}, 'downsample_type is "resnet"'),
    ({"upsample_type": "resnet"}, 'upsample_type is "resnet"'),
    ({"act_fn": "gelu"}, 'act_fn is "gelu"'),
    ({"resnet_time_scale_shift": "scale_shift"}, 'resnet_time_scale_shift is "scale_shift"'),
    ({"class_embed_type": "timestep"}, 'class_embed_type is "timestep"'),
    (
        {"num_class_embeds": 10},
        "num_class_embeds is 10, which nelbo does not support: conditional networks of nelbo also learn 'no class'",
    ),
    ({"num_train_timesteps": 1000}, "num_train_timesteps is 1000"),
    ({"down_block_types": ["SkipDownBlock2D", "AttnDownBlock2D"]}, "down_block_types has 'SkipDownBlock2D'"),
    ({"up_block_types": ["ResnetUpsampleBlock2D", "UpBlock2D"]}, "up_block_types has 'ResnetUpsampleBlock2D'"),
    ({"up_block_types": ["UpBlock2D", "UpBlock2D"]}, "level 1 is AttnDownBlock2D on the way down and UpBlock2D on the"),
    ({"up_block_types": ["UpBlock2D"]}, "there are 2 down_block_types, 1 up_block_types and 2 block_out_channels"),
    ({"block_out_channels": [16, 24]}, "block_out_channels is [16, 24]; each must be a multiple of the first"),
    ({"block_out_channels": []}, "block_out_channels is []; each must be a multiple of the first"),
    ({"time_embedding_dim": 128}, "time_embedding_dim is 128; expected null or 64"),
    ({"norm_num_groups": None}, "norm_num_groups is null"),
    ({"norm_num_groups": 5}, "`groups` is 5, which does not divide 16 channels"),
    ({"attn_norm_num_groups": 8}, "attn_norm_num_groups is 8 and norm_num_groups is 4"),
    ({"attention_head_dim": 5}, "`head_width` is 5, which does not divide 32 channels"),
    ({"out_channels": 4}, "the network takes 3 channels and outputs 4"),
    ({"freq_shift": 8}, "`frequency_shift` is 8, but must be within 0..7"),
    ({"norm_eps": 0.0}, "`norm_eps` is 0.0"),
    ({"sample_size": 17}, "images of 17 x 17 (height x width) do not fit a U-Net of 2 levels"),
    ({"sample_size": [16, 16, 16]}, "sample_size is (16, 16, 16); expected a side, or a height and a width"),
    (
        {"sample_size": 10**12},
        "sample_size is 1000000000000; expected a side, or a height and a width, within 1..16384",
    ),
    ({"layers_per_block": 0}, "`blocks` is 0"),
    ({"layers_per_block": 10**9}, "`blocks` is 1000000000"),
    ({"block_out_channels": [3_200_000_000, 3_200_000_000]}, "`base` is 3200000000"),
    ({"layers_per_block": "two"}, "the setting layers_per_block is 'two'; expected a whole number"),
    ({"dropout": 1.0}, "`dropout` is 1.0"),
    ({"flip_sin_to_sin": True}, "did you mean 'flip_sin_to_cos'?"),
]
REFUSED_SCHEDULER: list[tuple[dict[str, Any], str]] = [
    ({"beta_schedule": "laplace"}, 'beta_schedule is "laplace"'),
    ({"prediction_type": "flow"}, 'prediction_type is "flow"'),
    ({"variance_type": "learned"}, 'variance_type is "learned"'),
    ({"variance_type": "learned_range"}, "the network outputs no variance; set variance_type to 'fixed_small'"),
    ({"clip_sample_range": 2.0}, "clip_sample_range is 2.0"),
    ({"rescale_betas_zero_snr": True}, "rescale_betas_zero_snr is true"),
    ({"predict_epsilon": False}, "predict_epsilon is false, which nelbo does not support: it was an earlier name"),
    ({"tensor_format": "jax"}, 'tensor_format is "jax"'),
    ({"timestep_values": [1]}, "timestep_values is [1]"),
    ({"set_alpha_to_one": None}, "set_alpha_to_one is null"),
    ({"num_train_timesteps": 0}, "num_train_timesteps is 0"),
    ({"trained_betas": [0.1]}, "trained_betas has 1 entries and num_train_timesteps is 1000"),
    ({"trained_betas": [0.1, 1.5], "num_train_timesteps": 2}, "beta_2 = 1.5 is not between 0 and 1"),
    ({"beta_end": 1.5}, "beta_T must be between 0 and 1"),
    ({"beta_start": -1.0, "beta_schedule": "scaled_linear"}, "beta_start and beta_end are -1.0 and 0.02"),
    ({"thresholding": True, "sample_max_value": 0.5}, "sample_max_value is 0.5; expected at least 1"),
    ({"thresholding": True, "dynamic_thresholding_ratio": 1.5}, "dynamic_thresholding_ratio is 1.5; expected a share"),
    ({"algorithm_type": "dpmsolver++"}, "unknown SchedulerConfig setting 'algorithm_type'"),
]


@pytest.fixture
def copy(pipeline_folder: Path, tmp_path: Path) -> Path:
    """A copy of the small pipeline that the test may change."""
    return shutil.copytree(pipeline_folder, tmp_path / "theirs")


def refusal(source: Path, out: Path) -> str:
    with pytest.raises(NelboError) as caught:
        import_model(source, out)
    assert not out.exists()
    return str(caught.value)


@pytest.mark.parametrize(("changes", "message"), REFUSED_UNET, ids=lambda value: str(value)[:30])
def test_unsupported_network_settings_are_refused(changes: Any, message: str, copy: Path, tmp_path: Path) -> None:
    edit(copy / "unet" / "config.json", **changes)
    assert message in refusal(copy, tmp_path / "out")


@pytest.mark.parametrize(("changes", "message"), REFUSED_SCHEDULER, ids=lambda value: str(value)[:30])
def test_unsupported_scheduler_settings_are_refused(changes: Any, message: str, copy: Path, tmp_path: Path) -> None:
    edit(copy / "scheduler" / "scheduler_config.json", **changes)
    assert message in refusal(copy, tmp_path / "out")


def test_every_restricted_setting_has_a_refusal_case() -> None:
    tried = {name for rows in (REFUSED_UNET, REFUSED_SCHEDULER) for changes, _ in rows for name in changes}
    assert {*NETWORK, *CHAIN, *ADDED} <= tried


@pytest.mark.parametrize(
    ("kind", "ours"), [(diffusers.UNet2DModel, UNetConfig), (diffusers.DDPMScheduler, SchedulerConfig)]
)
def test_settings_and_defaults_match_diffusers(kind: Any, ours: Any) -> None:
    theirs = {name: given.default for name, given in signature(kind.__init__).parameters.items() if name != "self"}
    known = {field.name: field.default for field in fields(ours)}
    assert known.pop("variance_type", None) is None
    theirs.pop("variance_type", None)
    assert known == theirs


def test_learned_variance_needs_a_matching_scheduler(copy: Path, tmp_path: Path) -> None:
    edit(copy / "unet" / "config.json", out_channels=6)
    assert "set variance_type to 'learned_range'" in refusal(copy, tmp_path / "out")


NOTED: list[tuple[dict[str, Any], str]] = [
    ({"clip_sample": False}, "sample with clip=False"),
    (
        {"thresholding": True, "dynamic_thresholding_ratio": 0.9, "sample_max_value": 1.5},
        "sample with threshold=0.9 and threshold_max=1.5 for the same samples",
    ),
    (
        {"thresholding": True, "sample_max_value": float("inf"), "clip_sample": False},
        "sample with threshold=0.995 for the same samples",
    ),
    ({"timestep_spacing": "trailing"}, "timestep_spacing 'trailing'"),
    ({"steps_offset": 1}, "steps_offset 1"),
    ({"variance_type": "fixed_large_log"}, "is read as 'fixed_large'"),
]


@pytest.mark.parametrize(("changes", "note"), NOTED, ids=lambda value: str(value)[:30])
def test_ignored_scheduler_settings_are_noted(changes: Any, note: str, copy: Path, tmp_path: Path) -> None:
    edit(copy / "scheduler" / "scheduler_config.json", **changes)
    [found] = import_model(copy, tmp_path / "out").notes
    assert note in found


def test_thresholding_that_is_clipping_needs_no_note(copy: Path, tmp_path: Path) -> None:
    """With the default sample_max_value of 1, thresholding is clipping, whatever clip_sample says."""
    edit(copy / "scheduler" / "scheduler_config.json", thresholding=True, clip_sample=False)
    assert import_model(copy, tmp_path / "out").notes == ()


def test_ddim_pipeline_and_early_settings_are_read(copy: Path, tmp_path: Path) -> None:
    edit(copy / "model_index.json", _class_name="DDIMPipeline")
    early = {"_class_name": "DDIMScheduler", "set_alpha_to_one": True, "variance_type": ..., "tensor_format": "pt"}
    edit(copy / "scheduler" / "scheduler_config.json", **early, timestep_values=None, predict_epsilon=True)
    import_model(copy, tmp_path / "out")
    run = nelbo.load(tmp_path / "out")
    assert run.recipe.variance == "fixed-small"


INEXPRESSIBLE: list[tuple[dict[str, Any], str]] = [
    (
        {"parameterization": "mean"},
        "the network predicts 'mean', but diffusers' schedulers support only noise, data, velocity, grid",
    ),
    (
        {"network": UNetOptions(base=16, multipliers=(1, 2), attention=(0, 1), heads=2, groups=4)},
        "attention has 2 heads at levels of different widths (16, 32 channels)",
    ),
    ({"network": MLPOptions(dims=768)}, "is not a U-Net"),
    (
        {"network": DiTOptions(width=8, depth=1, heads=2)},
        "is not a U-Net, and diffusers has no other network for pixels",
    ),
]


@pytest.mark.parametrize(("recipe", "message"), INEXPRESSIBLE, ids=lambda value: str(value)[:40])
def test_export_of_unsupported_recipes_is_refused(
    recipe: dict[str, Any], message: str, tmp_path: Path, our_run: Callable[..., DiffusionRun]
) -> None:
    run = our_run(**recipe)
    with pytest.raises(ConfigurationError) as caught:
        export_model(run.folder, tmp_path / "out", format="diffusers")
    assert message in str(caught.value)
    assert not (tmp_path / "out").exists()


def test_a_learned_schedule_is_refused() -> None:
    chain = Chain(ScheduleOptions("learned"), "noise", "fixed-large")
    with pytest.raises(ConfigurationError, match="a network with a learned schedule is given log SNR as its time"):
        config_of(chain)


def test_export_notes_rounding_and_calibrated_variance(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    run = our_run(schedule=ScheduleOptions("log-linear"))
    run.mse = run.schedule.alphas_bar * 0
    run.save()
    rounding, variance = export_model(run.folder, tmp_path / "out", format="diffusers").notes
    assert "diffusers keeps its tables in float32" in rounding
    assert "the calibrated variance is not exported: diffusers samples with fixed_large" in variance
    assert json.loads((tmp_path / "out" / "model_index.json").read_text())["_class_name"] == "DDPMPipeline"


def test_unknown_export_format_is_refused(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    with pytest.raises(ConfigurationError, match="unknown format 'onnx'; choose from diffusers, nelbo, torch"):
        export_model(our_run().folder, tmp_path / "out", format="onnx")


def test_vae_is_exported_only_as_a_run(tmp_path: Path) -> None:
    recipe, folder = preset("vae-digits"), tmp_path / "vae"
    assert isinstance(recipe, VAERecipe)
    RunConfig(recipe, DataOptions("digits", (1, 8, 8), 17, 1500, 297), "vae-digits").save(folder)
    save_model(folder, build_network(recipe), {})
    for form in ("diffusers", "torch"):
        with pytest.raises(ConfigurationError, match=rf"only a diffusion model can be exported as {form}\. Every run"):
            export_model(folder, tmp_path / form, format=form)
    export_model(folder, tmp_path / "out", format="nelbo")
    import_model(tmp_path / "out", tmp_path / "back")
    assert nelbo.load(tmp_path / "back").config == nelbo.load(folder).config
