"""A git-lfs pointer in place of a file is named as such, wherever a file is read."""

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import nelbo
from nelbo.cli.app import app
from nelbo.data import load_data, read_picture
from nelbo.data.counts import read_counts
from nelbo.errors import NelboError
from nelbo.files import read_metadata, read_tensors
from nelbo.interop import import_model
from nelbo.interop.pipeline import SCHEDULER, UNET
from nelbo.interop.weight_files import WEIGHTS
from nelbo.runs import bundled_models
from nelbo.studies import features_for, load_classifier

POINTER = (
    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 12345\n"
)
ADVICE = r"a git-lfs pointer, not the file itself: run `git lfs pull`"
DATA = ("images.npz", "images.npy", "train-images-idx3-ubyte", "shard.tar", "picture.png", "unknown")


@pytest.fixture
def pointer(tmp_path: Path) -> Callable[[str], Path]:
    """`pointer("name")` writes a pointer in place of a file."""

    def write(name: str) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(POINTER)
        return path

    return write


@pytest.mark.parametrize("name", DATA)
def test_pointer_among_data_is_named(name: str, pointer: Callable[[str], Path]) -> None:
    with pytest.raises(NelboError, match=ADVICE):
        load_data(str(pointer(name)))


def test_pointer_as_picture_or_counts_is_named(pointer: Callable[[str], Path]) -> None:
    for read, name in ((read_picture, "photo.jpg"), (read_counts, "counts.csv")):
        with pytest.raises(NelboError, match=ADVICE):
            read(pointer(name) if read is read_counts else str(pointer(name)))  # type: ignore[arg-type]


@pytest.mark.parametrize("name", ["config.json", "model.safetensors"])
def test_pointer_in_a_run_is_named(name: str, pointer: Callable[[str], Path], tmp_path: Path) -> None:
    shutil.copytree(bundled_models()["fashion-mnist"], tmp_path / "run")
    pointer(f"run/{name}")
    with pytest.raises(NelboError, match=ADVICE):
        nelbo.load(tmp_path / "run")


def test_pointer_as_tensors_or_features_is_named(pointer: Callable[[str], Path]) -> None:
    data = nelbo.load("fashion-mnist", device="cpu").config.data
    path = pointer("weights.safetensors")
    for read in (read_tensors, read_metadata, load_classifier):
        with pytest.raises(NelboError, match=ADVICE):
            read(path)
    for name in ("weights.safetensors", "features.pt2"):
        with pytest.raises(NelboError, match=ADVICE):
            features_for(data, pointer(name), device="cpu")


@pytest.mark.parametrize("name", [UNET, WEIGHTS, SCHEDULER])
def test_pointer_in_a_pipeline_is_named(name: str, pointer: Callable[[str], Path], tmp_path: Path) -> None:
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(0)
    blocks = {"down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",), "block_out_channels": (8,)}
    diffusers.UNet2DModel(16, norm_num_groups=4, **blocks).save_pretrained(tmp_path / "theirs")
    pointer(f"theirs/{name}")
    with pytest.raises(NelboError, match=ADVICE):
        import_model(tmp_path / "theirs", tmp_path / "out")


def test_pointer_as_compressed_file_is_named(pointer: Callable[[str], Path]) -> None:
    done = CliRunner().invoke(app, ["inspect", str(pointer("photo.nelbo"))])
    assert "git-lfs pointer" in f"{done.output}{done.exception}"
