"""Broken, unsupported or dangerous folders: each is refused with its reason, and nothing is written."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from nelbo.errors import NelboError
from nelbo.interop import export_model, import_model
from nelbo.runs import DiffusionRun
from tests.interop.conftest import edit

WEIGHTS = "unet/diffusion_pytorch_model.safetensors"
Refusal = Callable[[], str]


class Bomb:
    """An object whose pickle fails the test if it is opened."""

    def __reduce__(self) -> Any:
        return (pytest.fail, ("a pickle was opened",))


@pytest.fixture
def folder(pipeline_folder: Path, tmp_path: Path) -> Path:
    return shutil.copytree(pipeline_folder, tmp_path / "theirs")


@pytest.fixture
def refusal(folder: Path, tmp_path: Path) -> Refusal:
    """`refusal()` imports the folder, which must fail, and returns the message."""

    def call() -> str:
        with pytest.raises(NelboError) as caught:
            import_model(folder, tmp_path / "out")
        assert not (tmp_path / "out").exists()
        return str(caught.value)

    return call


def change_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    weights = load_file(folder / WEIGHTS)
    change(weights)
    save_file(weights, folder / WEIGHTS)


def test_deeply_nested_json_is_refused(folder: Path, refusal: Refusal) -> None:
    (folder / "unet" / "config.json").write_text(100_000 * "[")
    assert "config.json cannot be read" in refusal()


@pytest.mark.parametrize("name", ["diffusion_pytorch_model.bin", "model.ckpt", "weights.pt"])
def test_pickled_weights_are_never_opened(name: str, folder: Path, refusal: Refusal) -> None:
    (folder / WEIGHTS).unlink()
    (folder / "unet" / name).write_bytes(pickle.dumps(Bomb()))
    message = refusal()
    assert f"{name} is a pickle" in message
    assert "save_pretrained" in message


def test_pickle_beside_safetensors_is_ignored(folder: Path, tmp_path: Path) -> None:
    (folder / "unet" / "diffusion_pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    import_model(folder, tmp_path / "out")


def test_missing_weights_are_reported(folder: Path, refusal: Refusal) -> None:
    (folder / WEIGHTS).unlink()
    assert "diffusion_pytorch_model.safetensors is missing; expected the weights in one" in refusal()


def test_shards_without_an_index_are_refused(folder: Path, refusal: Refusal) -> None:
    (folder / WEIGHTS).rename(folder / "unet" / "diffusion_pytorch_model-00001-of-00002.safetensors")
    assert "(found diffusion_pytorch_model-00001-of-00002.safetensors)" in refusal()


@pytest.mark.parametrize("kept", [0, 4, 100, 5000, -1])
def test_truncated_weights_are_reported(kept: int, folder: Path, refusal: Refusal) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:kept])
    assert "is damaged or cut short" in refusal()


def test_pickle_named_safetensors_is_refused(folder: Path, refusal: Refusal) -> None:
    (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
    assert "is damaged or cut short" in refusal()


def test_missing_superfluous_and_misshapen_weights_are_named(folder: Path, refusal: Refusal) -> None:
    def change(weights: dict[str, torch.Tensor]) -> None:
        weights.pop("conv_in.bias")
        weights["time_proj.weight"] = torch.zeros(3)
        weights["conv_out.weight"] = torch.zeros(3, 16, 1, 1)

    change_weights(folder, change)
    message = refusal()
    assert "1 missing (conv_in.bias)" in message
    assert "1 not of this network (time_proj.weight)" in message
    assert "1 of another shape (conv_out.weight is [3, 16, 1, 1], not [3, 16, 3, 3])" in message


def test_weights_must_match_the_configuration(folder: Path, refusal: Refusal) -> None:
    edit(folder / "unet" / "config.json", layers_per_block=2)
    assert "its weights do not match its config.json" in refusal()


def test_nan_and_integer_weights_are_refused(folder: Path, refusal: Refusal) -> None:
    change_weights(folder, lambda weights: weights["conv_in.bias"].fill_(float("nan")))
    assert "holds NaN or infinity in conv_in.bias" in refusal()
    change_weights(folder, lambda weights: weights.update({"conv_in.bias": torch.zeros(16, dtype=torch.int64)}))
    assert "holds conv_in.bias in torch.int64" in refusal()


def test_missing_configuration_is_reported(folder: Path, refusal: Refusal) -> None:
    (folder / "unet" / "config.json").unlink()
    assert "is not a model: config.json is missing" in refusal()


def test_source_without_a_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").write_text("")
    for name, reason in (("empty", "is not a model"), ("file", "is not a folder"), ("nothing", "is not a folder")):
        with pytest.raises(NelboError, match=reason):
            import_model(tmp_path / name, tmp_path / "out")


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"_class_name": 3}', "\udce4"])
def test_malformed_configuration_names_its_file(content: str, folder: Path, refusal: Refusal) -> None:
    for name in ("unet/config.json", "model_index.json", "scheduler/scheduler_config.json"):
        before = (folder / name).read_bytes()
        (folder / name).write_bytes(content.encode(errors="surrogateescape"))
        assert Path(name).name in refusal()
        (folder / name).write_bytes(before)


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("model_index.json", "StableDiffusionPipeline", "expected DDPMPipeline or DDIMPipeline"),
        ("unet/config.json", "UNet2DConditionModel", "expected UNet2DModel"),
        ("scheduler/scheduler_config.json", "EulerDiscreteScheduler", "expected DDPMScheduler or DDIMScheduler"),
    ],
)
def test_unsupported_classes_are_named(name: str, kind: str, expected: str, folder: Path, refusal: Refusal) -> None:
    edit(folder / name, _class_name=kind)
    message = refusal()
    assert f"is for the class {kind!r}" in message
    assert expected in message


def test_huge_widths_allocate_no_memory(folder: Path, refusal: Refusal) -> None:
    edit(folder / "unet" / "config.json", block_out_channels=[2**16, 2**16], norm_num_groups=4)
    assert "of another shape" in refusal()


def test_damaged_run_is_refused(tmp_path: Path, our_run: Callable[..., DiffusionRun]) -> None:
    run = our_run("broken")
    (run.folder / "model.safetensors").write_bytes(b"no")
    with pytest.raises(NelboError, match="is damaged or cut short"):
        import_model(run.folder, tmp_path / "out")
    config = json.loads((run.folder / "config.json").read_text())
    (run.folder / "config.json").write_text(json.dumps({**config, "network": {"kind": "transformer"}}))
    with pytest.raises(NelboError, match="unknown network kind 'transformer'"):
        import_model(run.folder, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_target_folder_must_be_empty(tmp_path: Path, folder: Path, our_run: Callable[..., DiffusionRun]) -> None:
    run = our_run()
    for taken in (run.folder, folder):
        with pytest.raises(NelboError, match="is not empty; choose another out"):
            import_model(folder, taken)
        with pytest.raises(NelboError, match="is not empty; choose another out"):
            export_model(run.folder, taken, format="diffusers")
    (tmp_path / "file").touch()
    with pytest.raises(NelboError, match="file is a file; out needs a folder"):
        export_model(run.folder, tmp_path / "file", format="diffusers")
