"""Weights as people have them: averaged, in half precision, in shards, of compiled and distributed networks."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DModel
from diffusers.training_utils import EMAModel
from safetensors.torch import load_file, save_file

import nelbo
from nelbo.errors import RunError
from nelbo.interop import import_model
from nelbo.interop.weight_files import WEIGHTS
from tests.interop.conftest import difference, noise, stirred, their_unet


def output(folder: Path) -> torch.Tensor:
    run = nelbo.load(folder, device="cpu")
    with torch.no_grad():
        return run.network(noise(2, *run.shape), torch.tensor([9, 9]))  # type: ignore[no-any-return]


@pytest.fixture(scope="module")
def unet() -> Any:
    return their_unet()


@pytest.fixture
def agrees(unet: Any, tmp_path: Path) -> Callable[[Path], tuple[str, ...]]:
    """`agrees(folder)` imports a folder, checks that its network is `unet`, and returns the notes."""

    def check(folder: Path) -> tuple[str, ...]:
        notes = import_model(folder, tmp_path / "out").notes
        with torch.no_grad():
            assert difference(output(tmp_path / "out"), unet(noise(2, 3, 16, 16), 8).sample) <= 1e-5
        shutil.rmtree(tmp_path / "out")
        return notes

    return check


@pytest.fixture
def checkpoint(unet: Any, tmp_path: Path) -> Path:
    """A checkpoint of diffusers' training script: the average, which is `unet`, and other raw weights."""
    EMAModel(unet.parameters(), model_cls=UNet2DModel, model_config=unet.config).save_pretrained(
        tmp_path / "step" / "unet_ema"
    )
    stirred(their_unet(), seed=5).save_pretrained(tmp_path / "step" / "unet")
    return tmp_path / "step"


def test_average_of_a_checkpoint_is_imported(checkpoint: Path, agrees: Any, tmp_path: Path) -> None:
    [note] = [note for note in agrees(checkpoint) if "average" in note]
    assert "unet_ema are imported, a moving average over the steps of training; for those of the last step" in note
    assert any("a moving average over the steps of training" in note for note in agrees(checkpoint / "unet_ema"))
    with pytest.raises(AssertionError):
        agrees(checkpoint / "unet")
    assert not any("average" in note for note in import_model(checkpoint / "unet", tmp_path / "raw").notes)


def test_variant_alone_is_read(unet: Any, agrees: Any, tmp_path: Path) -> None:
    place = tmp_path / "half"
    unet.save_pretrained(place, variant="fp16")
    half = place / "diffusion_pytorch_model.fp16.safetensors"
    assert any("the weights are those of the variant fp16, because" in note for note in agrees(place))
    other = stirred(their_unet(), seed=5).state_dict()
    save_file(other, half)
    unet.save_pretrained(place)
    assert not any("fp16" in note for note in agrees(place))  # the whole weights go before a variant
    (place / WEIGHTS).rename(place / "diffusion_pytorch_model.non_ema.safetensors")
    with pytest.raises(RunError, match="holds the weights in 2 variants"):
        import_model(place, tmp_path / "out")


@pytest.mark.parametrize("variant", [None, "fp16"])
def test_shards_are_read(variant: str | None, unet: Any, agrees: Any, tmp_path: Path) -> None:
    place = tmp_path / "shards"
    unet.save_pretrained(place, max_shard_size="100KB", variant=variant)
    shards = sorted(place.glob("*.safetensors"))
    assert len(shards) > 1 and len(list(place.glob("*.index*.json"))) == 1
    agrees(place)
    shards[1].unlink()
    with pytest.raises(RunError, match=rf"{shards[1].name} is missing, one of {len(shards)} shards"):
        import_model(place, tmp_path / "out")


@pytest.mark.parametrize("name", ["../secret.safetensors", "diffusion_pytorch_model-00001-of-00002.bin", "/etc/passwd"])
def test_index_names_only_shards(name: str, unet: Any, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path / "bad")
    (tmp_path / "bad" / WEIGHTS).unlink()
    (tmp_path / "bad" / f"{WEIGHTS}.index.json").write_text(json.dumps({"weight_map": {"conv_in.bias": name}}))
    with pytest.raises(RunError, match="expected files such as diffusion_pytorch_model-00001-of-00002"):
        import_model(tmp_path / "bad", tmp_path / "out")
    (tmp_path / "bad" / f"{WEIGHTS}.index.json").write_text("{}")
    with pytest.raises(RunError, match="has no weight_map"):
        import_model(tmp_path / "bad", tmp_path / "out")


@pytest.mark.parametrize("prefix", ["_orig_mod.", "module.", "module._orig_mod."])
def test_prefixes_of_wrapped_networks_are_removed(prefix: str, unet: Any, agrees: Any, tmp_path: Path) -> None:
    unet.save_pretrained(tmp_path / "wrapped")
    weights = load_file(tmp_path / "wrapped" / WEIGHTS)
    renamed = {f"{prefix}{name}": weight for name, weight in weights.items()}
    save_file(renamed, tmp_path / "wrapped" / WEIGHTS)
    agrees(tmp_path / "wrapped")
    parts = {name.replace("down_blocks.0.", "down_blocks.0._orig_mod."): weight for name, weight in weights.items()}
    save_file(parts, tmp_path / "wrapped" / WEIGHTS)
    agrees(tmp_path / "wrapped")
    save_file({**weights, **{name: weight.clone() for name, weight in renamed.items()}}, tmp_path / "wrapped" / WEIGHTS)
    with pytest.raises(RunError, match=f"holds {len(weights)} weights twice"):
        import_model(tmp_path / "wrapped", tmp_path / "out")
